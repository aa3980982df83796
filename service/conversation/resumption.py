"""What makes one conversation survive the loss of its client's connection: what was sent, the token, the seat.

The key decision: only for clients that ask for Vocero's own events, because only they know what to do with a token;
everybody else's conversation pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from service.conversation.outbox import Outbox
from service.conversation.resume_hall import Arrival, ResumeHall, Seat
from service.conversation.resume_state import Claim, Progress, ResumeFacts
from service.conversation.resume_tokens import Resumable, ResumeOffice
from service.errors import RequestError
from service.fallback.talk_history import PastTurn
from service.key_limits import KeyBound
from service.metrics_conversations import Discontinuity, conversation_was_discontinued

MAX_TOKEN_CHARACTERS = 512
WRITING_SECONDS = 1.0
MAX_COUNT = 2**53
"""The greatest number that a browser counts to without error."""


@dataclass(frozen=True)
class ResumeRequest:
    """A client's `conversation_resume`: so many events it has `received`, the highest with `last_event_id`."""

    token: str
    received: int
    last_event_id: int


def read_resume_request(data: bytes) -> ResumeRequest:
    """The first message of a connection that resumes.

    Raises:
        RequestError: it is none.
    """
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        message = None  # raised below: the cause would quote the token
    if not isinstance(message, dict) or message.get("type") != "conversation_resume":
        raise RequestError("A connection that resumes begins with conversation_resume.", code="invalid_message")
    token, received, last = (message.get(name) for name in ("token", "received", "last_event_id"))
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARACTERS:
        raise RequestError("The resume token is missing or too long.", code="invalid_resume_token")
    counts = [value for value in (received, last) if isinstance(value, int) and not isinstance(value, bool)]
    if len(counts) != 2 or not all(0 <= value <= MAX_COUNT for value in counts):
        raise RequestError("received and last_event_id are numbers from 0 on.", code="invalid_message")
    return ResumeRequest(token, counts[0], counts[1])


class Resumptions:
    """The office and the hall of a worker, and how long a conversation waits for its client (`seconds`)."""

    def __init__(self, office: ResumeOffice, *, seconds: int) -> None:
        self.office = office
        self.hall = ResumeHall()
        self.seconds = seconds


