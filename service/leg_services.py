"""The part of the composition root that concerns who speaks: the chain's providers, and what decides among them.

The key decision: a provider that is not in the chain is not even built. A second account of ElevenLabs' has a key, an
address and connections of its own, and shares nothing with the first, so that it fails alone.
"""

from __future__ import annotations

from secrets import token_hex

import redis

from service import metrics_files
from service.audio_quality.inspector import AudioInspector, OnJudged, breaker_teller
from service.config import Settings
from service.conversation.elevenlabs_legs import ElevenLabsLegs
from service.conversation.legs import LOCAL, Legs, LegSource, LocalSource
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.fault_actions import fault_of
from service.elevenlabs.keys import KeyChoice
from service.errors import SecretsSourceError, SettingsError
from service.fallback.backup import Backup
from service.fallback.backup_speech import BackupSpeech
from service.fallback.canaries import make_canary
from service.fallback.fallback_service import FallbackService, make_fallback_service, switched_off
from service.quality_process import socket_in
from service.secret import Secret
from service.speech_socket.open_sockets import OpenSpeechSockets
from service.storage import Capability, Database

PRIMARY, SECOND = "elevenlabs", "elevenlabs_2"
SPEECH_SOCKETS_SHARE = 0.1  # of a worker's connections


def make_second_elevenlabs(settings: Settings) -> ElevenLabsService:
    """ElevenLabs a second time.

    Raises:
        SettingsError: its key is not set, or cannot be one.
    """
    if settings.elevenlabs_2_api_key is None:
        raise SettingsError(f"{SECOND} is in VOCERO_FALLBACK_CHAIN, but VOCERO_ELEVENLABS_2_API_KEY is not set.")
    try:
        key = Secret.checked("VOCERO_ELEVENLABS_2_API_KEY", settings.elevenlabs_2_api_key.get_secret_value())
    except SecretsSourceError as exc:
        raise SettingsError(str(exc)) from None
    return ElevenLabsService(
        settings.elevenlabs_2_base_url or settings.elevenlabs_base_url,
        keys=KeyChoice(lambda: (key,)),
        connect_seconds=settings.upstream_connect_seconds,
        read_seconds=settings.upstream_read_seconds,
        write_deadline_seconds=settings.write_deadline_seconds,
        ca_bundle=settings.upstream_ca_file,
    )


def make_legs(
    settings: Settings,
    elevenlabs: ElevenLabsService,
    second: ElevenLabsService | None,
    backup: Backup | None,
    *,
    store: redis.Redis,
    database: Database,
) -> Legs:
    """The chain of conversations' legs, with its breakers and switches; it is started and closed by its owner."""
    accounts = {PRIMARY: elevenlabs} | ({} if second is None else {SECOND: second})
    sources: dict[str, LegSource] = {
        PRIMARY: ElevenLabsLegs(elevenlabs, provider=PRIMARY),
    }
    if second is not None:
        sources[SECOND] = ElevenLabsLegs(second, provider=SECOND, agent_ids=settings.elevenlabs_2_agents)
    if backup is not None:
        sources[LOCAL] = LocalSource(backup.legs)
    # A conversation that waits for a slot of the account is not one whose leg does not open.
    waits = settings.slot_wait_seconds if settings.agents_concurrency else 0.0
    return Legs(
        make_fallback_service(settings, database=database, store=store, canary=make_canary(settings, accounts)),
        [sources[name] for name in settings.fallback_chain],
        opening_seconds=settings.leg_opening_seconds + waits,
    )


def make_audio_inspector(settings: Settings, fallback: FallbackService, on_judged: OnJudged) -> AudioInspector:
    """What has answers judged by their sound, if gunicorn's master has started who does that."""
    address = socket_in(metrics_files.chosen_folder())
    is_there = metrics_files.place() is not None and settings.quality_sample_share > 0 and address.exists()
    return AudioInspector(
        str(address) if is_there else None,
        providers=settings.fallback_chain,
        on_broken=breaker_teller(fallback),
        on_judged=on_judged,
    )


def make_speech_sockets(settings: Settings) -> OpenSpeechSockets:
    """The places for speech sockets: half of the connections that conversations leave to everything else."""
    capacity = int(settings.worker_connections * SPEECH_SOCKETS_SHARE)
    return OpenSpeechSockets(capacity=max(1, capacity), drain_seconds=settings.drain_turn_seconds)


def make_backup_speech(fallback: FallbackService, backup: Backup) -> BackupSpeech:
    """Speech requests that the backup answers."""

    def goes_first(_voice_id: str) -> bool:
        # A key of its own for each request, so that a voice that is used alone gets its share of a ramp.
        plan = fallback.plan(Capability.SPEECH, key=token_hex(8))
        if plan.is_disabled:
            raise switched_off(Capability.SPEECH)
        return next((name for name in plan.providers if name in (PRIMARY, LOCAL)), LOCAL) == LOCAL

    def takes_over(error: Exception) -> bool:
        fault = fault_of(error)
        fallback.failed(PRIMARY, Capability.SPEECH, fault)
        if not fault.may_go_elsewhere or LOCAL not in fallback.plan(Capability.SPEECH, key="").providers:
            return False
        fallback.switched(Capability.SPEECH, PRIMARY, LOCAL, fault.cause)
        return True

    def primary_spoke(seconds: float) -> None:
        fallback.succeeded(PRIMARY, Capability.SPEECH, seconds=seconds)

    return BackupSpeech(speech=backup.speech, goes_first=goes_first, takes_over=takes_over, primary_spoke=primary_spoke)
