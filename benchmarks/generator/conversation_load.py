"""The clients' side: conversations opened over a target, led through a plan, and counted."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.generator.conversation_end import ConversationEnd
from benchmarks.generator.http_head import read_head
from benchmarks.generator.loop import Channel, Loop
from benchmarks.generator.plans import BLOCK_PLANS, SILENCE_SECONDS, Plan, Tally
from benchmarks.generator.targets import Target

OPEN_SECONDS = 20.0
OPEN_AT_ONCE = 16
"""Conversations under way to being open: enough to keep a relay busy, so that the rate is the relay's."""

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

    @property
    def delays(self) -> list[float]:
        """Milliseconds from the writing of each message to its arrival, both ways."""
        return [delay / 1000 for tally in (self.agent, self.client) for delay in tally.delays]

    @property
    def wrong(self) -> int:
        """Messages sent that have not arrived, or arrived out of turn."""
        lost_up, lost_down = self.client.sent - self.agent.received, self.agent.sent - self.client.received
        return abs(lost_up) + abs(lost_down) + self.client.disordered + self.agent.disordered

    @property
    def messages(self) -> int:
        """Messages that arrived, both ways."""
        return self.client.received + self.agent.received


class ClientConversation:
    """One conversation over `target`, from the client's side; it is ready when the metadata has come."""

    def __init__(self, loop: Loop, target: Target) -> None:
        self.target = target
        self.is_ready = False
        self.problem: str | None = None
        self._loop = loop
        self._end: ConversationEnd | None = None
        self._head = b""
        # The loopback interface connects at once, or its listener's backlog is full.
        sock = socket.create_connection(("127.0.0.1", target.port), timeout=OPEN_SECONDS)
        self._channel = Channel(loop, sock, on_data=self._read_head, on_end=self._note_end)
        self._channel.write(_upgrade_request(target))

    def follow(self, plan: Plan) -> None:
        """Do `plan` together with the agent; `outcome` is there when it is done."""
        if self._end is not None:
            self._end.follow(plan)

    @property
    def outcome(self) -> Outcome | None:
        """What came of the plan, once everything sent has arrived on either side."""
        if self._end is None or self._end.peer is None:
            return None
        return Outcome(client=self._end.tally, agent=self._end.peer)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _read_head(self, data: memoryview) -> None:
        self._head += data
        found = read_head(self._head)
        if found is None:
            return
        head, rest = found
        if head.status != 101:
            self.problem = f"the upgrade was answered with {head.status}"
            self.close()
            return
        self._end = ConversationEnd(
            self._loop, self._channel, is_client=True, on_event=self._note, on_end=self._note_end
        )
        self._end.send_event({"type": "conversation_initiation_client_data"})
        self._end.read(rest)

    def _note(self, event: Mapping[str, Any]) -> None:
        self.is_ready = self.is_ready or event["type"] == "conversation_initiation_metadata"

    def _note_end(self) -> None:
        self.problem = self.problem or "ended early"


@contextmanager
def conversations(loop: Loop, target: Target, count: int) -> Iterator[list[ClientConversation]]:
    """`count` conversations over `target`, all with their metadata.

    Raises:
        LoadError: one was refused, or has ended.
        TimeoutError: one has got no metadata.
    """
    opened: list[ClientConversation] = []
    opening: list[ClientConversation] = []

    def is_one_settled() -> bool:
        return any(one.is_ready or one.problem for one in opening)

    try:
        while len(opened) < count or opening:
            while len(opened) < count and len(opening) < OPEN_AT_ONCE:
                opened.append(ClientConversation(loop, target))
                opening.append(opened[-1])
            loop.run_until(is_one_settled, limit_seconds=OPEN_SECONDS, what=f"metadata from {target.name}")
            opening[:] = [one for one in opening if not one.is_ready and one.problem is None]
        _check(opened)
        yield opened
    finally:
        for conversation in opened:
            conversation.close()


def lead(
    loop: Loop,
    parts: Sequence[tuple[str, Sequence[ClientConversation]]],
    seconds: float,
    *,
    on_start: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
) -> list[list[Outcome]]:
    """Lead conversations through plans of the kinds named, all together, and return what came of each, part by part.

    The phases are random but the same in each run, and one part's conversations have the same ones as another's.
    `on_start` is called when the plans begin; `on_end` when everything planned has been sent and has had time to
    arrive, before the tallies are exchanged (after them, if a flood has to drain): a meter's place.

    Raises:
        LoadError: a conversation ended before it was done.
        TimeoutError: one is not done long after the plan's end.
    """
    starts_at = time.monotonic() + START_SECONDS
    for kind, led in parts:
        phases = random.Random(1)
        for conversation in led:
            conversation.follow(Plan(kind=kind, starts_at=starts_at, seconds=seconds, phase=phases.random()))
    loop.at(starts_at, on_start)
    drains = any(kind in BLOCK_PLANS for kind, _ in parts)
    if not drains:
        loop.at(starts_at + seconds + SILENCE_SECONDS / 2, on_end)
    waiting = [conversation for _, led in parts for conversation in led]

    def is_done() -> bool:
        while waiting and (waiting[-1].outcome or waiting[-1].problem):
            waiting.pop()
        return not waiting

    limit = START_SECONDS + seconds + DRAIN_SECONDS
    loop.run_until(is_done, limit_seconds=limit, what="the end of all conversations")
    if drains:
        on_end()
    for _, led in parts:
        _check(led)
    return [[one.outcome for one in led if one.outcome] for _, led in parts]


def _check(opened: Sequence[ClientConversation]) -> None:
    problems = sorted({f"{one.target.name}: {one.problem}" for one in opened if one.problem})
    if problems:
        count = sum(one.problem is not None for one in opened)
        raise LoadError(f"{count} of {len(opened)} conversations failed ({'; '.join(problems)})")


def _upgrade_request(target: Target) -> bytes:
    return (
        f"GET {target.conversation_target} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
