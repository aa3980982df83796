"""Ask a second time when the first answer is late, take whichever comes first, and cut the other off.

The key decision: both run in threads of their own (greenlets in a server process) and are cut off by shutting down the
socket that they wait on, which wakes a reader at once wherever it is; a socket is only ever closed by who uses it.
Hedging pays where the slowest few calls are slow by chance and not by load (J. Dean and L. A. Barroso, "The Tail at
Scale", 2013), and it is paid for twice: so it is off unless the operator sets a time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Generic, TypeVar

R = TypeVar("R")


def first_of_two(
    call: Callable[[], R],
    *,
    after_seconds: float,
    timeout: float,
    may_ask_again: Callable[[], bool],
    discard: Callable[[R], None],
) -> R:
    """The result of `call`, or of a second one that is begun if the first takes longer than `after_seconds`.

    The second is only begun if the first waits on a socket by then, and not still in a queue of ours (for a slot, for a
    connection) where a second would only wait behind it, and if `may_ask_again` says so. A result that comes too late
    is given to `discard`, by the thread that it came in.

    Raises:
        TimeoutError: there was no result within `timeout` seconds.
        BaseException: what the first raised before a second was begun, else what the last of them raised.
    """
    race = _Race(call, discard)
    try:
        first = race.start_one()
        if not race.wait(after_seconds) and first.is_at_a_socket() and may_ask_again():
            race.start_one()
        if not race.wait(timeout):
            raise TimeoutError(f"no answer within {timeout:.3f} s")
        return race.result()
    finally:
        race.end()


def watch(sock: socket.socket) -> None:
    """Say that the contestant that this runs in, if it runs in one, is about to wait on the connected `sock`."""
    contestant = _contestant.get()
    if contestant is not None:
        contestant.watch(sock)


class _Contestant:
    """What one of the two waits on. Its sockets are doubles: the number of a closed one may be another's by now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    def watch(self, sock: socket.socket) -> None:
        double = socket.socket(fileno=os.dup(sock.fileno()))
        with self._lock:
            self._sockets.append(double)
            if self._is_cut:
                self._shut_down()

    def is_at_a_socket(self) -> bool:
        with self._lock:
            return bool(self._sockets)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            self._shut_down()

    def let_go(self) -> None:
        with self._lock:
            for double in self._sockets:
                double.close()
            self._sockets.clear()

    def _shut_down(self) -> None:
        for double in self._sockets:
            with contextlib.suppress(OSError):  # the other end may be gone already
                double.shutdown(socket.SHUT_RDWR)


_contestant: ContextVar[_Contestant | None] = ContextVar("contestant", default=None)


class _Race(Generic[R]):
    def __init__(self, call: Callable[[], R], discard: Callable[[R], None]) -> None:
        self._call = call
        self._discard = discard
        self._changed = threading.Condition()
        self._running: list[_Contestant] = []
        self._results: list[R] = []
        self._errors: list[BaseException] = []
        self._is_over = False

    def start_one(self) -> _Contestant:
        contestant = _Contestant()
        with self._changed:
            self._running.append(contestant)
        context = copy_context()
        context.run(_contestant.set, contestant)
        threading.Thread(target=context.run, args=(self._compete, contestant), daemon=True, name="hedge").start()
        return contestant

    def _compete(self, contestant: _Contestant) -> None:
        results: list[R] = []
        errors: list[BaseException] = []
        try:
            results.append(self._call())
        except BaseException as exc:  # noqa: BLE001 (whatever it is, who waits is told)
            errors.append(exc)
        contestant.let_go()
        with self._changed:
            self._running.remove(contestant)
            self._errors += errors
            if not self._is_over and not self._results:
                self._results += results
                results.clear()
            self._changed.notify_all()
        for late in results:
            self._discard(late)

    def wait(self, timeout: float) -> bool:
        """Whether there is a result, or nobody left to bring one."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._results) or not self._running, timeout)

    def result(self) -> R:
        with self._changed:
            if not self._results:
                raise self._errors[-1]
            return self._results.pop()

    def end(self) -> None:
        """Cut off who still runs; a result that nobody took is discarded."""
        with self._changed:
            self._is_over = True
            running = list(self._running)
            untaken, self._results = self._results, []
        for contestant in running:
            contestant.cut()
        for late in untaken:
            self._discard(late)
