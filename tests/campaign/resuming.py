"""A caller that comes back: whatever happens to its connection, it goes on with the same conversation.

The key decision: it does what Vocero's own page does and no more (count events, keep the token, send again what had not
arrived), so what it survives the page survives. How often and why it had to come back is noted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.campaign.caller import Caller, TalkError
from tests.campaign.transcript import Answer

PATIENCE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 1.0
WORN = frozenset({"invalid_resume_token", "resume_token_used", "resume_token_expired"})
UNCOUNTED = ("connection_", "queue_")
MOST_ON_THEIR_WAY = 2
SERVICE_RESTART = 1012
UNWRITTEN_SECONDS = 0.5
"""A worker that is killed takes with it what it was about to write down; on a busy machine that is so much."""

INITIATION = "conversation_initiation_client_data"


@dataclass(frozen=True)
class Loss:
    """A connection that ended: when, its close code, and how many seconds later the conversation went on."""

    at: float
    code: int
    seconds: float
    replayed: int


class ResumingCaller(Caller):
    """`url_of` gives the address for a first connection and, with `resume=True`, for one that goes on."""

    def __init__(self, url_of: Callable[..., str], user_id: str, *, dice: random.Random) -> None:
        super().__init__(url_of(), user_id)
        self._url_of = url_of
        self._dice = dice
        self._token = ""
        self._received = 0
        self._sent: list[dict[str, Any]] = []
        self._hint = 0.0
        self._is_over = False
        self._is_lost = False
        self._resumed: dict[str, Any] | None = None
        self.losses: list[Loss] = []
        self.discontinuities = 0

    def drop(self) -> None:
        """Lose the network: the connection is cut, without a word to anybody."""
        if self._socket is not None:
            self._socket.transport.abort()

    def may_be_unwritten(self, at: float) -> bool:
        """Whether what came at that time may be lost with a worker that was killed."""
        return any(0 <= loss.at - at < UNWRITTEN_SECONDS for loss in self.losses if loss.code != SERVICE_RESTART)

    def repeated(self) -> list[Answer]:
        """Answers of which the worker that went on cannot have known: it had to give them again."""
        pairs = zip(self.transcript.answers, self.transcript.answers[1:], strict=False)
        return [second for first, second in pairs if second.text == first.text and self.may_be_unwritten(first.at)]

    async def _send(self, event: dict[str, Any]) -> None:
        if event["type"] != INITIATION:  # which is not counted
            self._sent.append(event)
        if self._socket is None or self._is_lost:
            return  # it goes out when there is a connection again
        with contextlib.suppress(ConnectionClosed):  # the same: the server will say that it has not come
            await self._socket.send(orjson.dumps(event).decode())

    async def _hang_up(self, socket: ClientConnection) -> None:
        self._is_over = True
        await (self._socket or socket).close(1000)

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            try:
                async for message in socket:
                    await self._take(orjson.loads(message))
            except (ConnectionClosed, TalkError):  # as in `Caller`
                pass
            lost_at = time.time()
            code, reason = socket.close_code or 1006, socket.close_reason or ""
            if self._is_over or not self._token or code == 1000:
                self.ending = (code, reason)
                self._heard.set()
                return
            self._is_lost = True
            self._resumed = None
            try:
                socket = await self._come_back(lost_at)
            except TalkError as exc:
                self.ending = (code, f"{reason}; {exc}")
                self._heard.set()
                return
            replayed = int((self._resumed or {}).get("replayed", 0))
            self.losses.append(Loss(lost_at, int(code), time.time() - lost_at, replayed))

    async def _come_back(self, lost_at: float) -> ClientConnection:
        pause, self._hint = self._hint, 0.0
        refusal = "nobody answered"
        while time.time() < lost_at + PATIENCE_SECONDS:
            await asyncio.sleep(pause)
            pause = self._dice.uniform(0.02, LONGEST_PAUSE_SECONDS)
            try:
                socket = await connect(
                    self._url_of(resume="true"), max_size=None, max_queue=None, compression=None, ping_interval=None
                )
            except (OSError, InvalidHandshake, InvalidStatus, EOFError) as exc:
                refusal = repr(exc)
                continue
            request = {"type": "conversation_resume", "token": self._token, "received": self._received}
            try:
                await socket.send(orjson.dumps({**request, "last_event_id": self.transcript.last_event_id}).decode())
                while self._resumed is None:
                    await self._take(orjson.loads(await asyncio.wait_for(socket.recv(), 10.0)))
            except (ConnectionClosed, TimeoutError):
                refusal = f"{socket.close_code} {socket.close_reason}"
                if any(word in (socket.close_reason or "") for word in WORN):
                    raise TalkError(f"the resume was refused: {refusal}") from None
                socket.transport.abort()
                continue
            self._socket = socket
            missing = self._sent[self._resumed["received"] :]
            self._is_lost = False  # from here on others send too, behind these
            for event in missing:
                await socket.send(orjson.dumps(event).decode())
            return socket
        raise TalkError(f"no way back in {PATIENCE_SECONDS:g} s: {refusal}")

    async def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if not kind.startswith(UNCOUNTED):
            self._received += 1
            await super()._take(event)
            return
        self.kinds.append(kind)
        if kind == "connection_token":
            self._token = event["connection_token_event"]["token"]
        elif kind == "connection_resumed":
            self._resumed = event["connection_resumed_event"]
        elif kind == "connection_discontinuity":
            self._compare(event["connection_discontinuity_event"]["history"])
            self.transcript.miss()
        elif kind == "connection_draining":
            self._hint = event["connection_draining_event"]["reconnect_in_seconds"]
        self._heard.set()

    def _compare(self, history: list[dict[str, Any]]) -> None:
        """What the service says was said is what this client has asked; its newest lines may not have arrived."""
        self.discontinuities += 1
        asked = [event["text"] for event in self._sent if event["type"] == "user_message"]
        kept = [each["text"] for each in history if each["speaker"] == "user"]
        ends = [asked[: len(asked) - newest] for newest in range(MOST_ON_THEIR_WAY + 1)]
        if not any(end[max(0, len(end) - len(kept)) :] == kept for end in ends):
            self.transcript.problems.append(f"the history ends with {kept[-3:]}, and asked was {asked[-3:]}")
