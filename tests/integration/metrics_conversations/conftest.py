"""A service with a backup in front of an agent whose every word a test decides, and what its metrics say."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.conftest import NewRedis
from tests.integration.conversation.scripted_agent import ScriptedAgent, running_agent
from tests.integration.failover.conftest import PATIENT, dial  # noqa: F401 (fixture)
from tests.servers import RunningService, free_port, start_service

Numbers = Callable[[], Mapping[str, float]]
_SAMPLE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)
_OURS = re.compile(
    r"vocero_(conversation|turn|first_audio|legs|spliced|discontinuit|audio_underruns|resumes)|elevenlabs_(errors|char)"
)


@pytest.fixture(scope="package")
def agent() -> Iterator[ScriptedAgent]:
    with running_agent() as running:
        yield running


@pytest.fixture(scope="package")
def service(
    tmp_path_factory: pytest.TempPathFactory, agent: ScriptedAgent, new_redis: NewRedis, database_url: str, api_key: str
) -> Iterator[RunningService]:
    settings = {
        "ELEVENLABS_BASE_URL": agent.url,
        "ELEVENLABS_API_KEY": "scripted-key",
        "ELEVENLABS_AGENT_ID": "agent_demo",
        "VOCERO_REDIS_URL": new_redis(),
        "VOCERO_DATABASE_URL": database_url,
        "VOCERO_OPS_PORT": str(free_port()),
        "VOCERO_BREAKER_ENABLED": "false",  # each conversation begins at the agent
        "VOCERO_FALLBACK_RETURN": "stick",
        **PATIENT,
    }
    running = start_service(tmp_path_factory.mktemp("measured"), api_key, settings)
    yield running
    running.discard()


@pytest.fixture
def numbers(service: RunningService) -> Numbers:
    """What the conversations' metrics say now, less what they said when the test began; what is 0 is left out."""

    def read() -> dict[str, float]:
        with urllib.request.urlopen(f"{service.ops_url}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in _SAMPLE.findall(text) if _OURS.match(name)}

    before = read()

    def since() -> dict[str, float]:
        changes = {name: value - before.get(name, 0.0) for name, value in read().items()}
        return {
            name: change
            for name, change in changes.items()
            if change and "_bucket{" not in name and not name.partition("{")[0].endswith(("_sum", "_created"))
        }

    return since
