"""The service's objectives as the dashboards ask for them: what may go wrong, and how much of that is used up.

The key decision: the shares are those that `deploy/prometheus/recording.rules.yml` records and the alerts go by, so a
dashboard and an alert never disagree. They are of the whole service; the choice of an instance does not change them.
What a caller did wrong is no event at all: nobody could have served it.
"""

from __future__ import annotations

from dataclasses import dataclass

from grafana.vocero_dashboards.expressions import share

DAYS = "30d"


@dataclass(frozen=True)
class Objective:
    """`allowed` is the share of all events that may be bad; the names are recorded ones, without their windows."""

    name: str
    promise: str
    allowed: float
    bad_share: str
    events: str

    def burn_rate(self) -> str:
        """How many times as fast as allowed the last hour used up the budget: 1 uses it up in exactly 30 days."""
        return f"max({self.bad_share}:ratio_rate1h) / {self.allowed:g}"

    def budget_left(self) -> str:
        """The share of the 30 days' budget that is left, 1 at most; below 0 the promise is broken.

        Each minute adds what the hour before it had; that counts every event sixty times, above and below the line.
        """
        events = f"{self.events}:increase1h"
        bad = f"sum(sum_over_time(({self.bad_share}:ratio_rate1h * {events})[{DAYS}:1m]))"
        return f"1 - {share(bad, f'sum(sum_over_time({events}[{DAYS}:1m]))')} / {self.allowed:g}"


SET_UP = Objective(
    name="Set-up",
    promise="99.5 % of conversations come about (what a caller did wrong is not counted)",
    allowed=0.005,
    bad_share="job:vocero_conversation_setup_failures",
    events="job:vocero_conversation_setups",
)
TURNS = Objective(
    name="Turns",
    promise="99.5 % of turns do not fail, whoever speaks",
    allowed=0.005,
    bad_share="job:vocero_turn_failures",
    events="job:vocero_turns",
)
FIRST_AUDIO = Objective(
    name="First audio",
    promise="95 % of answers can be heard within 1 s of the user's last word",
    allowed=0.05,
    bad_share="job:vocero_first_audio_late",
    events="job:vocero_first_audio",
)
OBJECTIVES = (SET_UP, TURNS, FIRST_AUDIO)
