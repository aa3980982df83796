"""A bit of everything that the service does with its database, to see that it works with a role or on a schema."""

from __future__ import annotations

from datetime import UTC, datetime

from service.storage import (
    AdminRole,
    AdminUsers,
    ApiKeyLimits,
    ApiKeys,
    AuditLog,
    Capability,
    ConversationCost,
    ConversationCosts,
    ConversationFilter,
    Conversations,
    Database,
    Deployments,
    EndedBy,
    JobRuns,
    JudgedAnswer,
    JudgedAnswers,
    Leg,
    OverrideMode,
    Overrides,
    ProviderDeletions,
    Speaker,
    SubjectKind,
    Tombstones,
    Utterance,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def do_everything(
    database: Database, *, keeps_costs: bool = True, keeps_limits: bool = True, keeps_judged: bool = True
) -> None:
    """Call every repository; nothing fails."""
    limits = ApiKeyLimits(max_concurrent=2) if keeps_limits else ApiKeyLimits()
    made, key = ApiKeys(database).create("shop", limits=limits)
    assert ApiKeys(database).verify(key) == made
    if keeps_limits:
        for changed in (ApiKeyLimits(max_concurrent=3), ApiKeyLimits(), limits):
            assert ApiKeys(database).change_limits(made.id, changed) is not None
    conversations = Conversations(database)
    assert conversations.start("c1", agent_id="a", user_id="u", started_at=NOON)
    leg = Leg("c1", 1, "elevenlabs", NOON, provider_conversation_id="conv_1")
    assert conversations.put_leg(leg)
    utterance = Utterance("c1", 1, Speaker.USER, "Hello", NOON, "elevenlabs")
    assert conversations.append([utterance, utterance]) == 2
    assert conversations.end("c1", ended_at=NOON, ended_by=EndedBy.CLIENT, code=1000, reason=None)
    assert ConversationCosts(database).put(ConversationCost("c1", NOON, credits=1)) == keeps_costs
    judged = JudgedAnswer("c1", 1, 1, NOON, "elevenlabs", defects=("gaps",), score=3.5)
    assert JudgedAnswers(database).put(judged)
    record = conversations.get("c1")
    assert record is not None
    assert record.judged_answers == ((judged,) if keeps_judged else None)
    assert (record.cost is not None) == keeps_costs
    assert len(conversations.search(ConversationFilter(text="hello")).items) == 1
    order = Tombstones(database).add(SubjectKind.USER, "u", requested_at=NOON, requested_by="ana")
    assert ProviderDeletions(database).add(order, [leg], next_attempt_at=NOON) == 1
    assert conversations.prune_utterances(NOON) == 0
    assert not any(conversations.prune(NOON))
    assert conversations.erase("c1")
    Overrides(database).set(
        Capability.SPEECH, OverrideMode.AUTO, reason="", author="ana", expires_at=None, expected_version=0
    )
    user = AdminUsers(database).create("ana", AdminRole.ADMIN)
    assert AdminUsers(database).disable(user.id)
    assert JobRuns(database).take("retention", "node", lease_seconds=60)
    assert JobRuns(database).finish("retention", "node", {})
    assert Deployments(database).revision_of("1.0.0") is None
    AuditLog(database).append(actor="ana", action="a", subject="s")
    assert AuditLog(database).verify_chain().is_whole
