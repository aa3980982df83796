"""The mailbox, the workers and the timers that a local agent is made of."""

from __future__ import annotations

import threading
import time

import pytest

from service.fallback.local_agent_threads import Mailbox, Timers, Worker

LIMIT = 10.0


def test_a_mailbox_keeps_the_order_and_refuses_more_than_it_holds() -> None:
    mailbox = Mailbox(2)
    taken: list[int] = []
    for number in (1, 2):
        assert mailbox.put(lambda number=number: taken.append(number), timeout=0.0)
    with pytest.raises(TimeoutError):
        mailbox.put(lambda: None, timeout=0.01)
    for _ in range(2):
        action = mailbox.take(None)
        assert action is not None
        action()

    assert taken == [1, 2]


def test_a_mailbox_wakes_its_taker_at_the_deadline() -> None:
    assert Mailbox(1).take(time.monotonic() + 0.01) is None


def test_closing_a_mailbox_frees_both_sides() -> None:
    full, empty = Mailbox(1), Mailbox(1)
    full.put(lambda: None, timeout=0.0)
    results: list[object] = []
    waiting = [
        threading.Thread(target=lambda: results.append(full.put(lambda: None, timeout=LIMIT))),
        threading.Thread(target=lambda: results.append(empty.take(None))),
    ]
    for thread in waiting:
        thread.start()
    full.close()
    empty.close()
    for thread in waiting:
        thread.join(LIMIT)

    assert sorted(results, key=str) == [False, None]
    assert full.take(None) is None


def test_a_worker_survives_a_job_that_fails() -> None:
    worker = Worker("test-worker", capacity=4)
    done = threading.Event()
    worker.submit(lambda: 1 / 0)
    worker.submit(done.set)

    assert done.wait(LIMIT)
    worker.close()
    worker.join(LIMIT)


def test_a_worker_that_is_full_drops_the_oldest_job() -> None:
    worker = Worker("test-worker", capacity=1)
    begun, gate, done = threading.Event(), threading.Event(), threading.Event()
    ran: list[str] = []
    worker.submit(lambda: (begun.set(), gate.wait(LIMIT)))
    assert begun.wait(LIMIT)
    worker.submit(lambda: ran.append("old"))
    assert worker.is_full
    worker.submit(lambda: (ran.append("new"), done.set()))
    gate.set()

    assert done.wait(LIMIT)
    assert ran == ["new"]
    worker.close()
    worker.submit(lambda: ran.append("late"))
    worker.join(LIMIT)
    assert ran == ["new"]


def test_timers_are_due_in_order_once_and_can_be_moved() -> None:
    timers = Timers()
    timers.set("b", 2.0)
    timers.set("a", 1.0)
    timers.set("c", 3.0)
    timers.set("c", 9.0)
    timers.clear("x")

    assert timers.next_at == 1.0
    assert timers.take_due(5.0) == ["a", "b"]
    assert timers.take_due(5.0) == []
    timers.clear("c")
    assert timers.next_at is None
