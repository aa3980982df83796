"""The composition root: the only place that knows every class and how they hang together.

The key decision: everything is built from `Settings` and handed on through constructors; building opens nothing,
`start` and `close` do.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import redis
import structlog

from service import leg_services, metrics, metrics_platform
from service.account_limiter import AccountLimiter
from service.admin_services import AdminView, make_order_taker, make_pool_reporter
from service.audio_quality.inspector import AudioInspector
from service.audio_quality.tap import AnswerTap
from service.audio_quality.verdict_keeper import VerdictKeeper
from service.config import Settings
from service.conversation.admission import Admission
from service.conversation.draining import DrainTimes
from service.conversation.event_loop import Loop
from service.conversation.ledger import Ledger
from service.conversation.legs import LOCAL, Legs
from service.conversation.limits import Limits
from service.conversation.registry import ConversationRegistry
from service.conversation.resume_tokens import ResumeOffice
from service.conversation.resumption import Resumptions
from service.conversation.tickets import TicketOffice
from service.elevenlabs.account_slots import AccountSlots
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.pool_options import PoolOptions
from service.errors import ConfigurationError, SchemaError
from service.fallback.backup import Backup, make_backup
from service.fallback.backup_speech import BackupSpeech
from service.keeping.erasure import Erasure
from service.keeping.jobs import JobRunner
from service.keeping.keeping_jobs import make_job_runner
from service.key_limits import KeyLimits
from service.loop_watch import LoopWatch
from service.maintenance import MaintenanceWatch
from service.measured_redis import MeasuredRedis
from service.orders.taker import OrderTaker
from service.pool_reports import PoolReporter
from service.quick_redis import quick_redis
from service.readiness import Readiness, make_readiness
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from service.secret import Secret, SecretName
from service.secrets_manager import SecretsManager
from service.secrets_sources import make_source
from service.speech_socket.open_sockets import OpenSpeechSockets
from service.storage import ApiKeys, Capability, Conversations, Database, JudgedAnswers, check_schema, open_database
from service.storage.record_writer import RecordWriter
from service.traces import Traces

log = structlog.get_logger(__name__)

SECRETS_SECONDS = 5.0  # that a worker waits for its first secrets before it takes requests all the same
LOGIN_SPREAD_SECONDS, MOST_SPREAD_SECONDS = 0.2, 4.0  # for each worker, and for all
ADMITTED_SHARE = 0.8  # of a worker's connections: the rest is for pages, tickets and health


@dataclass(frozen=True)
class Services:
    """Everything that an endpoint may call."""

    settings: Settings
    redis: redis.Redis
    database: Database
    api_keys: ApiKeys
    key_limits: KeyLimits
    tickets: TicketOffice
    admission: Admission
    elevenlabs: ElevenLabsService
    speech_sockets: OpenSpeechSockets
    conversations: ConversationRegistry
    erasure: Erasure
    jobs: JobRunner
    limits: Limits
    loop: Loop
    maintenance: MaintenanceWatch
    pool_reporter: PoolReporter
    secrets: SecretsManager
    ledger: Ledger
    legs: Legs
    backup: Backup | None
    second_elevenlabs: ElevenLabsService | None
    resumptions: Resumptions
    readiness: Readiness
    traces: Traces
    audio_inspector: AudioInspector
    verdicts: VerdictKeeper
    loop_watch: LoopWatch
    order_taker: OrderTaker

    @property
    def backup_speech(self) -> BackupSpeech | None:
        """What answers speech requests that ElevenLabs does not; None: nothing does."""
        return None if self.backup is None else leg_services.make_backup_speech(self.legs.fallback, self.backup)

    def answer_tap(self) -> AnswerTap | None:
        """What takes a conversation's answers that are to be judged by their sound; None: none are."""
        share, inspector = self.settings.quality_sample_share, self.audio_inspector
        return AnswerTap(share, inspector.submit, capability=Capability.CONVERSATION) if inspector.is_on else None

    def start(self) -> None:
        """Open what is kept open.

        Raises:
            ConfigurationError: the database's schema is not one that this code knows, or its file cannot be opened.
        """
        metrics.hold_labels(strictly=self.settings.strict_labels)
        metrics_platform.worker_started(time.time())
        self.loop_watch.start()
        self.traces.start()
        self.audio_inspector.start()
        self.conversations.announce()
        self.secrets.start()
        # With Vault away the process is up all the same and says so (`/readyz`); it becomes ready by itself.
        if self.secrets.wait_until_read(SECRETS_SECONDS) or not _has_password_in_vault(self.settings):
            _check_schema_if_there(self.database)
        self.elevenlabs.start()
        if self.second_elevenlabs is not None:
            self.second_elevenlabs.start()
        if self.backup is not None:
            self.backup.start()
        self.legs.fallback.start()
        self.ledger.start()
        if self.audio_inspector.is_on:
            self.verdicts.start()
        self.resumptions.office.start()
        self.pool_reporter.start()
        if self.maintenance.current is None:  # which the reporter has just looked for
            self.erasure.learn(timedelta(days=self.settings.tombstone_days))
        self.jobs.start()
        self.readiness.start()
        self.key_limits.start()
        self.order_taker.start()

    def close(self) -> None:
        """Close it again."""
        self.order_taker.close()
        self.key_limits.close()
        self.readiness.close()
        self.loop_watch.close()
        self.jobs.close()
        self.resumptions.office.close()
        self.ledger.close()
        self.legs.fallback.close()
        self.pool_reporter.close()
        if self.backup is not None:
            self.backup.close()
        if self.second_elevenlabs is not None:
            self.second_elevenlabs.close()
        self.elevenlabs.close()
        self.traces.close()
        self.audio_inspector.close()
        self.verdicts.close()
        self.redis.close()
        self.database.close()
        self.secrets.close()


