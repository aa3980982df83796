"""One end of a soaked conversation: it says its script as fast as it is taken, checks what it hears, and may leave.

The key decision: both ends are the same program, and agree by events of ours within the conversation (`soak_plan`,
`soak_heard`, `soak_wrong`), which the service passes on as it does with any event that it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from soak.fates import Side
from soak.numbered import Script, WrongMessageError
from soak.websocket_frames import CLOSE, CONTINUATION, PING, PONG, TEXT, FrameReader, build_frame
from soak.wire import Wire

BLOCK = 32
"""Messages written at a time; some 25 kB."""

FRAGMENTED_EVERY = 97
"""Of so many messages one goes out in three fragments with a ping in between."""

SILENCE_SECONDS = 12.0
"""For how long a half-open side is silent: more than the service's idle time and write deadline in that suite."""

RECEIVE_BYTES = 65_536
"""Receive buffer of an end that may stall: soon full, so that the service has to hold something back."""

_HALF_A_FRAME = b'{"user_audio_chunk":"'


class TalkEnd:
    """An end over an upgraded connection, which it owns; `read` takes what came behind the upgrade.

    `on_event` gets what is no message of a script, parsed. `on_over(how)` is told: "all heard" when everything due has
    come (the connection stays), "wrong: ..." at the first message that is not the one due, "closed CODE" at the peer's
    close frame, "lost" when the connection ended without one, "left" when we broke it off.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wire: Wire,
        *,
        is_client: bool,
        on_event: Callable[[Mapping[str, Any]], None],
        on_over: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._wire = wire
        self._masks = is_client
        self._on_event = on_event
        self._on_over = on_over
        self._reader = FrameReader()
        self._says: Script | None = None
        self._hears: Script | None = None
        self._to_say = self._to_hear = 0
        self._side = Side()
        self._next_stall = 0
        self._silent = self._said_goodbye = False
        self.said = self.heard = 0
        wire.on_data, wire.on_end = self.read, lambda: on_over("lost")

    def begin(self, seed: int, *, to_say: int, to_hear: int, side: Side, large: bool = False) -> None:
        """Say and hear so many messages of conversation `seed`, and do what `side` says."""
        self._says = Script(seed, is_agent=not self._masks, large=large)
        self._hears = Script(seed, is_agent=self._masks, large=large)
        self._to_say, self._to_hear, self._side = to_say, to_hear, side
        self._wire.write_when_drained(self._say_more)

    def send_event(self, event: Mapping[str, Any]) -> None:
        """Send an event of the protocol, or of ours."""
        self._write(TEXT, orjson.dumps(event))

    def say_goodbye(self, code: int = 1000) -> None:
        """Send a close frame; `on_over` tells of the peer's."""
        self._wire.write_when_drained(None)
        self._write(CLOSE, code.to_bytes(2, "big"))
        self._said_goodbye = True

    def break_off(self, way: str) -> None:
        """End the connection as `way` says (`soak.fates.WAYS`); nobody is told."""
        if way == "reset":
            self._wire.reset()
            return
        if way == "half_frame":
            # If the socket is full, what is in it ends in the middle of a frame anyway.
            frame = build_frame(TEXT, _HALF_A_FRAME, masks=self._masks)
            self._wire.write(frame[: len(frame) // 2])
        self._wire.close()

    def close(self) -> None:
        """End the connection."""
        self._wire.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        if not self._said_goodbye:  # nothing comes behind a close frame (RFC 6455, section 5.5.1)
            self._wire.write(build_frame(opcode, payload, masks=self._masks))

    # --- Saying

    def _say_more(self) -> None:
        last = min(self.said + BLOCK, self._to_say)
        frames = [self._frames_of(number) for number in range(self.said + 1, last + 1)]
        self.said = last
        if last == self._to_say:
            self._wire.write_when_drained(None)
        self._wire.write(b"".join(frames))

    def _frames_of(self, number: int) -> bytes:
        if self._says is None:
            raise RuntimeError("there is nothing to say yet")
        message = self._says.message(number)
        if number % FRAGMENTED_EVERY:
            return build_frame(TEXT, message, masks=self._masks)
        first, second = len(message) // 3, len(message) // 2
        return b"".join(
            (
                build_frame(TEXT, message[:first], masks=self._masks, is_final=False),
                build_frame(PING, b"between", masks=self._masks),
                build_frame(CONTINUATION, message[first:second], masks=self._masks, is_final=False),
                build_frame(CONTINUATION, message[second:], masks=self._masks),
            )
        )

    # --- Hearing

    def read(self, data: bytes | memoryview) -> None:
        """Take what arrived."""
        try:
            for opcode, payload in self._reader.feed(data):
                if opcode == TEXT and not payload.startswith(b'{"type":"'):
                    self._hear(payload)
                else:
                    self._handle_other(opcode, payload)
        except _OverError as over:
            self._on_over(str(over))
        except (WrongMessageError, ValueError) as exc:
            self._wire.on_data = lambda _: None
            self.send_event({"type": "soak_wrong", "what": str(exc)})
            self._on_over(f"wrong: {exc}")

    def _hear(self, message: bytes) -> None:
        number = self.heard + 1
        if self._hears is None or number > self._to_hear:
            raise WrongMessageError(f"nothing was due, and there came {message[:64]!r}")
        self._hears.check(number, message)
        self.heard = number
        side = self._side
        if side.leaves and number >= side.leaves_at:
            self._leave(side.leaves)
        if self._next_stall < len(side.stalls) and number >= side.stalls[self._next_stall][0]:
            self._stall(side.stalls[self._next_stall][1])
        if number == self._to_hear:
            self.send_event({"type": "soak_heard", "heard": number})
            self._on_over("all heard")

    def _handle_other(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if not self._silent:
                self._write(PONG, payload)
        elif opcode == CLOSE:
            self._write(CLOSE, payload[:2])
            self._wire.close()
            raise _OverError(f"closed {int.from_bytes(payload[:2], 'big') or 1005}")
        elif opcode == TEXT:
            self._on_event(orjson.loads(payload))
        elif opcode != PONG:
            raise WrongMessageError(f"a frame with opcode {opcode} came, which nobody sends")

    # --- Misbehaving

    def _stall(self, seconds: float) -> None:
        self._next_stall += 1
        self._wire.pause()
        self._loop.call_later(seconds, self._listen_again)

    def _listen_again(self) -> None:
        if not self._silent:
            self._wire.resume()

    def _leave(self, way: str) -> None:
        self._side = Side()
        if way == "silent":
            self._fall_silent()
        elif way == "close_frame":
            self.say_goodbye()
        else:
            self.break_off(way)
            raise _OverError("left")

    def _fall_silent(self) -> None:
        """Neither read nor write, until the service must have given us up; then see what there is to read."""
        self._silent = True
        self._wire.write_when_drained(None)
        self._wire.pause()
        self._loop.call_later(SILENCE_SECONDS, self._wire.resume)


class _OverError(Exception):
    """Nothing that follows in this read counts any more."""
