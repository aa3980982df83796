"""What a connection pool tells about itself: one snapshot, and the counters that it is made of.

The key decision: every number is changed under the pool's one lock and read under it, so that the equations below
hold in every snapshot, not only when nothing happens. A monitor that finds one broken has found a fault of ours.

* `size == lent + idle + opening + closing`
* `opened == lent + idle + discarded + lost + expired + retired + abandoned`
* `requests == served + timeouts + exhausted + unopened + refused + cancelled + pending`
* `served - (returned + discarded + abandoned) <= lent`, and equal when `pending` is 0: a connection that has been
  handed over and is being checked counts as lent, though nobody is served with it yet
* `reused <= served`, `waiting <= pending`, and `waiting` is 0 whenever `idle` is not
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

RECENT_SECONDS = 60.0
"""A recent maximum is that of the last one to two times this."""


@dataclass(frozen=True, kw_only=True)
class PoolStats:
    """A pool at one moment. Durations are seconds; what is not marked "now" counts since the pool was made."""

    name: str
    min_idle: int = 0
    max_size: int = 0
    max_waiting: int = 0

    size: int = 0  # now: places taken, of max_size
    lent: int = 0  # now: in the hands of callers, or about to be
    idle: int = 0  # now: open and ready
    opening: int = 0  # now: being opened
    closing: int = 0  # now: being closed, or about to be
    waiting: int = 0  # now: callers in the queue
    pending: int = 0  # now: callers that have asked and have no outcome yet

    requests: int = 0  # callers that asked
    served: int = 0  # got a connection
    reused: int = 0  # got one that had been lent before
    timeouts: int = 0  # PoolTimeoutError
    exhausted: int = 0  # PoolExhaustedError
    unopened: int = 0  # got the error that opening ended with
    refused: int = 0  # PoolClosedError
    cancelled: int = 0  # killed or interrupted while they waited

    opened: int = 0  # connections that were opened
    failed: int = 0  # attempts to open one that ended with an error
    returned: int = 0  # uses that ended well
    discarded: int = 0  # closed after a use that ended badly
    lost: int = 0  # closed because the check at checkout found them broken
    expired: int = 0  # closed for being too old, or idle for too long
    retired: int = 0  # closed by drain, resize or close
    abandoned: int = 0  # closed because their borrower forgot them

    wait_seconds: float = 0.0  # from asking to the outcome, whatever it was; count: requests - pending
    wait_seconds_recent_max: float = 0.0
    use_seconds: float = 0.0  # from getting a connection to giving it back; count: returned + discarded
    use_seconds_recent_max: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Every field by its name, fit for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Self:
        """What `as_dict` gave, maybe in another version of ours: what is unknown here is left out, what lacks is 0.

        Raises:
            TypeError: there is no name.
        """
        known = {each.name for each in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in found.items() if name in known})


class RecentMaximum:
    """The largest of the values of the last one to two minutes: one slow start must not stand there for ever."""

    def __init__(self) -> None:
        self._since = 0.0
        self._now = self._before = 0.0

    def note(self, value: float, moment: float) -> None:
        """Take `value`, measured at `moment` of a clock that never goes back."""
        self._turn(moment)
        self._now = max(self._now, value)

    def at(self, moment: float) -> float:
        """The maximum as it is at `moment`."""
        self._turn(moment)
        return max(self._now, self._before)

    def _turn(self, moment: float) -> None:
        passed = moment - self._since
        if passed >= RECENT_SECONDS:
            self._before = self._now if passed < 2 * RECENT_SECONDS else 0.0
            self._now, self._since = 0.0, moment


@dataclass(slots=True)
class Counters:
    """What `PoolState` counts; the meanings are those of `PoolStats`."""

    requests: int = 0
    served: int = 0
    reused: int = 0
    timeouts: int = 0
    exhausted: int = 0
    unopened: int = 0
    refused: int = 0
    cancelled: int = 0
    opened: int = 0
    failed: int = 0
    returned: int = 0
    discarded: int = 0
    lost: int = 0
    expired: int = 0
    retired: int = 0
    abandoned: int = 0
    wait_seconds: float = 0.0
    use_seconds: float = 0.0
    longest_wait: RecentMaximum = field(default_factory=RecentMaximum)
    longest_use: RecentMaximum = field(default_factory=RecentMaximum)

    def note_wait(self, seconds: float, moment: float) -> None:
        """A caller has its outcome after `seconds`."""
        self.wait_seconds += seconds
        self.longest_wait.note(seconds, moment)

    def note_use(self, seconds: float, moment: float) -> None:
        """A connection came back after `seconds`."""
        self.use_seconds += seconds
        self.longest_use.note(seconds, moment)

    def as_fields(self, moment: float) -> dict[str, Any]:
        """The fields of `PoolStats` that are counted."""
        names = (each.name for each in dataclasses.fields(self) if not each.name.startswith("longest_"))
        return {
            **{name: getattr(self, name) for name in names},
            "wait_seconds_recent_max": self.longest_wait.at(moment),
            "use_seconds_recent_max": self.longest_use.at(moment),
        }
