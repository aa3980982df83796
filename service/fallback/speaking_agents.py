"""Which agents have been heard to speak, by any worker: of one that only writes, nobody may wait for a sound.

The key decision: a text without sound is a fault only of an agent that has a voice, and nothing in ElevenLabs' protocol
says whether it has one. So a worker remembers whom it has heard, and learns from the others by way of Redis: else each
new worker would have to hear an agent once before it notices that its greeting hangs.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import cast

import redis

from service import redis_keys

REMEMBERED_AGENTS = 1_000
READ_SECONDS = 5.0
"""Between two looks at what the others have heard."""

KEPT_SECONDS = 30 * 86_400
LONGEST_ID = 256
KEY = f"{redis_keys.CACHE.prefix}speaking_agents"


class SpeakingAgents:
    """The agents that were heard last; safe from several threads. `store` needs short timeouts."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()  # the latest to be heard of last
        self._untold: set[str] = set()
        self._read_at: float | None = None

    def __contains__(self, agent_id: str) -> bool:
        return agent_id in self._known

    def heard(self, agent_id: str) -> None:
        """An agent's answer had a sound; waits for nothing."""
        if agent_id not in self._known:
            with self._lock:
                self._add(agent_id)
                if len(agent_id) <= LONGEST_ID:
                    self._untold.add(agent_id)

    def exchange(self) -> None:
        """Tell the other workers what is new, and hear what they know; called by one thread. Raises RedisError."""
        with self._lock:
            untold = list(self._untold)
        if untold:
            with self._store.pipeline(transaction=False) as pipeline:
                pipeline.zadd(KEY, dict.fromkeys(untold, time.time()))
                pipeline.zremrangebyrank(KEY, 0, -REMEMBERED_AGENTS - 1)
                pipeline.expire(KEY, KEPT_SECONDS)
                pipeline.execute()
            with self._lock:
                self._untold.difference_update(untold)
        if self._read_at is None or time.monotonic() >= self._read_at + READ_SECONDS:
            found = cast("list[bytes]", self._store.zrange(KEY, -REMEMBERED_AGENTS, -1))
            self._read_at = time.monotonic()
            with self._lock:
                for agent_id in (each.decode("utf-8", "replace") for each in found):
                    if agent_id not in self._known:
                        self._add(agent_id)

    def _add(self, agent_id: str) -> None:
        self._known[agent_id] = None
        if len(self._known) > REMEMBERED_AGENTS:
            self._known.popitem(last=False)
            self._untold.intersection_update(self._known)