def build_services(settings: Settings, *, loop: Loop) -> Services:
    """Everything, put together for `settings`; conversations are carried by `loop`, the event loop of this process.

    Raises:
        ConfigurationError: no source of an ElevenLabs key, or secrets of Vault's that cannot be told apart.
    """
    secrets = _secrets_manager(settings)
    store = quick_redis(settings.redis_url, MeasuredRedis)
    database = open_database(
        settings.database_url.get_secret_value(),
        password=_getter(secrets, SecretName.DATABASE_PASSWORD) if _has_password_in_vault(settings) else None,
    )
    api_keys = ApiKeys(database)
    tickets = TicketOffice(
        store,
        tickets_per_minute=settings.tickets_per_minute,
        signing_keys=(lambda: secrets.usable(SecretName.TICKET_SIGNING_KEY)) if _signs(settings) else None,
    )
    elevenlabs = _elevenlabs_service(settings, secrets, store)

    def drain_if_the_key_has_changed(names: frozenset[SecretName]) -> None:
        if SecretName.ELEVENLABS_API_KEY in names:
            elevenlabs.drain_connections()

    secrets.on_rotation(drain_if_the_key_has_changed)
    conversations = ConversationRegistry(
        capacity=_places(settings),
        times=DrainTimes(turn_seconds=settings.drain_turn_seconds, spread_seconds=settings.reconnect_spread_seconds),
    )
    erasure = Erasure(database, store)
    kept = Conversations(database)
    backup = make_backup(settings) if LOCAL in settings.fallback_chain else None
    second = leg_services.make_second_elevenlabs(settings) if leg_services.SECOND in settings.fallback_chain else None
    legs = leg_services.make_legs(settings, elevenlabs, second, backup, store=store, database=database)
    maintenance = MaintenanceWatch(conversations, check_schema=lambda: _note_schema(database))
    ledger = Ledger(store, kept, RecordWriter(kept, on_refused=erasure.forget_late), is_shut=maintenance.is_on)
    verdicts = VerdictKeeper(JudgedAnswers(database), is_shut=maintenance.is_on)
    jobs = make_job_runner(settings, database, store, elevenlabs, is_shut=maintenance.is_on)
    readiness = make_readiness(
        store, database, secrets, conversations, maintenance=lambda: maintenance.current, capacity=_places(settings)
    )
    loop_watch = LoopWatch()
    view = AdminView(
        settings,
        store=store,
        elevenlabs=elevenlabs,
        second=second,
        backup=backup,
        fallback=legs.fallback,
        conversations=conversations,
        secrets=secrets,
    )
    return Services(
        settings=settings,
        secrets=secrets,
        ledger=ledger,
        legs=legs,
        audio_inspector=leg_services.make_audio_inspector(settings, legs.fallback, verdicts.keep),
        verdicts=verdicts,
        backup=backup,
        second_elevenlabs=second,
        resumptions=Resumptions(
            ResumeOffice(
                store,
                node=socket.gethostname(),
                worker=str(os.getpid()),
                resume_seconds=settings.resume_seconds,
            ),
            seconds=settings.resume_seconds,
        ),
        redis=store,
        database=database,
        api_keys=api_keys,
        key_limits=KeyLimits(store),
        tickets=tickets,
        admission=Admission(tickets, keys=api_keys, public_agents=settings.public_agents),
        elevenlabs=elevenlabs,
        speech_sockets=leg_services.make_speech_sockets(settings),
        conversations=conversations,
        readiness=readiness,
        erasure=erasure,
        jobs=jobs,
        maintenance=maintenance,
        loop=loop,
        traces=Traces(settings.traces_endpoint, instance=f"{socket.gethostname()}-{os.getpid()}"),
        limits=Limits(
            first_frame_seconds=settings.first_frame_seconds,
            idle_seconds=settings.idle_seconds,
            messages_per_second=settings.client_messages_per_second,
            leg_silence_seconds=settings.leg_silence_seconds,
            first_audio_seconds=settings.first_audio_seconds,
            drain_turn_seconds=settings.drain_turn_seconds,
        ),
        loop_watch=loop_watch,
        pool_reporter=make_pool_reporter(
            view,
            maintenance=maintenance,
            readiness=readiness,
            loop_watch=loop_watch,
            writes_pending=lambda: ledger.pending + jobs.under_way + verdicts.under_way,
        ),
        order_taker=make_order_taker(view, api_keys=api_keys),
    )


