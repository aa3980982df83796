"""Verdicts on answers: filled in from both sides, gone with their conversation, and nothing without their table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from migrations import runner
from service.storage import Conversations, Database, JudgedAnswer, JudgedAnswers

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWER = JudgedAnswer("c1", 1, 3, NOON, "elevenlabs")
HEARD = replace(ANSWER, defects=("clipped", "gaps"))
SCORED = replace(ANSWER, score=3.25, deviation=-0.5)


def held(database: Database, *names: str) -> JudgedAnswers:
    for name in names:
        Conversations(database).start(name, agent_id="a", started_at=NOON)
    return JudgedAnswers(database)


def test_defects_and_score_come_in_any_order_and_more_than_once(database: Database) -> None:
    answers = held(database, "c1")
    assert answers.of("c1") == ()
    others = [replace(ANSWER, leg=2, turn=1, defects=()), replace(ANSWER, turn=11, defects=None, score=1.0)]
    for each in (*others, HEARD, SCORED, HEARD, replace(SCORED, turn=4), replace(HEARD, turn=4), SCORED):
        assert answers.put(each)
    whole = replace(HEARD, score=3.25, deviation=-0.5)
    expected = (whole, replace(whole, turn=4), others[1], others[0])
    assert answers.of("c1") == expected
    record = Conversations(database).get("c1")
    assert record is not None
    assert record.judged_answers == expected


def test_a_verdict_goes_with_its_conversation_and_does_not_come_back(database: Database) -> None:
    answers = held(database, "c1", "c2")
    for name in ("c1", "c2"):
        for turn in range(450):
            answers.put(replace(SCORED, conversation_id=name, turn=turn))
    assert Conversations(database).erase("c1")
    assert not answers.put(HEARD)
    assert answers.of("c1") == ()
    pruned = []
    while any(found := Conversations(database).prune(datetime.now(UTC))):
        pruned.append(found)
    assert [sum(each) for each in pruned] == [200, 200, 50, 1]
    assert answers.of("c2") == ()


def test_without_the_table_nothing_is_kept_and_nothing_fails_and_an_upgrade_is_noticed(
    migrated_url: str, database: Database
) -> None:
    answers = held(database, "c1")
    answers.put(HEARD)
    database.close()
    runner.downgrade(migrated_url, "0007")
    for _ in range(2):  # as it finds out, and as it knows
        assert answers.put(HEARD)
        assert answers.of("c1") is None
    assert database.revision == "0007"
    record = Conversations(database).get("c1")
    assert record is not None
    assert record.judged_answers is None
    database.close()
    runner.upgrade(migrated_url)
    assert answers.put(HEARD)
    assert answers.of("c1") == (HEARD,)
    database.close()
    runner.downgrade(migrated_url, "0007")
    assert Conversations(database).erase("c1")
