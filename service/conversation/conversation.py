"""One conversation from first to last word: a client's socket, one leg after the other, and what goes between them.

The key decisions:

* a thread (a greenlet in a worker) opens the conversation and says goodbye, and sleeps in between: what goes back and
  forth is carried by callbacks of the event loop (`relay.py`);
* both sides are replaceable. A leg that fails is followed by the next one, which is told what was said (`legs.py`,
  `standing.py`); a client that was lost is waited for, if it asked for that (`resumption.py`);
* whoever ends the conversation first gives it its `Ending`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog

from service.conversation.agent_stream import AgentStream
from service.conversation.client_stream import ClientStream, read_first_message
from service.conversation.elevenlabs_legs import OpenLeg, Waiting
from service.conversation.endings import (
    GOES_ON,
    RESTARTS,
    TAKEN_ELSEWHERE,
    Ending,
    ending_of_agent_side,
    ending_of_client_side,
    is_lost,
)
from service.conversation.event_loop import Loop
from service.conversation.events import build_error_event
from service.conversation.legs import Legs
from service.conversation.limits import Limits
from service.conversation.observation import Observation
from service.conversation.recording import Recording
from service.conversation.relay import Relay
from service.conversation.resume_state import Progress
from service.conversation.resumption import Resumption, draining
from service.conversation.standing import Standing
from service.conversation.succession import Past, Succession
from service.conversation.turns import TurnTracker
from service.conversation.watch import PATIENCE_SECONDS, LegWatch, OverdueError, TurnBoundary
from service.errors import FrameError, VoceroError
from service.metrics_conversations import FAILURES, EndReason
from service.websocket import WebSocketConnection

log = structlog.get_logger(__name__)

_GOES_ON = frozenset({1012, TAKEN_ELSEWHERE})


class Conversation:
    """One conversation over `client` with `agent_id`; `run` holds it until it has ended.

    `legs` opens its legs; `waiting` hears of the wait for the first one's slot. `resumption` is for a client that asked
    for Vocero's own events, and may come back; `past` is what another worker has led of it.
    """

    def __init__(
        self,
        client: WebSocketConnection,
        *,
        agent_id: str,
        legs: Legs,
        limits: Limits,
        loop: Loop,
        recording: Recording,
        waiting: Waiting | None = None,
        resumption: Resumption | None = None,
        past: Past | None = None,
        observation: Observation | None = None,
    ) -> None:
        self._client = client
        self._legs, self._recording = legs, recording
        self._limits, self._loop = limits, loop
        self._resumption, self._past = resumption, past
        self._observation = observation or Observation()
        tracker = TurnTracker(listener=self._observation.listener, is_sound_told=legs.has_backup)
        self._standing = Standing(agent_id, tracker)
        self._agent_stream = AgentStream(
            self._send_to_client,
            observe=self._observe_agent,
            note_audio=tracker.audio if legs.has_backup else None,
            note_begin=None if legs.has_backup else tracker.sound_begins,
            copies=resumption is not None,
            holds_errors=legs.has_backup,
        )
        self._observation.follow(recording, copy_audio_to=self._agent_stream.copy_audio_to)
        self._client_stream = ClientStream(
            lambda data: self._relay_or_fail().send_to_agent(data),
            agent_id_of=self._agent_stream.agent_id_of,
            messages_per_second=limits.messages_per_second,
            observe=self._observe_client,
        )
        self._succession = Succession(
            legs,
            self._standing,
            recording,
            agent_stream=self._agent_stream,
            client_stream=self._client_stream,
            waiting=waiting or Waiting(),
            tell=self._tell,
            observation=self._observation,
        )
        self._relay: Relay | None = None
        self._watch: LegWatch | None = None
        self._greetings: list[bytes] = []
        self._drains_at: float | None = None
        self._reconnect_in_seconds = self._patient_until = 0.0
        self._ending: Ending | None = None
        self._has_left = False
        self._lock = threading.Lock()
        client.farewell = self._farewell

    @property
    def conversation_id(self) -> str | None:
        """ElevenLabs' id of it, or ours if it began without ElevenLabs; None until the metadata has come."""
        return self._agent_stream.conversation_id

    @property
    def provider(self) -> str:
        """Who leads it now; empty before its first leg."""
        return "" if self._succession.leg is None else self._succession.leg.provider

    @property
    def goes_on_elsewhere(self) -> bool:
        """Whether its client may come back to it although it has ended here."""
        ending = self._ending
        is_open = self._resumption is not None and self._resumption.is_open
        return is_open and ending is not None and ending.by == "service" and ending.code in _GOES_ON

    def run(self) -> Ending:
        """Hold the conversation. Returns how it ended; raises nothing that a peer can cause."""
        try:
            return self._hold()
        finally:
            # Also when this thread is killed: the agent's connection is on loan from a pool.
            if self._succession.leg is not None:
                self._succession.leg.socket.abort()
            self._leave(self._note(Ending("service", 1006, "ended half-way")))

    def end(self, code: int, reason: str) -> None:
        """End it from outside; may be called from any thread."""
        self._note(Ending("service", code, reason))
        if self._relay is not None:
            self._relay.stop()
            return
        if self._resumption is not None:
            self._resumption.wake()
        self._client.close(code, reason)  # which also ends its thread's wait for the first message

    def _leave(self, ending: Ending) -> None:
        """Note how it ended, if it did; once."""
        if self._has_left:
            return
        self._has_left = True
        why = EndReason.DISABLED if self._succession.says_goodbye else ending.category
        self._standing.tracker.end(is_failure=why in FAILURES, goes_on=self.goes_on_elsewhere)
        self._observation.ended(ending.by, why, goes_on=self.goes_on_elsewhere)
        if self.goes_on_elsewhere:
            self._recording.leave(f"service {ending.code}")
        else:
            self._recording.end(ending.by, ending.code, ending.reason)
        if self._resumption is not None:
            self._resumption.close(goes_on=self.goes_on_elsewhere)

    def _hold(self) -> Ending:
        try:
            if self._past is None or self._resumption is None:
                self._open()
            else:
                self._succession.take_up(self._past)
                self._open_resumption(self._resumption)
                progress = self._past.claim.progress
                welcome = self._resumption.welcome_from_elsewhere(received=progress.received, history=self._past.turns)
                self._greetings = [*welcome, *self._greetings]
            self._carry_on()
        except FrameError as exc:
            self._note(ending_of_client_side(exc))
            self._client.refuse(exc)
        except (VoceroError, TimeoutError) as exc:
            self._note(ending_of_client_side(exc))
        except Exception:  # the edge of a worker loop: whatever broke, the client is told and the worker lives on
            log.exception("conversation failed", conversation_id=self.conversation_id)
            self._note(Ending("service", 1011, "Internal error."))
        ending = self._note(Ending("client", 1000, ""))
        if self.goes_on_elsewhere:  # before the client is told: it may be on another worker at once
            self._leave(ending)
        self._client.close(ending.code, ending.reason)
        if self._succession.leg is not None:
            self._succession.leg.socket.close(1000, "User ended conversation")
        return ending

    # --- Opening

    def _open(self) -> None:
        kind, first = read_first_message(self._client, self._client_stream, seconds=self._limits.first_frame_seconds)
        is_initiation = kind == "conversation_initiation_client_data"
        self._succession.open_first(first if is_initiation else None)
        leg = self._succession.leg
        if self._ending is None and leg is not None and not is_initiation:  # else ended from outside meanwhile
            leg.socket.send_text(first)

    # --- Carrying

    def _carry_on(self) -> None:
        """Carry one leg after the other, until there is an ending."""
        self._watch = LegWatch(
            self._loop,
            self._standing.tracker,
            patience=lambda: self._legs.fallback.first_audio_deadline(self._standing.agent_id),
            stall_seconds=self._limits.first_audio_seconds,
            on_answer=self._note_answer,
            wants_to_act=self._wants_to_act,
        )
        try:
            while self._ending is None and self._succession.leg is not None:
                if self._resumption is not None and self._resumption.has_arrival:
                    self._await_client(self._resumption)
                else:
                    self._carry(self._succession.leg, self._watch)
        finally:
            self._watch.close()

    def _carry(self, leg: OpenLeg, watch: LegWatch) -> None:
        self._relay = relay = Relay(
            self._client,
            leg.socket,
            loop=self._loop,
            client_stream=self._client_stream,
            agent_stream=self._agent_stream,
            idle_seconds=self._limits.idle_seconds,
            agent_silence_seconds=self._limits.leg_silence_seconds,
        )
        is_timed = self._legs.can_be_replaced(leg.provider) and time.monotonic() >= self._patient_until
        watch.start(relay, times_answers=is_timed)
        try:
            relay.run(self._begin_carrying)
        except TurnBoundary:
            self._act_between_turns()
        except VoceroError as exc:
            if not relay.ended_by_client:
                self._replace_leg(leg, exc)
            elif self._resumption is not None and self._resumption.is_open and is_lost(exc):
                self._await_client(self._resumption, lost=exc)
            else:
                raise
        finally:
            self._relay = None
            watch.stop()

    def _begin_carrying(self) -> None:
        """What goes first over a new pair of connections."""
        greetings, self._greetings = self._greetings, []
        for greeting in greetings:
            self._relay_or_fail().send_to_client(greeting)
        for message in self._succession.take_held():
            self._agent_stream.handle(message)

    def _send_to_client(self, data: bytes) -> None:
        self._relay_or_fail().send_to_client(data)
        if self._resumption is not None:
            self._resumption.sent(data)
            if not self._resumption.is_open and self._standing.is_greeted:
                self._open_resumption(self._resumption)
                self._relay_or_fail().send_to_client(self._resumption.token_event())

    def _relay_or_fail(self) -> Relay:
        if self._relay is None:
            raise RuntimeError("the conversation is not open")
        return self._relay

    def _tell(self, event: bytes) -> None:
        """An event of ours for a client that asked for them, behind what was sent."""
        if self._resumption is not None:
            self._resumption.sent(event)
            self._greetings.append(event)

    def _observe_agent(self, kind: str, message: Mapping[str, Any]) -> None:
        self._recording.from_agent(kind, message)
        self._standing.from_agent(kind, message)
        self._observation.from_agent(kind, message)
        if kind == "user_transcript":
            self._agent_stream.user_speaks()
        elif kind == "conversation_initiation_metadata":
            self._observation.opened(self._standing.output_format)
        elif kind == "ping" and self._resumption is not None:
            self._resumption.ping_sent(message)
        if self._watch is not None:
            self._watch.stir()

    def _observe_client(self, message: Mapping[str, Any]) -> None:
        self._recording.from_client(message)
        self._standing.from_client(message)
        kind = message.get("type")
        if kind == "user_message":
            self._agent_stream.user_speaks()
            if self._watch is not None:
                self._watch.stir()
        if self._resumption is not None:
            if kind == "pong":
                self._resumption.pong_received(message)
            else:
                self._resumption.client_spoke()

    # --- Another leg

    def _replace_leg(self, leg: OpenLeg, exc: VoceroError) -> None:
        """The leg has failed: go on with the next provider, or end because of it."""
        if self._succession.replace(exc):
            return
        if isinstance(exc, OverdueError):  # nobody else is there: late is better than never
            self._patient_until = time.monotonic() + PATIENCE_SECONDS
            return
        self._note(ending_of_agent_side(exc))
        if isinstance(exc, FrameError):
            leg.socket.refuse(exc)

    # --- Another connection of the client's

    def _open_resumption(self, resumption: Resumption) -> None:
        resumption.open(
            self._standing.conversation_id,
            self._standing.facts,
            progress=lambda sent: Progress(sent, self._client_stream.received, self._agent_stream.highest_id),
            on_arrival=self._stop_relay,
            on_taken=lambda: self.end(TAKEN_ELSEWHERE, GOES_ON),
        )

    def _stop_relay(self) -> None:
        if self._relay is not None:
            self._relay.stop()

    def _await_client(self, resumption: Resumption, *, lost: VoceroError | None = None) -> None:
        """Wait for the client to come back, if it has been `lost`; else it is back already, over another connection."""
        if lost is not None:
            self._client.abort()
            resumption.lose_client()
            log.info("waiting for the client", conversation_id=self.conversation_id)
        arrival = resumption.wait_for_client()
        if arrival is None:
            if lost is not None and self._ending is None:
                raise lost
            return
        if lost is None:
            # In a thread of its own: its network may be gone, and the new connection must not wait for that.
            threading.Thread(target=self._client.close, args=(TAKEN_ELSEWHERE, GOES_ON), daemon=True).start()
        self._client = arrival.connection
        self._client.farewell = self._farewell
        log.info("the client is back", conversation_id=self.conversation_id)
        history = self._standing.tracker.takeover(time.monotonic(), splice=False).turns
        self._greetings = resumption.welcome(arrival, received=self._client_stream.received, history=history)

    # --- Between two turns

    def drain(self, reconnect_in_seconds: float) -> None:
        """Tell the client to come back after so many seconds, when the turn under way has ended."""
        self._reconnect_in_seconds = reconnect_in_seconds
        self._drains_at = time.monotonic() + self._limits.drain_turn_seconds
        if self._relay is None:
            self.end(1012, RESTARTS)

    def _wants_to_act(self, is_idle: bool) -> bool:
        """Asked by the watch, in the loop: whether `_act_between_turns` has something to do."""
        if is_idle:
            self._standing.tracker.turn_is_over()
        if self._drains_at is not None and (is_idle or time.monotonic() >= self._drains_at):
            return True
        return is_idle and self._succession.would_move()

    def _act_between_turns(self) -> None:
        if self._drains_at is not None:
            self._note(Ending("service", 1012, RESTARTS))
        else:
            self._succession.move()

    # --- Ending

    def _note(self, ending: Ending) -> Ending:
        """Take `ending` unless there is one already; the one that counts."""
        with self._lock:
            self._ending = self._ending or ending
            return self._ending

    def _note_answer(self, seconds: float) -> None:
        if self._succession.leg is not None:
            has_voice = self._standing.tracker.is_heard
            provider = self._succession.leg.provider
            self._legs.note_answer(self._standing.agent_id, provider, seconds, has_voice=has_voice)

    def _farewell(self, code: int, reason: str) -> bytes:
        # ElevenLabs' own error event, if there is one, is the better one; it may have been passed on already.
        if code == 1012 and self._resumption is not None and self._resumption.is_open:
            return draining(self._reconnect_in_seconds)
        if self._agent_stream.error_seen:
            return self._agent_stream.error_event
        return build_error_event(code, reason)
