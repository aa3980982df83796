"""A client that goes through one conversation as its fate says, and knows what must come of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any

from soak.fates import Fate
from soak.parts import CONVERSATION_TARGET
from soak.talk import RECEIVE_BYTES, TalkEnd
from soak.wire import Wire

CONNECT_SECONDS = 10.0


class Caller:
    """One call to the service at `port` of the loopback interface; nothing here waits.

    `on_done` is called once; `failure` then says what went wrong, or is empty.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: int, fate: Fate, *, on_done: Callable[[Caller], None]
    ) -> None:
        self.fate = fate
        self.failure = ""
        self._loop = loop
        self._on_done = on_done
        self._is_done = False
        self._error = ""
        self._head = b""
        self._end: TalkEnd | None = None
        self._heard_all = self._was_heard = False
        sock = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
        self._wire = Wire(
            loop, sock, on_data=self._read_answer, on_end=lambda: self._finish("hung up on during the upgrade")
        )
        if fate.client.stalls or fate.client.leaves:
            self._wire.hold_less(RECEIVE_BYTES)
        self._ask(_upgrade_request(port))

    @property
    def frames(self) -> int:
        """Messages that have arrived, both ways as far as we know."""
        return 0 if self._end is None else self._end.heard + (self.fate.up if self._was_heard else 0)

    @property
    def progress(self) -> int:
        """Messages heard and said by us."""
        return 0 if self._end is None else self._end.heard + self._end.said

    def describe(self) -> str:
        """Where it stands."""
        if self._end is None:
            return f"conversation {self.fate.seed} ({self.fate.name}): not open"
        return (
            f"conversation {self.fate.seed} ({self.fate.name}): said {self._end.said} of {self.fate.up}, "
            f"heard {self._end.heard} of {self.fate.down}"
        )

    def give_up(self, why: str) -> None:
        """End it as failed."""
        self._finish(why)

    # --- Opening

    def _ask(self, request: bytes) -> None:
        if self.fate.aborts != "half_request":
            self._wire.write(request)
            return
        self._wire.write(request[: len(request) // 2])
        self._wire.reset()
        self._loop.call_soon(self._finish, "")

    def _read_answer(self, data: memoryview) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101 "):
            self._finish(f"the upgrade was answered with {head[:40]!r}")
            return
        if self.fate.aborts == "after_upgrade":
            self._wire.reset()
            self._finish("")
            return
        self._end = TalkEnd(
            self._loop, self._wire, is_client=True, on_event=self._handle_event, on_over=self._handle_over
        )
        variables = {"seed": str(self.fate.seed)}
        self._end.send_event({"type": "conversation_initiation_client_data", "dynamic_variables": variables})
        if self.fate.aborts == "after_initiation":
            self._end.break_off("reset")
            self._finish("")
        elif rest:
            self._end.read(rest)

    # --- Talking

    def _handle_event(self, event: Mapping[str, Any]) -> None:
        if self._end is None:
            return
        match event["type"]:
            case "conversation_initiation_metadata":
                fate, side = self.fate, self.fate.agent
                self._end.send_event(
                    {
                        "type": "soak_plan",
                        "seed": fate.seed,
                        "large": fate.large,
                        "up": fate.up,
                        "down": fate.down,
                        "stalls": side.stalls,
                        "leaves": side.leaves,
                        "leaves_at": side.leaves_at,
                    }
                )
                self._end.begin(fate.seed, to_say=fate.up, to_hear=fate.down, side=fate.client, large=fate.large)
            case "soak_heard":
                self._was_heard = event["heard"] == self.fate.up
                self._say_goodbye_when_complete()
            case "error":
                self._error = f" ({event['error_event']['message']})"
            case "soak_wrong":
                self._finish(f"the agent says: {event['what']}")

    def _handle_over(self, how: str) -> None:
        if how == "all heard":
            self._heard_all = True
            self._say_goodbye_when_complete()
        elif how.startswith("wrong"):
            self._finish(how)
        elif how in self._right_endings():
            self._finish("")
        else:
            self._finish(f"ended with {how!r}{self._error}")

    def _say_goodbye_when_complete(self) -> None:
        if self.fate.is_complete and self._heard_all and self._was_heard and self._end is not None:
            self._end.say_goodbye()

    def _right_endings(self) -> frozenset[str]:
        """How the service may end this one."""
        fate = self.fate
        if fate.is_complete:
            return frozenset({"closed 1000"} if self._heard_all and self._was_heard else ())
        if fate.client.leaves == "close_frame":
            return frozenset({"closed 1000"})
        if fate.client.leaves == "silent":  # whether it can still be told is up to its buffers
            return frozenset({"closed 1011", "closed 1013", "lost"})
        if fate.client.leaves:
            return frozenset({"left"})
        # An agent that says goodbye is a goodbye; one that is gone is a fault. A client that stalls for longer than the
        # service waits for its close frame finds the connection at its end.
        ending = "closed 1000" if fate.agent.leaves == "close_frame" else "closed 1011"
        return frozenset({ending, "lost"} if fate.client.stalls else {ending})

    def _finish(self, failure: str) -> None:
        if self._is_done:
            return
        self._is_done = True
        self.failure = f"{self.describe()}: {failure}" if failure else ""
        self._wire.close()
        self._on_done(self)


def _upgrade_request(port: int) -> bytes:
    return (
        f"GET {CONVERSATION_TARGET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
