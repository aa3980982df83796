"""What people call the browser that a session is in, so that they know their own.

The key decision: a handful of names that are looked for, in the order in which one claims to be another, and nothing
for what is none of these. It is a help for the memory and proves nothing: browsers say of themselves what they like.
"""

from __future__ import annotations

_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(agent: str) -> str:
    """The name behind a User-Agent header ("Firefox, Linux"), or its beginning if it is no browser's."""
    names = [next((name for sign, name in kinds if sign in agent), "") for kinds in (_BROWSERS, _SYSTEMS)]
    return ", ".join(name for name in names if name) or agent[:40]
