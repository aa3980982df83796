"""The clients' side: conversations opened over a target, led through a plan, and counted."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.conversation_end import ConversationEnd, Plan, Tally
from benchmarks.http_head import read_head
from benchmarks.loop import Loop
from benchmarks.targets import Target

OPEN_SECONDS = 10.0
DRAIN_SECONDS = 20.0
START_SECONDS = 0.5
"""From the making of a plan to its start: enough for every upstream to have read it."""


class LoadError(Exception):
    """A conversation was refused or ended early: the measurement is worth nothing."""


@dataclass(frozen=True)
class Outcome:
    """What one conversation's two ends saw: `up` is what the agent heard, `down` what the client heard."""

    client: Tally
    agent: Tally

    def delays(self, direction: str) -> list[int]:
        """Microseconds from the writing of each message to its arrival."""
        return self.agent.delays if direction == "up" else self.client.delays

    @property
    def lost(self) -> int:
        """Messages sent that have not arrived."""
        return self.client.sent - self.agent.received + self.agent.sent - self.client.received

    @property
    def disordered(self) -> int:
        """Messages that arrived out of turn."""
        return self.client.disordered + self.agent.disordered

    @property
    def frames(self) -> int:
        """Messages that arrived, both ways."""
        return self.client.received + self.agent.received


class ClientConversation:
    """One conversation over `target`, from the client's side."""

    def __init__(self, loop: Loop, target: Target) -> None:
        self.target = target
        self.is_ready = False
        self.has_ended = False
        sock, rest = _upgrade(target)
        self._end = ConversationEnd(
            loop, sock, is_client=True, on_event=self._note, on_end=self._note_end, received=rest
        )
        self._end.send_event({"type": "conversation_initiation_client_data"})

    def follow(self, plan: Plan) -> None:
        """Do `plan` together with the agent; `outcome` is there when it is done."""
        self._end.follow(plan)

    @property
    def outcome(self) -> Outcome | None:
        """What came of the plan, once everything sent has arrived on either side."""
        return None if self._end.peer is None else Outcome(client=self._end.tally, agent=self._end.peer)

    def is_settled(self) -> bool:
        """Whether the metadata has come, or never will."""
        return self.is_ready or self.has_ended

    def close(self) -> None:
        """Hang up."""
        self._end.close()

    def _note(self, event: Mapping[str, Any]) -> None:
        self.is_ready = self.is_ready or event["type"] == "conversation_initiation_metadata"

    def _note_end(self) -> None:
        self.has_ended = True


@contextmanager
def conversations(loop: Loop, targets: Sequence[Target], count: int) -> Iterator[list[ClientConversation]]:
    """`count` conversations over each target, all with their metadata."""
    opened: list[ClientConversation] = []
    try:
        for _ in range(count):
            for target in targets:
                opened.append(ClientConversation(loop, target))
                loop.run_until(opened[-1].is_settled, limit_seconds=OPEN_SECONDS, what=f"metadata from {target.name}")
        _check(opened)
        yield opened
    finally:
        for conversation in opened:
            conversation.close()


def lead(loop: Loop, led: Sequence[ClientConversation], kind: str, seconds: float) -> list[Outcome]:
    """Lead all through a plan of `kind` together, and return what came of each.

    The phases are random but the same in each run, and one target's conversations have the same ones as another's.

    Raises:
        LoadError: a conversation ended before it was done.
    """
    starts_at = time.monotonic() + START_SECONDS
    phases = {target: random.Random(1) for target in {conversation.target for conversation in led}}
    for conversation in led:
        phase = phases[conversation.target].random()
        conversation.follow(Plan(kind=kind, starts_at=starts_at, seconds=seconds, phase=phase))
    loop.run_until(
        lambda: all(conversation.outcome or conversation.has_ended for conversation in led),
        limit_seconds=START_SECONDS + seconds + DRAIN_SECONDS,
        what="the end of all conversations",
    )
    _check(led)
    return [conversation.outcome for conversation in led if conversation.outcome]


def _check(opened: Sequence[ClientConversation]) -> None:
    ended = [conversation.target.name for conversation in opened if conversation.has_ended]
    if ended:
        raise LoadError(f"{len(ended)} of {len(opened)} conversations ended early ({', '.join(sorted(set(ended)))})")


def upgrade_request(target: Target) -> bytes:
    """The HTTP request that opens a conversation's socket at `target`."""
    return (
        f"GET {target.conversation_target} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _upgrade(target: Target) -> tuple[socket.socket, bytes]:
    sock = socket.create_connection(("127.0.0.1", target.port), timeout=OPEN_SECONDS)
    try:
        sock.sendall(upgrade_request(target))
        data = b""
        while (found := read_head(data)) is None:
            piece = sock.recv(65_536)
            if not piece:
                raise LoadError(f"{target.name} hung up during the upgrade")
            data += piece
        head, rest = found
        if head.status != 101:
            raise LoadError(f"{target.name} answered the upgrade with {head.status}")
    except BaseException:  # whatever it is, the socket is not handed out
        sock.close()
        raise
    return sock, rest
