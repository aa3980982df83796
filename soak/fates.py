"""What becomes of a conversation: whether somebody stalls, who leaves it, where, and how.

Everything is drawn from the conversation's seed, so that a failure can be repeated.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

LONGEST_STALL_SECONDS = 1.5
"""Shorter than the service's write deadline and idle time in this suite: who stalls so long must lose nothing."""

_LEFT_ALONE, _CLIENT_LEAVES, _AGENT_LEAVES, _NEVER_OPENED = 60, 18, 14, 8  # per cent
LARGE_SHARE, LARGE_SHARE_OF_SILENT = 0.05, 0.5
_FEW_STALLS = (0, 0, 1, 3)

WAYS = ("reset", "cut", "half_frame", "close_frame", "silent")
"""How a side leaves in mid-talk: RST; FIN without a close frame; half a frame and then FIN; a close frame; or silence:
it neither reads nor writes any more, as one whose network is gone, so its side is half-open."""

BEFORE_THE_TALK = ("half_request", "after_upgrade", "after_initiation")
"""Where a client leaves (with RST) that has hardly come."""


@dataclass(frozen=True)
class Side:
    """What one end does: `stalls` are (messages heard, seconds), and `leaves` in a way, having heard so many."""

    stalls: tuple[tuple[int, float], ...] = ()
    leaves: str = ""
    leaves_at: int = 0


@dataclass(frozen=True)
class Fate:
    """One conversation: how many messages go each way, and what either end does.

    `large`: all audio is so long that the sockets' buffers cannot take what a stalled end does not read.
    `aborts` is where it never began.
    """

    seed: int
    up: int
    down: int
    client: Side = Side()
    agent: Side = Side()
    aborts: str = ""
    large: bool = False

    @property
    def name(self) -> str:
        """What it counts as."""
        if self.aborts:
            return f"client leaves: {self.aborts}"
        if self.client.leaves:
            return f"client leaves: {self.client.leaves}"
        if self.agent.leaves:
            return f"agent leaves: {self.agent.leaves}"
        return "complete, with stalls" if self.client.stalls or self.agent.stalls else "complete"

    @property
    def is_complete(self) -> bool:
        """Whether both ends get to the end of what they have to say."""
        return not (self.aborts or self.client.leaves or self.agent.leaves)


def draw(seed: int, *, longest: int = 400) -> Fate:
    """The fate of conversation `seed`, of at most `longest` messages each way."""
    chance = random.Random(seed)
    up, down = chance.randint(20, longest), chance.randint(20, longest)
    client, agent = _stalling(chance, down), _stalling(chance, up)
    kind = chance.choices(
        ("complete", "client", "agent", "never"), (_LEFT_ALONE, _CLIENT_LEAVES, _AGENT_LEAVES, _NEVER_OPENED)
    )[0]
    if kind == "client":
        client = Side(client.stalls, chance.choice(WAYS), chance.randrange(down))
    elif kind == "agent":
        agent = Side(agent.stalls, chance.choice(WAYS), chance.randrange(up))
    aborts = chance.choice(BEFORE_THE_TALK) if kind == "never" else ""
    share = LARGE_SHARE_OF_SILENT if "silent" in {client.leaves, agent.leaves} else LARGE_SHARE
    return Fate(seed, up, down, client, agent, aborts, large=chance.random() < share)


def _stalling(chance: random.Random, heard: int) -> Side:
    count = chance.choice(_FEW_STALLS)
    places = sorted(chance.sample(range(1, heard), count))
    return Side(tuple((place, round(chance.uniform(0.05, LONGEST_STALL_SECONDS), 2)) for place in places))
