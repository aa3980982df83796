"""What one worker has heard of an agent's voice, another one knows."""

from __future__ import annotations

import pytest
import redis

from service.fallback.speaking_agents import KEY, REMEMBERED_AGENTS, SpeakingAgents
from tests.integration.fallback_decisions.conftest import OwnValkey


def test_a_worker_that_starts_knows_whom_the_others_have_heard(own_valkey: OwnValkey) -> None:
    first, second = SpeakingAgents(own_valkey.client()), SpeakingAgents(own_valkey.client())
    first.heard("agent_ä")
    assert "agent_ä" in first, "at once"
    first.exchange()
    assert "agent_ä" not in second
    second.exchange()
    assert "agent_ä" in second
    assert "agent_b" not in second


def test_while_redis_is_away_nothing_is_lost(own_valkey: OwnValkey) -> None:
    agents = SpeakingAgents(own_valkey.client())
    own_valkey.kill()
    agents.heard("agent_a")
    with pytest.raises(redis.RedisError):
        agents.exchange()
    assert "agent_a" in agents

    own_valkey.start()
    agents.exchange()
    with own_valkey.client() as store:
        assert store.zrange(KEY, 0, -1) == [b"agent_a"]
        assert store.ttl(KEY) > 0


def test_there_is_a_bound_to_what_is_remembered_here_and_there(own_valkey: OwnValkey) -> None:
    agents = SpeakingAgents(own_valkey.client())
    for number in range(REMEMBERED_AGENTS + 5):
        agents.heard(f"agent_{number}")
    agents.heard("x" * 300)
    agents.exchange()
    assert "agent_0" not in agents
    assert f"agent_{REMEMBERED_AGENTS + 4}" in agents
    with own_valkey.client() as store:
        assert store.zcard(KEY) <= REMEMBERED_AGENTS
        assert store.zscore(KEY, "x" * 300) is None
