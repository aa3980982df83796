"""What orders do beside what a whole worker shows: secrets that change or fail, and the backup's voice."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from service.config import Settings
from service.conversation.registry import ConversationRegistry
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import RequestError
from service.fallback.audible_canaries import AudibleCanaries
from service.fallback.backup import Backup, make_backup
from service.fallback.backup_parts import BackupParts, PartsOptions
from service.fallback.tone_voice import ToneVoice
from service.fallback.voice_choice import VoiceMap
from service.metrics_platform import OrderKind
from service.order_deeds import make_deeds
from service.orders import Order
from service.orders.taker import Done
from service.storage import ApiKeys
from tests.keys import one_key
from tests.parts import require_module
from tests.servers import free_port
from tests.unit.secrets.scripted_source import AWAY, Managed, reading

CarryOut = Callable[..., Done | None]


@pytest.fixture
def secrets() -> Iterator[Managed]:
    managed = Managed()
    managed.start()
    yield managed
    managed.close()


@pytest.fixture
def nobody() -> Iterator[ElevenLabsService]:
    """An ElevenLabs that cannot be reached."""
    with ElevenLabsService(f"http://127.0.0.1:{free_port()}", keys=one_key("sk")) as service:
        yield service


@pytest.fixture
def backup() -> Iterator[Backup]:
    require_module("espeakng_loader", "local")
    made = make_backup(Settings(VOCERO_FALLBACK_EARS="false"))  # type: ignore[call-arg]
    made.start()
    yield made
    made.close()


def carried_out(elevenlabs: ElevenLabsService, secrets: Managed | None, backup: Backup | None) -> CarryOut:
    deeds = make_deeds(
        elevenlabs=elevenlabs,
        conversations=ConversationRegistry(capacity=1),
        secrets=cast("Any", None if secrets is None else secrets.manager),
        api_keys=cast("ApiKeys", None),
        canaries=AudibleCanaries({"elevenlabs": elevenlabs}, backup=backup, voice_id="v", agent_id=None),
    )

    def carry_out(kind: OrderKind, target: str = "n/1", **arguments: Any) -> Done | None:
        return deeds[kind].carry_out(Order("0" * 16, kind, target, arguments, "ada", 0.0, 1.0))

    return carry_out


def test_refreshing_says_whether_the_secrets_have_changed_or_why_they_were_not_read(
    nobody: ElevenLabsService, secrets: Managed
) -> None:
    carry_out = carried_out(nobody, secrets, None)
    secrets.source.answer = reading("k2", version=2)
    secrets.time.now += 60
    secrets.wall.now += 60
    done = carry_out(OrderKind.SECRETS_REFRESH)
    assert done == Done(
        "They were read: version 2, other values than before.",
        details={"version": 2, "state": "fresh", "changed": True},
        said="secrets_changed",
    )
    secrets.source.answer = AWAY
    secrets.time.now += 60
    secrets.wall.now += 60
    done = carry_out(OrderKind.SECRETS_REFRESH)
    assert done is not None
    assert (done.is_done, done.text, done.said) == (False, "They could not be read: unreachable.", "secrets_failed")


def test_the_backup_can_be_heard_and_lets_a_conversation_begin(nobody: ElevenLabsService, backup: Backup) -> None:
    carry_out = carried_out(nobody, None, backup)
    done = carry_out(OrderKind.CANARY, provider="local", capability="speech")
    assert done is not None
    assert done.is_done, done.text
    with wave.open(io.BytesIO(done.sound or b"")) as sound:
        assert sound.getframerate() == 16_000
        assert sound.getnframes() > 8_000
    talk = carry_out(OrderKind.CANARY, provider="local", capability="conversation")
    assert talk is not None
    assert (talk.is_done, talk.sound) == (True, None)


def test_a_backup_without_a_voice_says_so(nobody: ElevenLabsService) -> None:
    parts = BackupParts(PartsOptions(), open_local_voice=ToneVoice)
    mute = Backup(parts, voices=VoiceMap({}, has_remote=False), any_language=False)
    mute.start()
    try:
        done = carried_out(nobody, None, mute)(OrderKind.CANARY, provider="local", capability="speech")
    finally:
        mute.close()
    assert done is not None
    assert (done.is_done, done.text) == (False, "local does not: The backup has no voice.")


def test_a_provider_that_fails_is_told_with_its_fault(nobody: ElevenLabsService) -> None:
    done = carried_out(nobody, None, None)(OrderKind.CANARY, provider="elevenlabs", capability="speech")
    assert done is not None
    assert not done.is_done
    assert "unreachable" in done.text
    assert done.details["domain"] == "network"


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("*", {"provider": "elevenlabs", "capability": "speech"}),
        ("n/1", {"provider": "local", "capability": "speech"}),  # there is no backup
        ("n/1", {"provider": "elevenlabs", "capability": "conversation"}),  # there is no agent
        ("n/1", {"provider": 7, "capability": "speech"}),
        ("n/1", {"provider": "elevenlabs"}),
    ],
)
def test_a_canary_that_cannot_be_is_refused(
    nobody: ElevenLabsService, target: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(RequestError):
        carried_out(nobody, None, None)(OrderKind.CANARY, target=target, **arguments)
