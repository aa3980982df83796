"""A database with something in every table, and a Redis with keys of ours and of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import redis

from migrations import runner
from service.storage import (
    AdminRole,
    AdminUsers,
    ApiKeyLimits,
    ApiKeys,
    AuditLog,
    Capability,
    ConversationCost,
    ConversationCosts,
    Conversations,
    Deployments,
    JudgedAnswer,
    JudgedAnswers,
    Leg,
    OverrideMode,
    Overrides,
    Speaker,
    SubjectKind,
    Tombstones,
    Utterance,
    open_database,
)

BEGAN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
CONVERSATIONS = 20
UTTERANCES = 5
LIMITED_KEYS = 10


def fill_database(url: str, *, conversations: int = CONVERSATIONS) -> None:
    """Bring the empty database at `url` to the newest schema and put something in every table."""
    runner.upgrade(url)
    database = open_database(url, busy_seconds=5.0)
    try:
        keys = ApiKeys(database)
        keys.create("shop")
        with database.writing() as session:
            for number in range(LIMITED_KEYS):
                keys.create(f"shop {number}", limits=ApiKeyLimits(max_concurrent=number + 1), within=session)
        AdminUsers(database).create("ana", AdminRole.ADMIN, password_hash="x")
        Deployments(database).record(release="1.4.0", revision="0007", node="node-1")
        Deployments(database).record(release="1.5.0", revision="0008", node="node-1")
        AuditLog(database).append(actor="ana", action="override.set", subject="speech", after={"mode": "disabled"})
        Overrides(database).set(
            Capability.SPEECH, OverrideMode.DISABLED, reason="tests", author="ana", expires_at=None, expected_version=0
        )
        orders = Tombstones(database)
        order = orders.add(SubjectKind.USER, "who left", requested_at=BEGAN - timedelta(days=1), requested_by="ana")
        orders.mark_applied(order, BEGAN)
        talks, costs, judged = Conversations(database), ConversationCosts(database), JudgedAnswers(database)
        for number in range(conversations):
            name = f"conv_{number:05}"
            began = BEGAN + timedelta(minutes=number)
            talks.start(name, agent_id="agent_demo", started_at=began, user_id=f"user_{number % 3}")
            talks.put_leg(Leg(name, 1, "elevenlabs", began, provider_conversation_id=f"theirs_{number}"))
            talks.append(
                Utterance(name, sequence, Speaker.USER, f"line {sequence} – ünïcode 🎧", began, "elevenlabs")
                for sequence in range(UTTERANCES)
            )
            if number % 2:
                judged.put(JudgedAnswer(name, 1, 1, began, "elevenlabs", defects=("gaps",), score=3.5))
                costs.put(ConversationCost(name, characters=number, credits=number, call_seconds=9, fetched_at=began))
    finally:
        database.close()


def fill_redis(store: redis.Redis, *, ours: int = 300, others: int = 100) -> None:
    """Keys in namespaces that stay, in the cache, and of somebody else."""
    with store.pipeline(transaction=False) as pipeline:
        for number in range(ours):
            pipeline.set(f"vocero:cache:{number}", "x" * 50)
        for number in range(others):
            pipeline.set(f"other:{number}", "theirs")
            pipeline.set(f"vocero:session:{number}", "theirs")
        pipeline.set("vocero:override:speech", "disabled")
        pipeline.set("vocero:ticket:abc", "{}", ex=3600)
        pipeline.xadd("vocero:conversation:conv_1", {"event": "x"}, id="1-1")
        pipeline.set("vocero:cached", "no namespace of ours")
        pipeline.execute()
