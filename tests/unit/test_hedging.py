"""The race of two: when there is a second, who wins, and what becomes of the other one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from service.deadline import deadline, remaining_seconds
from service.hedging import first_of_two, watch

WAIT_SECONDS = 10.0


def always() -> bool:
    return True


def race(
    call: Callable[[], str],
    *,
    after: float = 0.02,
    timeout: float = WAIT_SECONDS,
    may: Callable[[], bool] = always,
    discard: Callable[[str], None] | None = None,
) -> str:
    def refuse(late: str) -> None:
        raise AssertionError(f"{late} was discarded")

    with connected() as (ours, _):

        def at_a_socket() -> str:
            watch(ours)
            return call()

        return first_of_two(
            at_a_socket,
            after_seconds=after,
            timeout=timeout,
            may_ask_again=may,
            discard=refuse if discard is None else discard,
        )


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(WAIT_SECONDS)
        yield ours, theirs


def test_a_first_that_is_in_time_has_no_second() -> None:
    calls = []

    def answer() -> str:
        calls.append(1)
        return "first"

    def never() -> bool:
        raise AssertionError("asked for a second")

    assert race(answer, after=WAIT_SECONDS, may=never) == "first"
    assert calls == [1]


def test_a_first_that_fails_in_time_has_no_second_and_its_error_is_the_same_object() -> None:
    error = ValueError("no")

    def fail() -> str:
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        race(fail, after=WAIT_SECONDS)
    assert caught.value is error


class Scripted:
    """Each call does the next thing of `script`."""

    def __init__(self, *script: Callable[[], str]) -> None:
        self._script = list(script)
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            step = self._script.pop(0)
        return step()


def test_the_second_wins_and_the_first_is_woken_from_its_socket_at_once() -> None:
    woken = threading.Event()
    with connected() as (ours, _):

        def hang() -> str:
            watch(ours)
            ours.recv(1)
            woken.set()
            raise ConnectionError("cut off")

        assert race(Scripted(hang, lambda: "second")) == "second"
        assert woken.wait(WAIT_SECONDS)


def test_who_begins_to_wait_after_the_race_is_over_is_cut_off_too() -> None:
    over, woken = threading.Event(), threading.Event()
    with connected() as (ours, _):

        def late() -> str:
            assert over.wait(WAIT_SECONDS)
            watch(ours)
            ours.recv(1)
            woken.set()
            raise ConnectionError("cut off")

        assert race(Scripted(late, lambda: "second")) == "second"
        over.set()
        assert woken.wait(WAIT_SECONDS)


def test_the_first_may_still_win_and_what_the_second_brings_is_discarded_where_it_came() -> None:
    second_asked, first_won = threading.Event(), threading.Event()
    discarded: list[tuple[str, str]] = []
    is_discarded = threading.Event()
    thread_of_second = []

    def first() -> str:
        assert second_asked.wait(WAIT_SECONDS)
        return "first"

    def second() -> str:
        thread_of_second.append(threading.current_thread().ident)
        second_asked.set()
        assert first_won.wait(WAIT_SECONDS)
        return "second"

    def discard(late: str) -> None:
        discarded.append((late, str(threading.current_thread().ident)))
        is_discarded.set()

    assert race(Scripted(first, second), discard=discard) == "first"
    first_won.set()
    assert is_discarded.wait(WAIT_SECONDS)
    assert discarded == [("second", str(thread_of_second[0]))]


def test_a_second_that_fails_leaves_the_first_its_chance_and_the_other_way_round() -> None:
    def fail() -> str:
        raise ValueError("no")

    failed = threading.Event()

    def fail_late() -> str:
        failed.set()
        raise ValueError("no")

    def wait_for_failure() -> str:
        assert failed.wait(WAIT_SECONDS)
        return "other"

    assert race(Scripted(wait_for_failure, fail_late)) == "other"
    failed.clear()
    second_asked = threading.Event()

    def fail_when_second_runs() -> str:
        assert second_asked.wait(WAIT_SECONDS)
        fail_late()
        return ""

    def second() -> str:
        second_asked.set()
        return wait_for_failure()

    assert race(Scripted(fail_when_second_runs, second)) == "other"


def test_if_both_fail_the_last_error_is_raised() -> None:
    second_asked = threading.Event()
    first_error, second_error = ValueError("first"), ValueError("second")

    def first() -> str:
        assert second_asked.wait(WAIT_SECONDS)
        raise first_error

    def second() -> str:
        second_asked.set()
        raise second_error

    with pytest.raises(ValueError, match=r"first|second") as caught:
        race(Scripted(first, second))
    assert caught.value in (first_error, second_error)


def test_a_first_that_still_waits_in_a_queue_of_ours_has_no_second() -> None:
    """It would only wait behind it."""
    is_late = threading.Event()

    def wait_in_a_queue() -> str:
        assert not is_late.wait(0.1)  # five times what makes it late
        return "first"

    def never() -> bool:
        is_late.set()
        return True

    found = first_of_two(
        Scripted(wait_in_a_queue), after_seconds=0.02, timeout=WAIT_SECONDS, may_ask_again=never, discard=print
    )
    assert found == "first"


def test_without_leave_there_is_no_second() -> None:
    asked = threading.Event()

    def refuse() -> bool:
        asked.set()
        return False

    def slow() -> str:
        assert asked.wait(WAIT_SECONDS)
        return "first"

    assert race(Scripted(slow), may=refuse) == "first"


def test_when_neither_answers_in_time_both_are_cut_off() -> None:
    woken = threading.Semaphore(0)
    with connected() as (one, _), connected() as (other, _):

        def hang_on(sock: socket.socket) -> Callable[[], str]:
            def hang() -> str:
                watch(sock)
                sock.recv(1)
                woken.release()
                raise ConnectionError("cut off")

            return hang

        with pytest.raises(TimeoutError):
            race(Scripted(hang_on(one), hang_on(other)), timeout=0.05)
        assert woken.acquire(timeout=WAIT_SECONDS)
        assert woken.acquire(timeout=WAIT_SECONDS)


def test_a_socket_that_a_contestant_has_left_is_not_touched_any_more() -> None:
    """By then it may serve another request."""
    answered = threading.Event()
    with connected() as (ours, theirs), connected() as (hanging, _):

        def first() -> str:
            watch(ours)
            answered.set()
            raise ValueError("failed, but its connection is good")

        def hold_on() -> str:
            watch(hanging)
            return "second"

        def begin() -> str:
            assert started.wait(WAIT_SECONDS)
            return first()

        started = threading.Event()

        def second() -> str:
            started.set()
            assert answered.wait(WAIT_SECONDS)
            return hold_on()

        assert race(Scripted(begin, second)) == "second"
        theirs.sendall(b"still here")
        assert ours.recv(100) == b"still here"
        ours.sendall(b"and so are we")
        assert theirs.recv(100) == b"and so are we"


def test_both_run_under_the_deadline_of_who_asked() -> None:
    seen: list[float | None] = []

    def look() -> str:
        seen.append(remaining_seconds())
        return "first"

    with deadline(1_000.0):
        race(look, after=WAIT_SECONDS)
    assert seen[0] is not None
    assert 990.0 < seen[0] <= 1_000.0


def test_outside_of_a_race_nothing_is_watched() -> None:
    with connected() as (ours, theirs):
        watch(ours)
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
