"""`FallbackService`: which provider is asked, for each capability and at each moment.

The key decision: who decides reads memory alone. What others found out and what admins have ordered is brought into it
by a thread of its own (`upkeep.py`); a conversation is never later because of Redis or the database.

The agent of our own has no breaker: there is nobody behind it whom one could ask instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import redis
import structlog

from service import metrics_conversations, metrics_fallback
from service.config import Settings
from service.elevenlabs.fault_actions import FailoverCause, Fault
from service.errors import ServiceUnavailableError
from service.fallback.answer_times import AnswerTimes
from service.fallback.breaker import Breaker
from service.fallback.breaker_report import BreakerReport
from service.fallback.breaker_terms import BreakerTerms
from service.fallback.overrides import OverrideBoard, asked_by
from service.fallback.shared_breaker import Canary, SharedBreaker
from service.fallback.speaking_agents import SpeakingAgents
from service.fallback.upkeep import Upkeep
from service.fallback_settings import PROVIDERS
from service.metrics_fallback import BreakerState
from service.storage import Capability, Database, OverrideMode

__all__ = ["Canary", "FallbackService", "Plan", "make_fallback_service", "switched_off"]

log = structlog.get_logger(__name__)

LOCAL = "local"


@dataclass(frozen=True)
class Plan:
    """The providers to ask, one after the other, and the order of an admin's that is behind it."""

    providers: tuple[str, ...]
    mode: OverrideMode

    @property
    def is_disabled(self) -> bool:
        """Whether nobody is to be asked: say so politely, and end."""
        return self.mode is OverrideMode.DISABLED


class FallbackService:
    """Decides for the providers in `chain`, of which the first is the primary.

    `breakers` are by provider and capability; a provider without one is always admitted. With `is_breaking` false
    failures are not held against anybody. `returns`: conversations go back to the primary when it is well again.
    """

    def __init__(
        self,
        chain: Sequence[str],
        *,
        board: OverrideBoard,
        breakers: Mapping[tuple[str, Capability], SharedBreaker],
        times: AnswerTimes,
        speaking: SpeakingAgents,
        returns: bool = True,
        is_breaking: bool = True,
    ) -> None:
        self.chain = tuple(chain)
        self.board = board
        self._breakers = breakers
        self._times = times
        self._returns = returns
        self._is_breaking = is_breaking
        self.speaking = speaking
        """The agents that this worker or another one has heard."""
        self._upkeep = Upkeep(board, list(breakers.values()), speaking=speaking)

    def start(self) -> None:
        """Learn what holds, and begin to hear of changes; without Redis and database it starts all the same."""
        metrics_fallback.start_series(self.chain, list(Capability))
        metrics_conversations.start_series(self.chain)
        for (provider, capability), shared in self._breakers.items():
            metrics_fallback.breaker_is(provider, capability, shared.breaker.state)
        self._upkeep.start()

    def close(self) -> None:
        """Hear of nothing any more; waits some seconds at most."""
        self._upkeep.close()

    # --- Deciding

    def plan(self, capability: Capability, *, key: str) -> Plan:
        """Whom to ask now for the conversation or request `key`; a provider that is left alone comes last."""
        mode = self.board.mode(capability)
        asked = asked_by(self.chain, mode)
        if mode is not OverrideMode.AUTO:
            return Plan(asked, mode)
        admitted = tuple(name for name in asked if self._admits(name, capability, key))
        return Plan(admitted + tuple(name for name in asked if name not in admitted), mode)

    def check(self, capability: Capability, provider: str) -> None:
        """Raises ServiceUnavailableError if `provider` is not to be asked, by an admin's order."""
        if provider not in asked_by(self.chain, self.board.mode(capability)):
            raise switched_off(capability)

    def _admits(self, provider: str, capability: Capability, key: str) -> bool:
        shared = self._breakers.get((provider, capability))
        return shared is None or shared.breaker.admits(key)

    def may_return(self, capability: Capability, *, key: str) -> bool:
        """Whether a conversation on a backup may go back to the primary at the next end of a turn."""
        if not self._returns or self.board.mode(capability) is not OverrideMode.AUTO:
            return False
        shared = self._breakers.get((self.chain[0], capability))
        return shared is None or shared.breaker.may_return(key)

    def first_audio_deadline(self, agent_id: str) -> float:
        """Seconds that the agent's first sound may take before somebody else answers; infinite: it is waited for."""
        return self._times.patience(agent_id)

    # --- Hearing how it went

    def succeeded(self, provider: str, capability: Capability, *, seconds: float) -> None:
        """A provider did what it was asked, after `seconds`."""
        shared = self._breakers.get((provider, capability))
        if shared is not None and self._is_breaking:
            shared.breaker.succeeded(seconds=seconds)

    def failed(self, provider: str, capability: Capability, fault: Fault) -> None:
        """A provider failed; a fault that says nothing about the provider as a whole is not held against it."""
        shared = self._breakers.get((provider, capability))
        if shared is not None and fault.is_evidence and self._is_breaking:
            shared.notes.note_fault(fault)
            shared.breaker.failed()

    def note_first_audio(self, agent_id: str, provider: str, seconds: float) -> None:
        """An agent's answer began after `seconds`; only what it took beyond what is usual makes it slow."""
        usual = self._times.usual(agent_id)
        if provider != LOCAL:  # it is quick, and says nothing about the agent
            self._times.note(agent_id, seconds)
        self.succeeded(provider, Capability.CONVERSATION, seconds=max(0.0, seconds - usual))

    def note_late_answer(self, agent_id: str) -> None:
        """An agent's answer was given up because it had not begun in time."""
        self._times.note(agent_id, self._times.patience(agent_id))

    def switched(self, capability: Capability, before: str, after: str, cause: FailoverCause) -> None:
        """Another provider goes on; whoever made the change logs it, since they know of which conversation."""
        if before in PROVIDERS and after in PROVIDERS:
            metrics_fallback.provider_switched(capability, before, after, cause)

    # --- Showing

    def breakers(self) -> list[BreakerReport]:
        """Each breaker, for a report of this worker, in the chain's order."""
        return [
            shared.notes.report(provider, capability.value, shared.breaker.status)
            for (provider, capability), shared in self._breakers.items()
        ]


