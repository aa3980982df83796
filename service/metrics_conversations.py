"""The metrics of conversations: how they begin and end, their legs, their turns, and what of it a user had to wait for.

The key decision: as in `metrics.py`, callers tell what happened and labels come from closed sets. Nothing here is told
by the frame: the smallest thing that is counted is a turn. The providers' label is closed by the configured chain
(`start_series`); a conversation that nobody leads has none.

Read by: SRE (the objectives go by set-ups, turns and first audio), on call (endings, legs, discontinuities), admins
(live, capacity, lengths).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import permutations

from prometheus_client import Counter, Gauge, Histogram

from service import metrics
from service.metrics_fallback import FailoverCause
from service.minute_tally import TALLY, MinuteCount

FIRST_AUDIO_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
REQUEST_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LENGTH_BUCKETS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

FIRST = "first"
"""The cause of a conversation's first leg; the others have a `FailoverCause`."""


class SetupOutcome(StrEnum):
    """What came of a client that wanted a conversation."""

    SUCCESS = "success"  # the agent's metadata was sent to it
    CALLER = "caller"  # it was refused, or left: its own doing
    FAILURE = "failure"  # ours, or that of every provider


class EndedBy(StrEnum):
    """Who ended a conversation."""

    CLIENT = "client"
    AGENT = "agent"
    SERVICE = "service"


class EndReason(StrEnum):
    """Why a conversation ended."""

    NORMAL = "normal"
    LEFT = "left"  # the client was lost
    REFUSED = "refused"  # what the client asked for, or sent
    IDLE = "idle"  # nothing came from the client any more
    LIMIT = "limit"  # a bound: of messages, of places, of the account's slots
    DISABLED = "disabled"  # an operator's order, or maintenance
    DRAINED = "drained"  # sent to another worker, for this one leaves
    TAKEN_OVER = "taken_over"  # it goes on at another worker
    PROVIDER_FAILED = "provider_failed"  # and nobody spoke in its place
    INTERNAL = "internal"


FAILURES = frozenset({EndReason.PROVIDER_FAILED, EndReason.INTERNAL})
"""Endings that are nobody's wish."""


class TurnOutcome(StrEnum):
    """What came of what a user said."""

    ANSWERED = "answered"
    INTERRUPTED = "interrupted"  # by the user: broke in, typed, or left
    FAILED = "failed"  # beyond doubt an answer was due, and did not come or broke off
    EMPTY = "empty"  # the agent had nothing to say: tools alone, a turn that it let pass


class Discontinuity(StrEnum):
    """Why a client that came back may lack something."""

    TAKEN_OVER = "taken_over"  # another worker goes on
    TOO_OLD = "too_old"  # what it lacks is not kept any more


LIVE = Gauge(
    "vocero_conversations_live",
    "Conversations that are held now.",
    multiprocess_mode="livesum",
)
CAPACITY = Gauge(
    "vocero_conversation_capacity",
    "Conversations that may be held at once, of all workers.",
    multiprocess_mode="livesum",
)
SETUPS = Counter(
    "vocero_conversation_setups",
    "Clients that wanted a conversation: success (its metadata was sent), caller (refused or left), failure (ours or"
    " every provider's).",
    ["outcome"],
)
SETUP_SECONDS = Histogram(
    "vocero_conversation_setup_seconds",
    "Time from a client's upgrade to the agent's metadata on its way to the client.",
    buckets=REQUEST_BUCKETS,
)
ENDED = Counter(
    "vocero_conversations_ended",
    "Conversations that ended here, by who ended them and why; drained and taken_over go on at another worker.",
    ["by", "reason"],
)
LENGTH = Histogram(
    "vocero_conversation_seconds",
    "Length of conversations that came about, here and at workers before, told by the worker where they ended.",
    buckets=LENGTH_BUCKETS,
)
TURNS = Counter(
    "vocero_turns",
    "What came of what users said, by who answered last; empty: the agent had nothing to say.",
    ["provider", "outcome"],
)
FIRST_AUDIO = Histogram(
    "vocero_first_audio_seconds",
    "Time from the end of a user's words to the first audible sound of the answer on its way to the client.",
    ["provider"],
    buckets=FIRST_AUDIO_BUCKETS,
)
TURN_SECONDS = Histogram(
    "vocero_turn_seconds",
    "Time from the end of a user's words to the end of the answer as a client plays it; of answers heard to their end.",
    ["provider"],
    buckets=REQUEST_BUCKETS,
)
LEGS = Counter(
    "vocero_legs",
    "Legs that began, by who speaks and why: first, or why another one does not.",
    ["provider", "cause"],
)
SPLICED = Counter(
    "vocero_spliced_utterances",
    "Answers that one provider began and another one ended.",
    ["from", "to"],
)
DISCONTINUITIES = Counter(
    "vocero_discontinuities",
    "Clients that came back and were told that something may be missing, by why.",
    ["reason"],
)
UNDERRUNS = Counter(
    "vocero_audio_underruns",
    "Gaps in answers: a client that plays what comes had run dry for 0.25 s in the middle of one.",
    ["provider"],
)


