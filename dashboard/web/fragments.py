"""What freshens open pages is made once for all who look, and not for each of them.

The key decision: what changes by itself is the same for everybody who reads the same language, and changes when the
workers have been looked at again. So a hundred open pages cost what one costs. A page whose changing parts depend on
who looks must not use this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from flask import Response, request

from dashboard.web.looks import language


class Fragments:
    """The newest changing parts of one page, in each language that is read."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Hashable, bytes]] = {}

    def answer(self, stamp: Hashable, make: Callable[[], Response]) -> Response:
        """What `make` makes; for the parts alone, what it made for the same `stamp` before."""
        if request.headers.get("X-Fragment") != "live":
            return make()
        spoken = language()
        kept = self._kept.get(spoken)
        if kept is None or kept[0] != stamp:
            kept = self._kept[spoken] = (stamp, make().get_data())
        return Response(kept[1], mimetype="text/html")
