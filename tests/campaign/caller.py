"""A client that talks over a real WebSocket: types questions, breaks in, answers tool calls, and notes all it hears.

The key decision: one task reads and notes, another goes through the script and waits for what it noted. Every wait has
an end, and what was waited for stands in the failure.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.campaign.transcript import Answer, Transcript

LIMIT_SECONDS = 30.0
CLOSING_SECONDS = 5.0
TOOL = "what time is it on my device"
TOOL_RESULT = "nine"
NUDGES = frozenset({"Are you still there?"})


class TalkError(Exception):
    """The conversation did not go as it should; the message says what was waited for."""


@dataclass(frozen=True)
class Line:
    """What the user types; `answer` is what must be said then (None: anything).

    With `breaks_in` it is typed as soon as so many characters of the answer before were spoken, else when all were.
    """

    text: str
    answer: str | None = None
    breaks_in: int | None = None


class Caller:
    """One conversation at `url`, which has its query, as `user_id`."""

    def __init__(self, url: str, user_id: str, *, initiation: dict[str, Any] | None = None) -> None:
        self._url = url
        self.user_id = user_id
        self._initiation = {"type": "conversation_initiation_client_data", "user_id": user_id, **(initiation or {})}
        self.transcript = Transcript()
        self.conversation_id: str | None = None
        self.asked_at: list[float] = []
        self.ending: tuple[int, str] | None = None
        self.errors: list[str] = []
        self.kinds: list[str] = []
        self.pauses_before_tool = 0.0
        self.pauses: Callable[[], float] = lambda: 0.0
        self._heard = asyncio.Event()
        self._socket: ClientConnection | None = None

    async def talk(self, lines: Iterable[Line], *, leaves_at: int | None = None) -> None:
        """Go through the lines and hang up; with `leaves_at` as soon as so many characters of the last answer came.

        Raises:
            TalkError: something that must come did not.
        """
        try:
            socket = await connect(
                self._url,
                max_size=None,
                max_queue=None,
                compression=None,
                ping_interval=None,
                open_timeout=LIMIT_SECONDS,
            )
        except (OSError, InvalidHandshake) as exc:
            raise TalkError(f"no conversation: {exc}") from exc
        self._socket = socket
        reading = asyncio.create_task(self._read(socket))
        try:
            await self._send(self._initiation)
            await self._wait(lambda: self.conversation_id is not None, "the metadata")
            await self._wait(lambda: bool(self.transcript.answers), "the greeting")
            for line in lines:
                await self._ask(line)
            least = leaves_at or 10_000
            await self._wait(
                lambda: self._current_is_whole() or self._current_position() >= least, "the last answer's end"
            )
        finally:
            await self._hang_up(socket)
            await asyncio.wait([reading], timeout=CLOSING_SECONDS)  # for how it ended
            reading.cancel()

    async def _hang_up(self, socket: ClientConnection) -> None:
        await socket.close(1000)

    def repeated(self) -> list[Answer]:
        """Answers that may come although they were given before."""
        return []

    async def _ask(self, line: Line) -> None:
        if line.breaks_in is None:
            await self._wait(self._current_is_whole, "an answer's end")
            await asyncio.sleep(self.pauses())
        else:
            least = line.breaks_in
            await self._wait(lambda: self._current_is_whole() or self._current_position() >= least, "an answer's begin")
        if not line.text.strip():
            await self._send({"type": "user_message", "text": line.text})
            return
        count = len(self.transcript.answers)
        self.transcript.user_asks()
        self.asked_at.append(time.time())
        await self._send({"type": "user_message", "text": line.text})
        await self._wait(lambda: len(self.transcript.answers) > count, f"an answer to {line.text!r}")

    def _current_is_whole(self) -> bool:
        answers = self.transcript.answers
        return not answers or answers[-1].is_whole or answers[-1].missed

    def _current_position(self) -> int:
        answers = self.transcript.answers
        return answers[-1].position() if answers else 0

    async def _send(self, event: dict[str, Any]) -> None:
        if self._socket is None:
            raise TalkError("there is no socket")
        try:
            await self._socket.send(orjson.dumps(event).decode())
        except ConnectionClosed as exc:
            raise TalkError(f"the socket is closed: {exc}") from exc

    async def _wait(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if self.ending is not None:
                raise TalkError(f"closed with {self.ending[0]} {self.ending[1]!r} while waiting for {what}")
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                raise TalkError(f"{what} did not come in {LIMIT_SECONDS:g} s") from None

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                await self._take(orjson.loads(message))
        except (ConnectionClosed, TalkError):  # also when the close stood right behind what asked for an answer
            pass
        self.ending = (socket.close_code or 1006, socket.close_reason or "")
        self._heard.set()

    async def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind != "audio":
            self.kinds.append(kind)
        if kind == "conversation_initiation_metadata":
            self.conversation_id = event["conversation_initiation_metadata_event"]["conversation_id"]
        elif kind == "ping":
            await self._send({"type": "pong", "event_id": event["ping_event"]["event_id"]})
        elif kind == "client_tool_call":
            call = event["client_tool_call"]["tool_call_id"]
            await asyncio.sleep(self.pauses_before_tool)
            await self._send({"type": "client_tool_result", "tool_call_id": call, "result": TOOL_RESULT})
        elif kind == "error":
            self.errors.append(str(event.get("error_event", {}).get("message")))
        self.transcript.take(event, time.time())
        self._heard.set()


def problems_with(caller: Caller, lines: Sequence[Line], greetings: Sequence[str]) -> list[str]:
    """What is wrong with what the client heard: words that were lost, repeated or never asked for."""
    found = list(caller.transcript.problems)
    lines = [line for line in lines if line.text.strip()]
    answers = list(caller.transcript.answers)
    for number, answer in enumerate(answers):
        if mismatch := answer.mismatch():
            found.append(f"answer {number + 1}: {mismatch}")
        elif not answer.may_be_short and not answer.is_whole:
            text = " ".join((answer.text or "").split())
            found.append(f"answer {number + 1}: never spoken: {text[answer.position() :]!r}")
    if answers and answers[0].text in greetings:
        answers.pop(0)
    # An agent asks so when nothing is said for some seconds; nothing is wrong with that.
    answers = [answer for answer in answers if answer.text not in NUDGES]
    found += _wrong_answers([answer for answer in answers if answer not in caller.repeated()], lines)
    return found


def _wrong_answers(answers: list[Answer], lines: Sequence[Line]) -> list[str]:
    texts = [answer.text for answer in answers]
    found = []
    for number, line in enumerate(lines):
        may_be_missing = number + 1 < len(lines) and lines[number + 1].breaks_in is not None
        if texts and (line.answer is None or texts[0] == line.answer):
            texts.pop(0)
        elif not may_be_missing:
            found.append(f"{line.text!r} was answered with {texts[0] if texts else None!r}")
            texts = texts[1:]
    return [*found, *(f"nobody asked for {text!r}" for text in texts)]


def draw_lines(dice: random.Random, answers: dict[str, str], count: int, *, barges: float) -> list[Line]:
    """So many different questions, of which the share `barges` breaks in on the answer before."""
    lines = []
    for question in dice.sample(sorted(answers), count):
        breaks_in = dice.randrange(5, 60) if dice.random() < barges else None
        lines.append(Line(question, answers[question], breaks_in))
    return lines
