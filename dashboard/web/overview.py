"""The overview: who speaks now, how well, and what stands in the way; as a page and as JSON."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from dashboard.sight.history import see_history
from dashboard.sight.lookout import Reading
from dashboard.sight.overview import Overview, see_overview
from dashboard.sight.watch import Snapshot
from dashboard.web import kinds
from dashboard.web.answers import json_answer, page
from dashboard.web.context import parts
from dashboard.web.fragments import Fragments
from service.metrics import FailureCause
from service.minute_history import Minute
from service.storage import Capability, Override


@dataclass(frozen=True)
class Known:
    """What is in memory now. No page waits for Redis or the database here."""

    snapshot: Snapshot
    minutes: Reading[tuple[Minute, ...]]
    held: tuple[Override, ...]

    @property
    def stamp(self) -> Hashable:
        """Changes whenever any of it does."""
        return self.snapshot.looks, self.snapshot.overrides_at, self.minutes.attempts, self.held

    def seen(self) -> Overview:
        """What is to be seen in it."""
        return see_overview(self.snapshot, self.minutes, self.held, now=time.time())


def blueprint() -> Blueprint:
    """The routes of the overview."""
    routes = Blueprint("overview", __name__)
    fragments = Fragments()

    @routes.get("/")
    def show() -> ResponseReturnValue:
        """The page."""
        known = _known()
        return fragments.answer(known.stamp, lambda: _page(known.seen()))

    routes.get("/api/overview")(told)
    routes.get("/api/history")(history)
    return routes


def told() -> ResponseReturnValue:
    """The same as JSON."""
    return json_answer(_known().seen())


def history() -> ResponseReturnValue:
    """The last hour, minute by minute, for the charts."""
    minutes = parts().watch.minutes()
    return json_answer({"at": minutes.at or None, "error": minutes.error, **vars(see_history(minutes.value))})


def _page(overview: Overview) -> Response:
    return page(
        "overview.html",
        "overview.title",
        overview=overview,
        verdict_kinds=kinds.VERDICTS,
        standing_kinds=kinds.STANDINGS,
        mark_kinds=kinds.MARKS,
        secrets_kinds=kinds.SECRETS,
        known_causes=frozenset(FailureCause),
    )


def _known() -> Known:
    watch, board = parts().watch, parts().overrides
    return Known(watch.snapshot(), watch.minutes(), tuple(board.current(capability) for capability in Capability))
