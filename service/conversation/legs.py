"""Who speaks next: the chain of providers, asked in the order that `FallbackService` gives.

The key decision: a conversation asks for a leg and gets one, or the error that ends it. Which providers there are,
which of them is well, and what an operator has ordered is decided here, before anything is sent; a provider that fails
is told of, and the next one is asked, as long as its fault is one that another provider does not share.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from service.conversation.elevenlabs_legs import LegRequest, OpenLeg
from service.conversation.endings import NO_PROVIDER
from service.deadline import deadline
from service.elevenlabs.fault_actions import fault_of
from service.errors import ServiceUnavailableError, VoceroError
from service.fallback.fallback_service import FallbackService
from service.fallback.local_leg import LocalLegs
from service.fallback.takeover import Takeover
from service.metrics_fallback import FailoverCause
from service.storage import Capability

log = structlog.get_logger(__name__)

LOCAL = "local"
MOVE_SECONDS = 2.0
"""That going elsewhere between two turns may take; nobody hears the client meanwhile."""


class LegSource(Protocol):
    """Opens legs at one provider."""

    @property
    def provider(self) -> str:
        """Its name in the chain."""

    def can_serve(self, takeover: Takeover) -> bool:
        """Whether it is able to go on from there."""

    def open(self, request: LegRequest) -> OpenLeg:
        """Open a leg. Raises VoceroError."""


class LocalSource:
    """The local agent as a provider of legs."""

    provider = LOCAL

    def __init__(self, legs: LocalLegs) -> None:
        self._legs = legs

    def can_serve(self, takeover: Takeover) -> bool:
        """Whether it has a voice, and the formats."""
        return self._legs.can_serve(takeover)

    def open(self, request: LegRequest) -> OpenLeg:
        """Open a leg; it is at once there. Raises ServiceUnavailableError."""
        leg = self._legs.open(request.takeover)
        return OpenLeg(provider=LOCAL, socket=leg.socket, provider_conversation_id=leg.conversation_id)


class DisabledError(ServiceUnavailableError):
    """An operator has switched conversations off: say so and end."""


class Legs:
    """Opens the legs of all conversations of a process.

    An attempt takes `opening_seconds` at most where another provider can be asked instead.
    """

    def __init__(self, fallback: FallbackService, sources: Sequence[LegSource], *, opening_seconds: float) -> None:
        self._fallback = fallback
        self._sources: Mapping[str, LegSource] = {source.provider: source for source in sources}
        self._opening_seconds = opening_seconds

    capability = Capability.CONVERSATION

    @property
    def fallback(self) -> FallbackService:
        """What decides, and is told how it went."""
        return self._fallback

    def note_answer(self, agent_id: str, provider: str, seconds: float, *, has_voice: bool) -> None:
        """An agent's answer began after so many seconds; `has_voice`: with sound."""
        self._fallback.note_first_audio(agent_id, provider, seconds)
        if has_voice:
            self._fallback.speaking.heard(agent_id)

    def speaks(self, agent_id: str) -> bool:
        """Whether an agent was heard to speak, by this worker or another one."""
        return agent_id in self._fallback.speaking

    @property
    def has_backup(self) -> bool:
        """Whether anybody could speak in a failed provider's place."""
        return len(self._sources) > 1

    def can_be_replaced(self, provider: str) -> bool:
        """Whether somebody could answer in this provider's place, so that waiting for it has an end."""
        return self.has_backup and provider != LOCAL

    def would_move(self, provider: str, key: str, *, may_return: bool) -> bool:
        """Whether a conversation that `provider` leads should go elsewhere between two turns, or end; without
        `may_return` only if it has been ordered."""
        plan = self._fallback.plan(Capability.CONVERSATION, key=key)
        if plan.is_disabled:
            return True
        others = [name for name in plan.providers if name in self._sources and name != provider]
        if not others:
            return False
        return provider not in plan.providers or (may_return and self._is_back(provider, key))

    def _is_back(self, provider: str, key: str) -> bool:
        return provider != next(iter(self._sources)) and self._fallback.may_return(Capability.CONVERSATION, key=key)

    def move(self, request: LegRequest, *, key: str, provider: str) -> tuple[OpenLeg, FailoverCause]:
        """A leg elsewhere than at `provider`, soon, and why; raises as `open`."""
        is_back = self._is_back(provider, key)
        with deadline(MOVE_SECONDS):
            leg = self.open(request, key=key, without=frozenset({provider}))
        return leg, FailoverCause.RETURNED if is_back else FailoverCause.FORCED

    def open(self, request: LegRequest, *, key: str, without: frozenset[str] = frozenset()) -> OpenLeg:
        """A leg at the first provider that gives one; `without` are those that have just failed this conversation.

        Raises:
            DisabledError: conversations are switched off.
            ServiceUnavailableError: nobody is left who could speak.
            VoceroError: the failure of the last one that was asked, or of one whose fault it is not.
        """
        plan = self._fallback.plan(Capability.CONVERSATION, key=key)
        if plan.is_disabled:
            raise DisabledError("Conversations are switched off at the moment.", retry_after=60.0)
        able = [self._sources[name] for name in plan.providers if name in self._sources and name not in without]
        able = [source for source in able if source.can_serve(request.takeover)]
        if not able:
            raise ServiceUnavailableError("Nobody can speak at the moment.", retry_after=5.0, code=NO_PROVIDER)
        for source in able[:-1]:
            try:
                with deadline(self._opening_seconds):
                    return self._open_at(source, request)
            except VoceroError as exc:
                fault = fault_of(exc)
                if not fault.may_go_elsewhere:
                    raise
                log.warning("a provider opened no leg", provider=source.provider, code=fault.code)
        return self._open_at(able[-1], request)

    def open_local(self, takeover: Takeover) -> OpenLeg | None:
        """A leg of our own whatever the plan says, for a last word; None if there can be none."""
        source = self._sources.get(LOCAL)
        if source is None or not source.can_serve(takeover):
            return None
        return source.open(LegRequest(takeover=takeover))

    def _open_at(self, source: LegSource, request: LegRequest) -> OpenLeg:
        begun = time.monotonic()
        try:
            leg = source.open(request)
        except VoceroError as exc:
            self._fallback.failed(source.provider, Capability.CONVERSATION, fault_of(exc))
            raise
        self._fallback.succeeded(source.provider, Capability.CONVERSATION, seconds=time.monotonic() - begun)
        return leg


def new_conversation_id() -> str:
    """An id for a conversation that begins without ElevenLabs, which gives them otherwise."""
    return f"conv_{secrets.token_hex(14)}"
