"""What all workers know together of one breaker, in Redis: the opening that lasts, and the lease of who probes.

The key decision: each step is one script, so it happens once and whole; times travel as distances from now by the
clock of Redis. Nothing here decides anything, and whoever asks can go on without an answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from service import redis_keys
from service.fallback.breaker_terms import Opening
from service.metrics_fallback import ProbeResult

_SCRIPT = Path(__file__).with_name("breaker.lua").read_text()
LONGEST_ID = 64


@dataclass(frozen=True)
class Shared:
    """An opening as Redis has it. `ramp_at` is when the first worker came back; None: nobody has yet."""

    opening: Opening
    ramp_at: float | None


class SharedOpening:
    """The opening called `name` in `store`, which needs short timeouts. Every method raises RedisError."""

    def __init__(self, store: redis.Redis, name: str) -> None:
        self._script = store.register_script(_SCRIPT)
        # One hash tag: in a cluster both are on one node, which a script needs.
        self._keys = [f"{redis_keys.BREAKER.prefix}{{{name}}}:{part}" for part in ("opening", "lease")]

    def read(self, now: float) -> Shared | None:
        """The opening, with its times by the clock that shows `now`; None if there is none."""
        return _shared(self._run("read"), now)

    def open(self, opening: Opening, now: float, *, left_id: str | None) -> Shared | None:
        """Put an opening there if none lasts. `left_id` is the one that we have come back from before.

        Returns what is there now, which may be another worker's.
        """
        distances = _milliseconds(now - opening.opened_at), _milliseconds(opening.probe_at - now)
        return _shared(self._run("open", opening.id, *distances, opening.level, opening.good, left_id or ""), now)

    def probed(self, opening_id: str, result: ProbeResult, *, next_seconds: float) -> None:
        """Tell how a probe ended, and in how many seconds the next one is due."""
        self._run("probed", opening_id, result.value, _milliseconds(next_seconds))

    def returned(self, opening_id: str) -> None:
        """Tell that we have come back from that opening."""
        self._run("returned", opening_id)

    def take_lease(self, opening_id: str, seconds: float) -> str | None:
        """The token of the lease to probe for that opening; None if another has it, or has just probed."""
        token = secrets.token_hex(8)
        return token if self._run("lease", opening_id, token, _milliseconds(seconds)) else None

    def give_back(self, token: str) -> None:
        """Give the lease back, if it is still ours."""
        self._run("release", token)

    def _run(self, *what: str | int) -> Any:
        return self._script(keys=self._keys, args=what)


def _shared(told: Sequence[Any], now: float) -> Shared | None:
    if not told:
        return None
    opening_id, opened, probe, level, good, ramp = told
    return Shared(
        Opening(
            id=_text(opening_id)[:LONGEST_ID],
            opened_at=now - int(opened) / 1000,
            probe_at=now + int(probe) / 1000,
            level=int(level),
            good=int(good),
        ),
        ramp_at=None if int(ramp) < 0 else now - int(ramp) / 1000,
    )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
