"""Verdicts on their way to the database: what it cannot take yet waits, within bounds; what belongs to nobody goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from prometheus_client import REGISTRY

from service.audio_quality.verdict_keeper import UNKNOWN_SECONDS, VerdictKeeper
from service.errors import ServiceUnavailableError
from service.storage import JudgedAnswer

ANSWER = JudgedAnswer("c1", 1, 1, datetime(2026, 3, 1, 12, tzinfo=UTC), "elevenlabs", score=3.5)


@dataclass
class Desk:
    """A keeper, and the database that it has before it."""

    known: set[str] = field(default_factory=lambda: {"c1"})
    is_away: bool = False
    is_shut: bool = False
    now: float = 100.0
    written: list[JudgedAnswer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keeper = VerdictKeeper(self, is_shut=lambda: self.is_shut, most_waiting=3, clock=lambda: self.now)  # type: ignore[arg-type]

    def put(self, answer: JudgedAnswer) -> bool:
        assert self.keeper.under_way
        if self.is_away:
            raise ServiceUnavailableError("away", retry_after=1.0)
        if answer.conversation_id not in self.known:
            return False
        self.written.append(answer)
        return True


def lost(cause: str) -> float:
    return REGISTRY.get_sample_value("vocero_audio_verdicts_lost_total", {"cause": cause}) or 0.0


def test_what_the_database_cannot_take_now_waits_in_its_order_and_what_is_too_much_is_counted() -> None:
    desk, before = Desk(is_away=True), lost("no_memory")
    answers = [replace(ANSWER, turn=turn) for turn in range(4)]
    for answer in answers:
        desk.keeper.keep(answer)
    assert not desk.keeper.write_waiting()
    assert (desk.keeper.waiting, desk.keeper.under_way) == (3, 0)
    assert lost("no_memory") == before + 1
    desk.is_away, desk.is_shut = False, True
    assert not desk.keeper.write_waiting()
    assert desk.written == [], "in a maintenance nobody touches the database"
    desk.is_shut = False
    assert desk.keeper.write_waiting()
    assert desk.written == answers[:3]


def test_a_conversation_may_come_after_a_verdict_on_it_and_one_that_never_comes_is_nobodys() -> None:
    desk = Desk(known=set())
    desk.keeper.keep(ANSWER)
    desk.keeper.keep(replace(ANSWER, conversation_id="erased"))
    assert desk.keeper.write_waiting()
    desk.known.add("c1")
    desk.now += UNKNOWN_SECONDS - 1
    assert desk.keeper.write_waiting()
    assert (desk.written, desk.keeper.waiting) == ([ANSWER], 1)
    desk.now += 1
    assert desk.keeper.write_waiting()
    assert desk.keeper.waiting == 0


def test_what_waits_at_the_end_is_written_once_more_or_counted_as_lost() -> None:
    for is_away in (False, True):
        desk, before = Desk(is_away=is_away), lost("ended")
        desk.keeper.start()
        desk.keeper.keep(ANSWER)
        desk.keeper.close()
        assert desk.written == ([] if is_away else [ANSWER])
        assert lost("ended") == before + is_away
