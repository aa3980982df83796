"""Who would feel an override, before it is set: how many talk to whom now, and what it would do to them.

The key decision: it says what the service does with a mode, as `service.conversation.legs` does it, and not more. All
that an order moves moves between two turns; `auto` moves nobody at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.sight.providers import CapabilityView
from dashboard.sight.speaking import conversations_by_provider
from dashboard.sight.watch import Snapshot
from service.fallback.overrides import asked_by
from service.minute_history import Minute, MinuteCount
from service.storage import Capability, OverrideMode


@dataclass(frozen=True)
class Affected:
    """What `mode` would do. `moving` conversations would go to `after` at their next turn, or (None) would end.

    `conversations` are those that go on, by provider. `lately`: conversations or speech requests that began in the last
    whole minute; None: not known. `is_known`: workers have told; else the numbers say nothing. With `is_nobody` there
    would be nobody to be asked.
    """

    mode: OverrideMode
    conversations: Mapping[str, int]
    moving: int
    after: str | None
    lately: int | None
    is_known: bool
    is_nobody: bool

    @property
    def total(self) -> int:
        return sum(self.conversations.values())


def see_affected(
    snapshot: Snapshot, view: CapabilityView, mode: OverrideMode, *, minutes: Sequence[Minute] | None
) -> Affected:
    """What `mode` would do to whom now; `minutes` are the last ones, the newest may not be over."""
    talks = view.capability is Capability.CONVERSATION
    speaking = conversations_by_provider(snapshot.workers) if talks else {}
    asked = asked_by(view.chain, mode)
    leaving = {name: count for name, count in speaking.items() if name not in asked}
    if mode is OverrideMode.AUTO or (not asked and mode is not OverrideMode.DISABLED):
        leaving = {}
    return Affected(
        mode=mode,
        conversations=speaking,
        moving=sum(leaving.values()),
        after=asked[0] if asked else None,
        lately=_lately(minutes, MinuteCount.CONVERSATIONS if talks else MinuteCount.SPEECH_REQUESTS),
        is_known=bool(snapshot.workers),
        is_nobody=bool(view.chain) and not asked and mode is not OverrideMode.DISABLED,
    )


def _lately(minutes: Sequence[Minute] | None, count: MinuteCount) -> int | None:
    """In the last minute that is over."""
    if minutes is None or len(minutes) < 2:
        return None
    return round(minutes[-2].counts.get(count.value, 0.0))