def _elevenlabs_service(settings: Settings, secrets: SecretsManager, store: redis.Redis) -> ElevenLabsService:
    return ElevenLabsService(
        settings.elevenlabs_base_url,
        keys=KeyChoice(lambda: secrets.usable(SecretName.ELEVENLABS_API_KEY), refresh=secrets.refresh),
        connect_seconds=settings.upstream_connect_seconds,
        read_seconds=settings.upstream_read_seconds,
        write_deadline_seconds=settings.write_deadline_seconds,
        ca_bundle=settings.upstream_ca_file,
        default_agent_id=settings.elevenlabs_agent_id,
        signed_url_max_age_seconds=settings.signed_url_max_age_seconds,
        agents_pool=_agents_pool(settings),
        speech_pool=_speech_pool(settings),
        retrier=_retrier(settings),
        hedge_after_seconds=settings.hedge_after_seconds,
        slots=AccountSlots(
            agents=_limiter(settings, store, "agents", settings.agents_concurrency),
            speech=_limiter(settings, store, "speech", settings.speech_concurrency),
            wait_seconds=settings.slot_wait_seconds,
        ),
    )


def _check_schema_if_there(database: Database) -> None:
    """Refuse a wrong schema, and a file that cannot be opened; a database server that is away may come back.

    `/readyz` says so until then. Nobody should have to start services in an order, or again after the database.
    """
    try:
        check_schema(database)
    except SchemaError:
        raise
    except ConfigurationError as exc:
        if database.engine.dialect.name == "sqlite":
            raise
        log.warning("started without the database, and not ready until it answers", reason=str(exc))


def _note_schema(database: Database) -> None:
    """Raises SchemaError if the database has a schema of no use to us; one that does not answer may have a good one."""
    try:
        check_schema(database)
    except SchemaError:
        raise
    except ConfigurationError:
        return


def _secrets_manager(settings: Settings) -> SecretsManager:
    several = settings.workers > 1
    return SecretsManager(
        make_source(settings),
        poll_seconds=settings.secrets_poll_seconds,
        grace_seconds=settings.secrets_grace_seconds,
        # A signed URL must not outlive the key that signed it.
        overlap_seconds=max(settings.secrets_overlap_seconds, settings.signed_url_seconds if _signs(settings) else 0),
        spread_seconds=min(MOST_SPREAD_SECONDS, settings.workers * LOGIN_SPREAD_SECONDS) if several else 0.0,
    )


def _getter(secrets: SecretsManager, name: SecretName) -> Callable[[], Secret]:
    return lambda: secrets.current(name)


def _signs(settings: Settings) -> bool:
    return settings.vault_addr is not None and settings.vault_ticket_signing_key_field is not None


def _has_password_in_vault(settings: Settings) -> bool:
    return settings.vault_addr is not None and settings.vault_database_password_field is not None


def _limiter(settings: Settings, store: redis.Redis, name: str, cap: int) -> AccountLimiter | None:
    if not cap:
        return None
    return AccountLimiter(
        store,
        name=name,
        cap=cap,
        ttl_seconds=settings.slot_lease_seconds,
        reserved_share=settings.slot_reserved_share,
        workers=settings.account_workers or settings.workers,
        max_waiting=settings.slot_max_waiting,
    )


def _places(settings: Settings) -> int:
    """How many conversations a worker takes."""
    return int(settings.worker_connections * ADMITTED_SHARE)


def _retrier(settings: Settings) -> Retrier:
    policy = RetryPolicy(
        attempts=settings.retry_attempts,
        total_seconds=settings.retry_total_seconds,
        base_seconds=settings.retry_base_seconds,
        max_delay_seconds=settings.retry_max_delay_seconds,
    )
    budget = RetryBudget(share=settings.retry_budget_share, minimum=settings.retry_budget_minimum)
    return Retrier(policy, budget=budget)


def _agents_pool(settings: Settings) -> PoolOptions:
    most = settings.pool_agents_max_size
    if most is None:
        most = _places(settings) + settings.pool_agents_min_idle
    return PoolOptions(
        min_idle=settings.pool_agents_min_idle,
        max_size=most,
        max_waiting=settings.pool_agents_max_waiting,
        timeout_seconds=settings.pool_agents_timeout_seconds,
        max_idle_seconds=settings.pool_agents_max_idle_seconds,
        max_lifetime_seconds=settings.pool_agents_max_lifetime_seconds,
    )


def _speech_pool(settings: Settings) -> PoolOptions:
    return PoolOptions(
        min_idle=settings.pool_speech_min_idle,
        max_size=settings.pool_speech_max_size,
        max_waiting=settings.pool_speech_max_waiting,
        timeout_seconds=settings.pool_speech_timeout_seconds,
        max_idle_seconds=settings.pool_speech_max_idle_seconds,
        max_lifetime_seconds=settings.pool_speech_max_lifetime_seconds,
    )
