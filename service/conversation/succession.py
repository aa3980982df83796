"""Which leg speaks in one conversation: the first, the next one when it has failed, another between two turns.

The key decision: a change of legs is one step, whatever led to it. Where the conversation stands is taken first, then
the new leg is opened with that, and only when it is open does it take the old one's place; until then nothing has
changed, and a change that does not come about leaves the conversation as it was.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from service.conversation.agent_stream import AgentStream
from service.conversation.client_stream import ClientStream
from service.conversation.elevenlabs_legs import LegRequest, OpenLeg, Waiting
from service.conversation.events import build_agent_changed
from service.conversation.legs import LOCAL, DisabledError, Legs, new_conversation_id
from service.conversation.observation import Observation
from service.conversation.recording import Recording
from service.conversation.resume_state import Claim
from service.conversation.standing import Standing
from service.elevenlabs.asking import note_error
from service.elevenlabs.fault_actions import fault_of
from service.elevenlabs.faults import error_from_exception
from service.errors import ConnectionClosedError, ServiceUnavailableError, UpstreamError, VoceroError
from service.fallback.backup_lines import polite_refusal
from service.fallback.takeover import Takeover
from service.fallback.talk_history import PastTurn
from service.metrics_elevenlabs import Operation
from service.metrics_fallback import FailoverCause
from service.storage.record_writer import Record
from service.websocket import Message

log = structlog.get_logger(__name__)

SHORTEST_REST_SECONDS, LONGEST_REST_SECONDS = 5.0, 120.0
"""That a conversation stays with a backup after a provider has failed it, twice as long each time: the breaker judges a
provider by all conversations, and one of them may be unlucky again and again."""

_GOODBYE = (1000, "User ended conversation")


@dataclass(frozen=True)
class Past:
    """What another worker has led of a conversation: what was claimed, kept and said of it, and who spoke last.
    `last_event_id` is the highest that the client knows."""

    claim: Claim
    last_event_id: int
    records: tuple[Record, ...]
    turns: tuple[PastTurn, ...]
    provider: str


class Succession:
    """The legs of one conversation. `leg` is the one that speaks; `tell` gets what the client is told of a change."""

    def __init__(
        self,
        legs: Legs,
        standing: Standing,
        recording: Recording,
        *,
        agent_stream: AgentStream,
        client_stream: ClientStream,
        waiting: Waiting,
        tell: Callable[[bytes], None],
        observation: Observation,
    ) -> None:
        self._legs = legs
        self._standing = standing
        self._recording = recording
        self._agent_stream = agent_stream
        self._client_stream = client_stream
        self._waiting = waiting
        self._tell = tell
        self._observation = observation
        self._key = secrets.token_hex(8)
        self.says_goodbye = False
        """Whether an operator has switched conversations off, and this one is told so."""
        self._no_move_before = self._no_return_before = 0.0
        self._rest_seconds = SHORTEST_REST_SECONDS
        self.leg: OpenLeg | None = None

    # --- Beginning

    def open_first(self, initiation: bytes | None) -> None:
        """Open the first leg, with the client's initiation if there is one. Raises VoceroError."""
        if self._legs.speaks(self._standing.agent_id) and not self._standing.text_only:
            self._standing.tracker.expect_voice()
        takeover = replace(self._takeover(), question=None)
        request = LegRequest(takeover=takeover, initiation=initiation, is_first=True, waiting=self._waiting)
        try:
            self.leg = self._legs.open(request, key=self._key)
        except DisabledError:
            self._say_last_words(takeover)
        else:
            self._recording.begin_leg(self.leg.provider)
            self._observation.leg_begins(self.leg.provider)

    def take_up(self, past: Past) -> None:
        """Go on where another worker has stopped. Raises VoceroError."""
        claim, turns = past.claim, past.turns
        self._standing.restore(claim.conversation_id, claim.facts, turns)
        self._client_stream.received = claim.progress.received
        highest_id = max(claim.progress.highest_id, past.last_event_id)
        self._agent_stream.restore(claim.conversation_id, highest_id=highest_id)
        self._recording.restore(past.records)
        asked = [turn.text for turn in turns if turn.speaker == "user"]
        self._client_stream.heard_already = asked[-1] if asked else None
        takeover = self._takeover()
        if turns and turns[-1].speaker == "user":
            takeover = replace(takeover, history=turns[:-1], question=turns[-1].text)
        try:
            leg = self._legs.open(self._next(takeover), key=self._key)
        except DisabledError:
            self._say_last_words(takeover)
        else:
            self._switch(leg, FailoverCause.RESUMED, takeover, before=past.provider)

    # --- Changing

    def replace(self, exc: VoceroError) -> bool:
        """The leg has failed: go on with the next provider; false if nobody does, or if nobody should."""
        leg = self.leg
        if leg is None or (isinstance(exc, ConnectionClosedError) and exc.code == _GOODBYE[0]):
            return False
        error = exc if isinstance(exc, UpstreamError) else error_from_exception(exc)
        fault = fault_of(error)
        if leg.provider != LOCAL:
            note_error(Operation.CONVERSATION, error)
        if fault.cause is FailoverCause.FIRST_AUDIO_LATE:
            self._legs.fallback.note_late_answer(self._standing.agent_id)
        self._legs.fallback.failed(leg.provider, self._legs.capability, fault)
        if not fault.may_go_elsewhere or not self._legs.has_backup:
            return False
        self._rest()
        takeover = self._takeover()
        try:
            found = self._legs.open(self._next(takeover), key=self._key, without=frozenset({leg.provider}))
        except DisabledError:
            self._say_last_words(takeover)
        except VoceroError as failure:
            log.warning("nobody goes on", conversation_id=takeover.conversation_id, reason=type(failure).__name__)
            return False
        else:
            self._switch(found, fault.cause, takeover)
        return True

    def would_move(self) -> bool:
        """Whether another provider should speak from the next turn on, as far as memory tells."""
        if self.leg is None or self.says_goodbye or not self._standing.is_greeted:
            return False
        now = time.monotonic()
        may_return = now >= self._no_return_before
        if now < self._no_move_before:
            return False
        return self._legs.would_move(self.leg.provider, self._key, may_return=may_return)

    def move(self) -> None:
        """Let the other provider speak, if it can be had. Raises ServiceUnavailableError if all is switched off."""
        if self.leg is None or not self.would_move():
            return
        takeover = self._takeover()
        try:
            found, cause = self._legs.move(self._next(takeover), key=self._key, provider=self.leg.provider)
        except DisabledError:
            self._say_last_words(takeover)
        except VoceroError as exc:
            self._rest()
            self._no_move_before = time.monotonic() + SHORTEST_REST_SECONDS
            log.info("no other provider", conversation_id=takeover.conversation_id, reason=type(exc).__name__)
        else:
            self._switch(found, cause, takeover)

    def take_held(self) -> tuple[Message, ...]:
        """What the leg has said before anybody carried it; once."""
        if self.leg is None:
            return ()
        held = self.leg.held
        self.leg = replace(self.leg, held=())
        return held

    # --- Inside

    def _rest(self) -> None:
        self._no_return_before = time.monotonic() + self._rest_seconds
        self._rest_seconds = min(LONGEST_REST_SECONDS, self._rest_seconds * 2)

    def _takeover(self) -> Takeover:
        return self._standing.takeover(self._agent_stream.conversation_id or new_conversation_id())

    def _next(self, takeover: Takeover) -> LegRequest:
        # Its client has been let in: it is told of no queue any more.
        return LegRequest(takeover=takeover, waiting=Waiting(on_lost=self._waiting.on_lost))

    def _switch(self, leg: OpenLeg, cause: FailoverCause, takeover: Takeover, *, before: str = "") -> None:
        """Let `leg` speak from now on, instead of the one that is there, or of `before`."""
        old, self.leg = self.leg, leg
        before = before if old is None else old.provider
        self._client_stream.stale_tool_calls.update(self._standing.tracker.begin_leg(takeover))
        self._observation.leg_changes(
            before, leg.provider, cause, spliced=takeover.rest is not None, sound_format=takeover.output_format
        )
        self._agent_stream.begin_leg(drops_greeting=leg.drops_greeting)
        self._recording.change_leg(
            leg.provider, provider_conversation_id=leg.provider_conversation_id, cause=cause.value
        )
        if before not in {"", leg.provider}:
            self._legs.fallback.switched(self._legs.capability, before, leg.provider, cause)
            log.info(
                "another provider speaks",
                conversation_id=takeover.conversation_id, before=before, now=leg.provider, cause=cause.value,
            )  # fmt: skip
            self._tell(build_agent_changed(before, leg.provider, cause.value, spliced=takeover.rest is not None))
        if old is not None:
            # In a thread of its own: a peer that does not read must not keep the others waiting.
            threading.Thread(target=old.socket.close, args=_GOODBYE, daemon=True).start()

    def _say_last_words(self, takeover: Takeover) -> None:
        """An operator has switched conversations off: say so in a voice of ours, which then ends the conversation."""
        self.says_goodbye = True
        text = polite_refusal(takeover.language)
        words = replace(takeover, greets=False, rest=None, question=None, farewell=text)
        leg = self._legs.open_local(words)
        if leg is None:
            raise ServiceUnavailableError(text, retry_after=60.0)
        self._switch(leg, FailoverCause.FORCED, words)
