"""A source of secrets that says what a test tells it to, and a manager of it that reads only when it is asked to."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scripts.launcher.waiting import wait_until
from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret, SecretName
from service.secrets_manager import SecretsManager
from service.secrets_sources import Reading
from tests.unit.retrying import FakeTime

KEY = SecretName.ELEVENLABS_API_KEY
TICKET = SecretName.TICKET_SIGNING_KEY
LIMIT_SECONDS = 10.0
AWAY = SecretsSourceError("Vault cannot be reached.", cause=FailureCause.UNREACHABLE)


def reading(key: str = "k1", version: int = 1, **others: str) -> Reading:
    """`others` are named as `SecretName`'s members are, in small letters."""
    values = {KEY: Secret(key), **{SecretName[name.upper()]: Secret(value) for name, value in others.items()}}
    return Reading(values, version)


class ScriptedSource:
    """Answers `answer`, or raises it; while it is `held` it takes its time."""

    name = "scripted"
    is_static = False

    def __init__(self, answer: Reading | BaseException, *, clock: Callable[[], float] | None = None) -> None:
        self.answer = answer
        self.seconds_to_upkeep = math.inf
        self.lease_seconds_left = math.inf
        self.on_failure: Callable[[SecretsSourceError], None] = lambda _: None
        self.begun: list[float] = []
        """When each reading began."""
        self.is_closed = False
        self._clock = clock or (lambda: 0.0)
        self._open = threading.Event()
        self._open.set()

    def read(self) -> Reading:
        answer = self.answer  # as it is when the reading begins
        self.begun.append(self._clock())
        assert self._open.wait(LIMIT_SECONDS), "nobody let it go"
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)  # it is raised again and again
        return answer

    def close(self) -> None:
        self.is_closed = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have each reading that begins in the block wait for the block's end."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()


def seldom(low: float, high: float) -> float:
    """In the place of chance: no spread at the start, and then no reading that was not asked for."""
    return 0.0 if high == 0.0 else 1_000.0


class Managed:
    """A manager with its source and its clocks; `close` it."""

    def __init__(self, answer: Reading | BaseException | None = None, **options: Any) -> None:
        self.time, self.wall = FakeTime(), FakeTime()
        self.wall.now = 1_700_000_000.0
        self.source = ScriptedSource(answer or reading(), clock=self.time.clock)
        self.rotations: list[set[SecretName]] = []
        given = {"clock": self.time.clock, "wall_clock": self.wall.clock, "uniform": seldom, **options}
        self.manager = SecretsManager(self.source, **given)
        self.manager.on_rotation(lambda names: self.rotations.append(set(names)))

    def start(self) -> None:
        """Start it, and wait for its first reading to end, whatever came of it."""
        first = self.manager._next_reading
        self.manager.start()
        assert first.wait(LIMIT_SECONDS)

    def close(self) -> None:
        self.source._open.set()
        self.manager.close()

    def read(self, answer: Reading | BaseException | None = None) -> bool:
        """Have it read `answer` now; whether the secrets have changed."""
        if answer is not None:
            self.source.answer = answer
        before = len(self.source.begun)
        self.time.now += 1.0  # it reads at most once a second
        changed = self.manager.refresh(LIMIT_SECONDS)
        assert len(self.source.begun) == before + 1
        return changed

    @property
    def thread(self) -> threading.Thread:
        assert self.manager._thread is not None
        return self.manager._thread

    def wait_for_end(self) -> None:
        wait_until(lambda: not self.thread.is_alive(), LIMIT_SECONDS, "the end of the thread")
