"""Where somebody goes after signing in: to a page of ours, whatever the address says.

The key decision: it is not looked for what is wrong with an address. It has to be a path of plain characters, and
what a browser could read as the beginning of another host's address is not one.
"""

from __future__ import annotations

import re

HOME = "/"
LONGEST = 500

# One slash, then nothing that begins with another one or with a backslash, which browsers read as one.
_PATH = re.compile(r"/(?:[A-Za-z0-9_.~-][A-Za-z0-9_.~/-]*)?(?:\?[A-Za-z0-9_.~%&=+:,/-]*)?")


def next_page(wanted: str | None) -> str:
    """`wanted`, if it is a path of ours; else the overview."""
    if not wanted or len(wanted) > LONGEST or not _PATH.fullmatch(wanted) or wanted.startswith("/login"):
        return HOME
    return wanted if "//" not in wanted.partition("?")[0] else HOME
