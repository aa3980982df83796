"""Both ends of a soaked conversation over real sockets: they see what they are there to see, and misbehave as asked.

The last test is the suite itself, small, through the real service.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from soak import frames
from soak.fates import Side
from soak.talk import TalkEnd
from soak.wire import Wire

LIMIT_SECONDS = 20.0
SEED = 5
WELL_BEHAVED = Side()


class SpoilingWire(Wire):
    """A wire whose writes go through `spoil`."""

    __slots__ = ("spoil",)
    spoil: Callable[[bytes], bytes]

    def write(self, data: bytes) -> None:
        super().write(self.spoil(data))


@dataclass
class Pair:
    """A client and an agent, and what they said of their ends, in order."""

    client: TalkEnd
    agent: TalkEnd
    client_over: list[str] = field(default_factory=list)
    agent_over: list[str] = field(default_factory=list)
    client_events: list[str] = field(default_factory=list)


@asynccontextmanager
async def pair(spoil: Callable[[bytes], bytes] = bytes) -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=LIMIT_SECONDS)
        far, _ = listener.accept()
    here: list[list[str]] = [[], [], []]
    near_wire = Wire(loop, near, on_data=lambda _: None, on_end=lambda: None)
    far_wire = SpoilingWire(loop, far, on_data=lambda _: None, on_end=lambda: None)
    far_wire.spoil = spoil
    client = TalkEnd(
        loop, near_wire, is_client=True, on_event=lambda event: here[2].append(event["type"]), on_over=here[0].append
    )
    agent = TalkEnd(loop, far_wire, is_client=False, on_event=lambda _: None, on_over=here[1].append)
    try:
        yield Pair(client, agent, *here)
    finally:
        client.close()
        agent.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def begin(ends: Pair, *, client: Side = WELL_BEHAVED, agent: Side = WELL_BEHAVED, count: int = 1_200) -> None:
    ends.agent.begin(SEED, to_say=count, to_hear=count, side=agent)
    ends.client.begin(SEED, to_say=count, to_hear=count, side=client)


def test_both_ends_hear_everything_even_if_they_stall() -> None:
    async def talk() -> None:
        async with pair() as ends:
            begin(ends, client=Side(stalls=((10, 0.05), (700, 0.05))), agent=Side(stalls=((300, 0.05),)))
            await until(lambda: "soak_heard" in ends.client_events and ends.client_over)
            assert (ends.client_over, ends.agent_over) == (["all heard"], ["all heard"])

    asyncio.run(talk())


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "changed": lambda data: data.replace(b'"%010d%06d' % (900, SEED), b'"%010d%06d' % (901, SEED)),
    "of another conversation": lambda data: data.replace(b'"%010d%06d' % (900, SEED), b'"%010d%06d' % (900, SEED + 1)),
    "in its last byte": lambda data: data.replace(b'"event_id":2},"type":"audio"}', b'"event_id":3},"type":"audio"}'),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_message_that_was_changed_on_its_way_is_seen_and_told_to_the_other_end(kind: str) -> None:
    async def talk() -> None:
        async with pair(SPOILT[kind]) as ends:
            begin(ends)
            await until(lambda: ends.client_over)
            assert ends.client_over[0].startswith("wrong: message ")
            assert ends.client.heard < 1_200

    asyncio.run(talk())


@pytest.mark.parametrize(("way", "how"), [("reset", "lost"), ("cut", "lost"), ("half_frame", "lost")])
def test_an_end_that_breaks_off_leaves_the_other_one_with_a_lost_connection(way: str, how: str) -> None:
    async def talk() -> None:
        async with pair() as ends:
            begin(ends, agent=Side(leaves=way, leaves_at=100))
            await until(lambda: ends.client_over)
            assert (ends.agent_over, ends.client_over) == (["left"], [how])

    asyncio.run(talk())


def test_an_end_that_says_goodbye_hears_the_others_goodbye_and_says_nothing_behind_its_own() -> None:
    async def talk() -> None:
        async with pair() as ends:
            begin(ends, client=Side(leaves="close_frame", leaves_at=50))
            await until(lambda: "closed 1000" in ends.agent_over and "closed 1000" in ends.client_over)
            assert not [how for how in ends.agent_over if how.startswith("wrong")]

    asyncio.run(talk())


def test_an_end_that_falls_silent_neither_reads_nor_writes() -> None:
    async def talk() -> None:
        async with pair() as ends:
            begin(ends, client=Side(leaves="silent", leaves_at=50), count=100_000)
            await until(lambda: ends.client.heard >= 50)
            said = ends.client.said
            await until(lambda: ends.agent.heard >= said - 32)
            assert ends.client.said == said
            assert (ends.client_over, ends.agent_over) == ([], [])

    asyncio.run(talk())


@pytest.mark.long  # `python -m soak frames` sends ten million
def test_some_thousand_frames_go_through_the_real_service_unharmed() -> None:
    result = frames.run(4_000)
    assert result.failures == []
    assert ("frames carried and compared byte for byte", "4,000", "") in result.rows