def switched_off(capability: Capability) -> ServiceUnavailableError:
    """What is said to whoever asks for something that an admin has switched off."""
    return ServiceUnavailableError(f"{capability.capitalize()} is switched off at the moment.", retry_after=60.0)


def make_fallback_service(
    settings: Settings, *, database: Database, store: redis.Redis, canary: Canary
) -> FallbackService:
    """Build it as the settings say; it opens nothing before `start`.

    `store` needs short timeouts. `canary` asks a provider other than our own for a little; see `shared_breaker.Canary`.
    """
    terms = _terms(settings)
    breakers = {
        (provider, capability): SharedBreaker(
            Breaker(terms, on_change=_teller(provider, capability)),
            provider=provider,
            capability=capability,
            store=store,
            canary=canary,
        )
        for provider in settings.fallback_chain
        if provider != LOCAL
        for capability in Capability
    }
    return FallbackService(
        settings.fallback_chain,
        board=OverrideBoard(database, store),
        breakers=breakers,
        times=AnswerTimes(
            first_audio_seconds=settings.first_audio_seconds, thinking_seconds=settings.agent_thinking_seconds
        ),
        speaking=SpeakingAgents(store),
        returns=settings.fallback_return == "return",
        is_breaking=settings.breaker_enabled,
    )


def _teller(provider: str, capability: Capability) -> Callable[[BreakerState, BreakerState], None]:
    def tell(before: BreakerState, after: BreakerState) -> None:
        metrics_fallback.breaker_is(provider, capability, after)
        write = log.info if after in {BreakerState.CLOSED, BreakerState.HALF_OPEN} else log.warning
        write(
            "breaker changed",
            provider=provider,
            capability=capability.value,
            before=before.value,
            now=after.value,
        )

    return tell


def _terms(settings: Settings) -> BreakerTerms:
    return BreakerTerms(
        window_seconds=settings.breaker_window_seconds,
        minimum_calls=settings.breaker_minimum_calls,
        failures_in_a_row=settings.breaker_minimum_calls,
        failure_rate=settings.breaker_failure_rate,
        slow_rate=settings.breaker_slow_rate,
        slow_seconds=settings.breaker_slow_seconds,
        open_seconds=settings.breaker_open_seconds,
        longest_open_seconds=settings.breaker_longest_open_seconds,
        probe_seconds=settings.breaker_probe_seconds,
        dwell_seconds=settings.breaker_dwell_seconds,
        ramp_seconds=settings.breaker_ramp_seconds,
        flap_seconds=settings.breaker_flap_seconds,
    )
