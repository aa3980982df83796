"""A sentence that is raised before it is known who reads it: its key and what stands in it.

The key decision: it is a text, and that text is English. So an error of ours takes it as it takes any message, logs and
the command line have one language, and what answers a browser puts it into the reader's (`dashboard.web.looks.worded`).
A test refuses errors whose message is a bare text, which everybody would get in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.words import DEFAULT_LANGUAGE, translate


class Said(str):
    """The words of `key`, with `values` in their places. A value that is itself `Said` is put into words with it."""

    __slots__ = ("key", "values")

    key: str
    values: Mapping[str, Any]

    def __new__(cls, key: str, /, **values: Any) -> Said:
        """Say it in English, and remember what was said."""
        made = super().__new__(cls, translate(key, DEFAULT_LANGUAGE, **values))
        made.key, made.values = key, values
        return made
