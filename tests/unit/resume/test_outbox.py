"""What is kept for a client that may come back, and what it is given again."""

from __future__ import annotations

import random

from service.conversation.outbox import Outbox


def filled(count: int, **bounds: int) -> Outbox:
    outbox = Outbox(**bounds)
    for number in range(1, count + 1):
        outbox.sent(b"%d" % number)
    return outbox


def test_a_client_gets_what_it_lacks_in_order() -> None:
    outbox = filled(5)
    assert outbox.missed_after(2) == [b"3", b"4", b"5"]
    assert outbox.missed_after(5) == []
    assert outbox.missed_after(0) == [b"1", b"2", b"3", b"4", b"5"]


def test_asking_changes_nothing() -> None:
    outbox = filled(3)
    assert outbox.missed_after(3) == []
    assert outbox.missed_after(1) == [b"2", b"3"]


def test_a_number_that_was_never_sent_is_refused() -> None:
    outbox = filled(5)
    assert outbox.missed_after(6) is None
    assert outbox.missed_after(-1) is None
    assert outbox.missed_after(10**30) is None


def test_a_pong_tells_that_everything_before_its_ping_has_arrived() -> None:
    outbox = filled(3)
    outbox.ping_sent(7)
    outbox.sent(b"4")
    assert outbox.pong_received(7) == 3
    assert outbox.missed_after(2) is None
    assert outbox.missed_after(3) == [b"4"]
    assert outbox.kept_bytes == 1


def test_a_pong_that_nobody_asked_for_tells_nothing() -> None:
    outbox = filled(3)
    for strange in (7, None, "7", -1):
        assert outbox.pong_received(strange) == 0
    assert outbox.missed_after(0) == [b"1", b"2", b"3"]


def test_two_legs_may_give_their_pings_the_same_id() -> None:
    outbox = filled(1)
    outbox.ping_sent(1)
    outbox.sent(b"2")
    outbox.ping_sent(1)
    outbox.sent(b"3")
    assert outbox.pong_received(1) == 1
    assert outbox.pong_received(1) == 2
    assert outbox.pong_received(1) == 2
    assert outbox.missed_after(2) == [b"3"]


def test_what_is_too_much_goes_and_the_oldest_first() -> None:
    outbox = filled(10, most_messages=4)
    assert outbox.missed_after(5) is None
    assert outbox.missed_after(6) == [b"7", b"8", b"9", b"10"]
    outbox = Outbox(most_bytes=100)
    for _ in range(7):
        outbox.sent(bytes(30))
    assert outbox.kept_bytes == 90
    assert outbox.missed_after(4) == [bytes(30)] * 3
    assert outbox.missed_after(3) is None


def test_one_message_larger_than_everything_is_not_kept() -> None:
    outbox = Outbox(most_bytes=100)
    outbox.sent(bytes(50))
    outbox.sent(bytes(101))
    assert outbox.kept_bytes == 0
    assert outbox.missed_after(1) is None
    assert outbox.missed_after(2) == []


def test_pings_that_are_never_answered_do_not_pile_up() -> None:
    outbox = Outbox()
    for number in range(10_000):
        outbox.ping_sent(number)
    assert outbox.pong_received(0) == 0
    assert len(outbox._pings) <= 64


def test_counting_goes_on_where_another_worker_has_left_it() -> None:
    outbox = Outbox(begins_after=40)
    assert outbox.missed_after(40) == []
    assert outbox.missed_after(39) is None
    outbox.sent(b"41")
    assert outbox.sent_count == 41
    assert outbox.missed_after(40) == [b"41"]


def test_whatever_happens_a_client_gets_exactly_what_it_lacks_or_nothing() -> None:
    dice = random.Random(7)
    for _ in range(300):
        outbox, everything, received = Outbox(most_messages=20, most_bytes=400), [], 0
        for step in range(200):
            if dice.random() < 0.6:
                everything.append(b"%d" % step * dice.randint(1, 9))
                outbox.sent(everything[-1])
            elif dice.random() < 0.5:
                outbox.ping_sent(dice.randint(0, 3))
            elif dice.random() < 0.5:
                received = dice.randint(received, len(everything))
                missed = outbox.missed_after(received)
                assert missed is None or missed == everything[received:]
                received = len(everything)
            else:
                assert outbox.pong_received(dice.randint(0, 3)) <= len(everything)
            assert outbox.kept_bytes <= 400
