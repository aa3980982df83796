"""Passwords: hashed with Argon2id, by few at a time, so that a flood of sign-ins costs two threads and no more.

The key decision: hashing runs in a pool of threads that the door hands in (under gevent, a pool of real ones), and how
many may wait for it is bounded: who comes then is told to come back, at once. A name that nobody has costs the same
time as one with a wrong password.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as TookTooLongError
from contextlib import suppress
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dashboard.access.password_rules import LONGEST, check_password
from dashboard.words.said import Said
from service.errors import ServiceUnavailableError

# OWASP's second choice for Argon2id, and its memory: https://cheatsheetseries.owasp.org (Password Storage).
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
WAITING_FOR_EACH_THREAD = 8
LONGEST_WAIT_SECONDS = 30.0
"""On a core that others keep busy a hash takes ten seconds and more; whoever must sign in then would rather wait."""

_NICENESS = 19
"""Of a thread, which Linux counts for itself: on an idle core it takes no longer, on a full one 1.5 % are left. With 10
a flood of sign-ins adds 1.3 ms to the p99 of audio on the same machine, with 15 1.0 ms, with 19 0.5 ms
(benchmarks/dashboard_beside_audio.py)."""

GENERATED_BYTES = 15  # 120 bits, 20 characters

T = TypeVar("T")

_hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
# The hash of a password that nobody has, with the parameters above: what an unknown name is compared with.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$Zm9yIG5vYm9keSBhdCBhbGw$LxarHgHcNmJJLQrKwo5SZs1UwzSdZZCs10z+5wZZ6kA"


class Passwords:
    """Hashes and compares. `executor` has `threads` threads; nobody else uses it. `longest_wait` is in seconds."""

    def __init__(self, executor: Executor, *, threads: int, longest_wait: float = LONGEST_WAIT_SECONDS) -> None:
        self._executor = executor
        self._longest_wait = longest_wait
        self._places = threads * (1 + WAITING_FOR_EACH_THREAD)
        self._taken = 0
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """The hash to keep.

        Raises:
            ServiceUnavailableError: as many wait as may.
        """
        return self._run(lambda: hash_now(password))

    def matches(self, password_hash: str | None, password: str) -> bool:
        """Tell whether it is the password of this hash; without one (nobody of that name), no, after the same time.

        Raises:
            ServiceUnavailableError: as many wait as may.
        """
        if len(password) > LONGEST:
            return False
        return self._run(lambda: _matches(password_hash, password))

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than ours."""
        return _hasher.check_needs_rehash(password_hash)

    def check(self, password: str, *, name: str) -> None:
        """Raises RequestError (param "password"), with a sentence for people, unless it is fit for the user `name`."""
        check_password(password, name=name)

    def generate(self) -> str:
        """A password that nobody guesses."""
        return generate()

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(wait=False)

    def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._taken >= self._places:
                raise _too_many()
            self._taken += 1
        try:
            until = time.monotonic() + self._longest_wait
            return self._executor.submit(_yielding, work, until).result(self._longest_wait)
        except TookTooLongError:
            raise _too_many() from None
        finally:
            with self._lock:
                self._taken -= 1


def _yielding(work: Callable[[], T], until: float) -> T:
    """Do it in this thread, which from here on gives way to whatever else runs: conversations, perhaps."""
    if time.monotonic() > until:  # nobody waits for it any more (gevent's threads know no `cancel`)
        raise TookTooLongError
    with suppress(OSError):  # somebody has forbidden it; then it is as nice as its process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    return work()


def hash_now(password: str) -> str:
    """The hash to keep, made in this thread: for a command, which serves nobody else meanwhile."""
    return _hasher.hash(_comparable(password))


def generate() -> str:
    """A password of 20 characters that nobody guesses."""
    return secrets.token_urlsafe(GENERATED_BYTES)


def _matches(password_hash: str | None, password: str) -> bool:
    try:
        is_right = _hasher.verify(password_hash or _NOBODY, _comparable(password))
    except (VerificationError, InvalidHashError):
        return False
    return is_right and password_hash is not None


def _comparable(password: str) -> bytes:
    """However a character was typed (NFKC, as NIST SP 800-63B has it), it is the same password."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _too_many() -> ServiceUnavailableError:
    return ServiceUnavailableError(Said("errors.code.too_many_sign_ins"), retry_after=2.0, code="too_many_sign_ins")
