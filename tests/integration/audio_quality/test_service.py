"""Sampled answers of real conversations: judged beside the service, and told by its metrics."""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from websockets.sync.server import ServerConnection

from scripts.launcher.waiting import wait_until
from service.audio_quality.sample import Sound
from service.storage import ConversationFilter, Conversations, JudgedAnswer, open_database
from tests.conftest import NewRedis
from tests.integration.conversation.scripted_agent import LIMIT, ScriptedAgent, running_agent
from tests.integration.failover.conftest import PATIENT, Dial, Listener, dial  # noqa: F401 (fixture)
from tests.servers import RunningService, free_port, start_service
from tests.unit.audio_quality import damage
from tests.unit.audio_quality.damage import recording
from tests.unit.turns.talks import interruption, response

FRAME_SAMPLES = 4_000
TEXT = "Wait, stop. I have another question."


@pytest.fixture(scope="module")
def agent() -> Iterator[ScriptedAgent]:
    with running_agent() as running:
        yield running


@pytest.fixture(scope="module")
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
        "VOCERO_QUALITY_SAMPLE_SHARE": "1",
        **PATIENT,
    }
    running = start_service(tmp_path_factory.mktemp("judged"), api_key, settings)
    yield running
    running.discard()


def number(service: RunningService, name: str, **labels: str) -> float:
    """The sum of the metric's series that have these labels."""
    with urllib.request.urlopen(f"{service.ops_url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(rf"^{name}(?:\{{([^}}]*)\}})? (\S+)$", text, re.MULTILINE)
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    return sum(float(value) for said, value in found if wanted <= set(said.split(",")))


def samples(service: RunningService) -> float:
    return number(service, "vocero_audio_samples_total", provider="elevenlabs")


def verdicts(service: RunningService) -> tuple[JudgedAnswer, ...]:
    """What is kept of how answers sounded, of all conversations."""
    database = open_database(service.environment["VOCERO_DATABASE_URL"])
    try:
        conversations = Conversations(database)
        kept = [conversations.get(one.id) for one in conversations.search(ConversationFilter()).items]
        return tuple(one for record in kept if record is not None for one in record.judged_answers or ())
    finally:
        database.close()


class Talk:
    """A client, and the agent that it talks to."""

    def __init__(self, client: Listener, agent: ServerConnection) -> None:
        self.client = client
        self.agent = agent
        self._id = 0

    def answered(self, sound: Sound) -> None:
        """The user types something, and is answered by a text and this sound."""
        self._id += 1
        self.client.ask("Well?")
        while json.loads(self.agent.recv(LIMIT)).get("type") != "user_message":
            pass
        self.agent.send(json.dumps(response(self._id, TEXT)))
        frames = range(0, len(sound.samples), FRAME_SAMPLES)
        for begin in frames:
            pcm = damage.pcm_of(Sound(sound.samples[begin : begin + FRAME_SAMPLES], sound.rate))
            event = {"audio_base_64": base64.b64encode(pcm).decode(), "event_id": self._id}
            self.agent.send(json.dumps({"type": "audio", "audio_event": event}))
        for _ in frames:
            self.client.until("audio")

    def interrupt(self) -> None:
        self.agent.send(json.dumps(interruption(self._id)))
        self.client.until("interruption")


@pytest.fixture
def talk(dial: Dial, service: RunningService, agent: ScriptedAgent) -> Talk:  # noqa: F811 (the fixture)
    client = dial(service)
    talking = Talk(client, agent.next_conversation())
    client.until("conversation_initiation_metadata")
    return talking


def test_a_broken_answer_is_counted_and_scored(service: RunningService, talk: Talk) -> None:
    before = samples(service)
    talk.answered(damage.noise(recording("barge-in-en")))
    wait_until(lambda: samples(service) == before + 1)
    wait_until(lambda: verdicts(service))
    (found,) = verdicts(service)
    assert (found.leg, found.turn, found.provider, found.defects) == (1, 1, "elevenlabs", ("noise",))
    assert number(service, "vocero_audio_broken_total", provider="elevenlabs", defect="noise") == 1
    assert number(service, "vocero_audio_broken_total", provider="elevenlabs") == 1
    scored = number(service, "vocero_audio_quality_models")
    assert number(service, "elevenlabs_audio_quality_score_count", provider="elevenlabs") == scored
    if scored:
        wait_until(lambda: verdicts(service)[0].score == 1.0)


def test_an_interrupted_answer_is_not_judged(service: RunningService, talk: Talk) -> None:
    before = samples(service)
    talk.answered(damage.noise(recording("barge-in-en")))
    talk.interrupt()
    talk.answered(damage.noise(recording("barge-in-en")))
    wait_until(lambda: samples(service) >= before + 1)
    talk.client.socket.close()
    wait_until(lambda: number(service, "vocero_conversations_live") == 0)
    assert samples(service) == before + 1


def test_every_series_is_there_from_the_start(service: RunningService) -> None:
    with urllib.request.urlopen(f"{service.ops_url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for provider in ("elevenlabs", "local"):
        assert f'elevenlabs_audio_quality_score_count{{provider="{provider}"}}' in text
        assert f'vocero_audio_broken_total{{defect="truncated",provider="{provider}"}}' in text