# --- Conversations


def conversation_is_live(by: int) -> None:
    """Tell that so many conversations more (or less) are held by this worker."""
    LIVE.inc(by)


def capacity_is(places: int) -> None:
    """Tell how many conversations this worker takes."""
    CAPACITY.set(places)


def conversation_opened(seconds: float) -> None:
    """Count a set-up that came about, so many seconds after the upgrade."""
    SETUPS.labels(outcome=SetupOutcome.SUCCESS.value).inc()
    SETUP_SECONDS.observe(seconds)
    TALLY.add(MinuteCount.CONVERSATIONS)


def conversation_did_not_open(outcome: SetupOutcome) -> None:
    """Count a set-up that did not come about."""
    SETUPS.labels(outcome=outcome.value).inc()


def conversation_ended(by: str, reason: EndReason, *, seconds: float | None) -> None:
    """Count an ending; `seconds` is the conversation's length, None where it never came about or goes on elsewhere."""
    ENDED.labels(by=metrics.closed(EndedBy, by), reason=reason.value).inc()
    if seconds is not None:
        LENGTH.observe(seconds)
    if reason in FAILURES:
        TALLY.add(MinuteCount.ENDED_BADLY)


def conversation_was_discontinued(reason: Discontinuity) -> None:
    """Count a client that came back and may lack something."""
    DISCONTINUITIES.labels(reason=reason.value).inc()


# --- Legs


def first_leg_began(provider: str) -> None:
    """Count a conversation's first leg."""
    LEGS.labels(provider=provider, cause=FIRST).inc()


def next_leg_began(provider: str, cause: FailoverCause) -> None:
    """Count a leg in the place of another one."""
    LEGS.labels(provider=provider, cause=cause.value).inc()


def utterance_was_spliced(before: str, after: str) -> None:
    """Count an answer that `before` began and `after` goes on with."""
    SPLICED.labels(**{"from": before, "to": after}).inc()
    TALLY.add(MinuteCount.SPLICED)


# --- Turns


def first_audio_came(provider: str, seconds: float) -> None:
    """Tell how long a user waited for an answer to be heard."""
    FIRST_AUDIO.labels(provider=provider).observe(seconds)
    TALLY.add_first_audio(seconds)


def turn_ended(provider: str, outcome: TurnOutcome, *, seconds: float | None) -> None:
    """Count a turn; `seconds` is how long it took to the end of its answer, None if that is not known."""
    TURNS.labels(provider=provider, outcome=outcome.value).inc()
    TALLY.add(MinuteCount.TURNS)
    if seconds is not None:
        TURN_SECONDS.labels(provider=provider).observe(seconds)


def audio_ran_dry(provider: str, gaps: int) -> None:
    """Count gaps in an answer."""
    UNDERRUNS.labels(provider=provider).inc(gaps)


def start_series(providers: Sequence[str]) -> None:
    """Have the series of these providers there at 0: one that appears with its first event hides it from a rate."""
    for provider in providers:
        for outcome in TurnOutcome:
            TURNS.labels(provider=provider, outcome=outcome.value)
        for cause in (FIRST, *FailoverCause):
            LEGS.labels(provider=provider, cause=str(cause))
        FIRST_AUDIO.labels(provider=provider)
        TURN_SECONDS.labels(provider=provider)
        UNDERRUNS.labels(provider=provider)
    for before, after in permutations(providers, 2):
        SPLICED.labels(**{"from": before, "to": after})


def _start_every_series() -> None:
    """A series that appears only with its first event hides that event from `increase()`."""
    for setup in SetupOutcome:
        SETUPS.labels(outcome=setup.value)
    for by in EndedBy:
        for reason in EndReason:
            ENDED.labels(by=by.value, reason=reason.value)
    for why in Discontinuity:
        DISCONTINUITIES.labels(reason=why.value)


_start_every_series()
