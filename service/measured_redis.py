"""A client of Redis that tells how long each command and each pipeline took, and whether it failed.

The key decision: the client itself is made so, once, in the composition root: no caller has to think of it, and none
can forget. What a command is for is told by its first key's namespace (`redis_keys.py`). A pipeline counts as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.client import Pipeline

from service import metrics_platform, redis_keys
from service.metrics_platform import RedisUse

_USES = {
    redis_keys.CONVERSATION: RedisUse.LEDGER,
    redis_keys.LEDGER_INDEX: RedisUse.LEDGER,
    redis_keys.RESUME_SINCE: RedisUse.LEDGER,
    redis_keys.LIMITER: RedisUse.LIMITER,
    redis_keys.TICKET: RedisUse.TICKETS,
    redis_keys.TICKETS_PER_MINUTE: RedisUse.TICKETS,
    redis_keys.OVERRIDE: RedisUse.OVERRIDES,
    redis_keys.BREAKER: RedisUse.OVERRIDES,
}
_USE_OF_SECOND_PART = {namespace.prefix.split(":")[1]: use for namespace, use in _USES.items()}
_OF_SCRIPTS = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"})
_FIRST_KEY_OF_SCRIPT = 3


class MeasuredRedis(redis.Redis):
    """As `redis.Redis`, whose `from_url` makes it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and give its answer."""
        return _measured(use_of(args), lambda: super(MeasuredRedis, self).execute_command(*args, **options))  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """Commands that are sent together."""
        return _MeasuredPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _MeasuredPipeline(Pipeline):
    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if not self.command_stack:
            return super().execute(raise_on_error)
        use = use_of(self.command_stack[0][0])
        answers: list[Any] = _measured(use, lambda: super(_MeasuredPipeline, self).execute(raise_on_error))
        return answers


def use_of(command: tuple[Any, ...]) -> RedisUse:
    """What a command is for: its name and arguments, as they are handed to the client."""
    place = _FIRST_KEY_OF_SCRIPT if command[0] in _OF_SCRIPTS else 1
    key = command[place] if len(command) > place else None
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    parts = key.split(":", 2) if isinstance(key, str) else []
    return _USE_OF_SECOND_PART.get(parts[1], RedisUse.OTHER) if len(parts) > 1 else RedisUse.OTHER


def _measured(use: RedisUse, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    try:
        return call()
    except (redis.exceptions.NoScriptError, redis.WatchError):
        raise  # both are part of the game
    except redis.RedisError:
        metrics_platform.redis_failed()
        raise
    finally:
        metrics_platform.redis_took(use, time.perf_counter() - began)