class Resumption:
    """One conversation's, which counts for `bound`. `claim` is given when another worker has led it until now."""

    def __init__(
        self, all_of_them: Resumptions, *, bound: KeyBound | None, claim: Claim | None = None, received: int = 0
    ) -> None:
        self._all = all_of_them
        self._bound = bound
        self._claim = claim
        self._outbox = Outbox(begins_after=received)
        self._resumable: Resumable | None = None
        self._seat: Seat | None = None
        self._asks_for_token: object = None
        self._was_asked = False

    @property
    def is_open(self) -> bool:
        """Whether the client could come back."""
        return self._seat is not None

    def open(
        self,
        conversation_id: str,
        facts: ResumeFacts,
        *,
        progress: Callable[[int], Progress],
        on_arrival: Callable[[], None],
        on_taken: Callable[[], None],
    ) -> None:
        """Begin, once the conversation has an id. `progress` is given how much was sent."""
        self._seat = self._all.hall.open(conversation_id, on_arrival=on_arrival)
        self._resumable = self._all.office.register(
            conversation_id,
            replace(facts, bound=self._bound),
            progress=lambda: progress(self._outbox.sent_count),
            on_taken=on_taken,
            claim=self._claim,
        )

    def token_event(self) -> bytes:
        """The event with the token for the next time."""
        resumable = self._resumable_or_fail()
        self._was_asked = False
        fields = {"token": resumable.issue(), "expires_in_seconds": self._all.seconds}
        return _connection_event("connection_token", fields)

    # --- While the client is there

    def sent(self, data: bytes) -> None:
        """A counted event goes to the client."""
        self._outbox.sent(data)

    def ping_sent(self, ping: Mapping[str, Any]) -> None:
        """A `ping` is about to go to the client."""
        ping_id = _ping_id(ping)
        self._outbox.ping_sent(ping_id)
        if not self._was_asked:
            self._was_asked, self._asks_for_token = True, ping_id

    def pong_received(self, pong: Mapping[str, Any]) -> None:
        """The client's `pong`: what went before its ping has arrived."""
        ping_id = pong.get("event_id")
        self._outbox.pong_received(ping_id)
        if self._resumable is not None and self._was_asked and ping_id == self._asks_for_token:
            self._resumable.confirm()

    def client_spoke(self) -> None:
        """A message of the client's has come that it need not send again after a resume."""
        if self._resumable is not None:
            self._resumable.changed()

    # --- When it is gone

    @property
    def has_arrival(self) -> bool:
        """Whether the client has come back over another connection."""
        return self._seat is not None and self._seat.has_arrival

    def lose_client(self) -> None:
        """The connection is lost."""
        if self._resumable is not None:
            self._resumable.lose_client()

    def wait_for_client(self) -> Arrival | None:
        """The client that is back, in time; else None."""
        return None if self._seat is None else self._seat.wait_for_client(self._all.seconds)

    def welcome(self, arrival: Arrival, *, received: int, history: Iterable[PastTurn]) -> list[bytes]:
        """What goes first over the new connection: `received` of the client's messages have come, this was said."""
        missed = self._outbox.missed_after(arrival.received)
        events = [_resumed(self._conversation_id, received, 0 if missed is None else len(missed))]
        if missed is None:
            conversation_was_discontinued(Discontinuity.TOO_OLD)
            events.append(discontinuity(Discontinuity.TOO_OLD, history))
            self._outbox = Outbox(begins_after=arrival.received)
        events.append(self._lasting_token_event())
        return [*events, *(missed or [])]

    def welcome_from_elsewhere(self, *, received: int, history: Iterable[PastTurn]) -> list[bytes]:
        """The same, when another worker has led the conversation until now."""
        conversation_was_discontinued(Discontinuity.TAKEN_OVER)
        return [
            _resumed(self._conversation_id, received, 0),
            discontinuity(Discontinuity.TAKEN_OVER, history),
            self._lasting_token_event(),
        ]

    def _lasting_token_event(self) -> bytes:
        """The same as `token_event`, when it is good at every worker; waits for Redis, usually some milliseconds."""
        event = self.token_event()
        self._resumable_or_fail().wait_until_written(WRITING_SECONDS)
        return event

    def _resumable_or_fail(self) -> Resumable:
        if self._resumable is None:
            raise RuntimeError("the resumption is not open")
        return self._resumable

    @property
    def _conversation_id(self) -> str:
        return "" if self._resumable is None else self._resumable.state.conversation_id

    # --- When it is over

    def wake(self) -> None:
        """Wait no longer for a client."""
        if self._seat is not None:
            self._seat.close()

    def close(self, *, goes_on: bool) -> None:
        """The conversation is over here; with `goes_on` it is left to whichever worker the client comes to."""
        if self._resumable is not None:
            if goes_on:
                self._resumable.release()
            else:
                self._resumable.forget()
        self.wake()


def draining(reconnect_in_seconds: float) -> bytes:
    """The event that tells a client to come back in so many seconds."""
    return _connection_event("connection_draining", {"reconnect_in_seconds": round(reconnect_in_seconds, 2)})


def discontinuity(reason: str, history: Iterable[PastTurn]) -> bytes:
    """The event that says that something may be missing, and what was said until now."""
    said = [
        {"sequence": number, "speaker": turn.speaker, "text": turn.text} for number, turn in enumerate(history, start=1)
    ]
    return _connection_event("connection_discontinuity", {"reason": reason, "history": said})


def _resumed(conversation_id: str, received: int, replayed: int) -> bytes:
    fields = {"conversation_id": conversation_id, "received": received, "replayed": replayed}
    return _connection_event("connection_resumed", fields)


def _connection_event(kind: str, fields: Mapping[str, object]) -> bytes:
    return orjson.dumps({"type": kind, f"{kind}_event": fields})


def _ping_id(ping: Mapping[str, Any]) -> object:
    fields = ping.get("ping_event")
    return fields.get("event_id") if isinstance(fields, dict) else None
