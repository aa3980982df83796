"""The composition root: the only place that knows every class and how they hang together.

The key decision: everything is built from `Settings` and handed on through constructors; building opens nothing,
`start` and `close` do.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.config import Settings
from service.conversation.admission import Admission
from service.conversation.conversation import Limits
from service.conversation.event_loop import Loop
from service.conversation.registry import ConversationRegistry
from service.conversation.tickets import TicketOffice
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import ConfigurationError
from service.storage import ApiKeys, Database, check_schema, open_database

REDIS_SECONDS = 0.25  # with one retry a stuck server costs 0.5 s; the library's defaults hang for 59 (traps)
ADMITTED_SHARE = 0.8  # of a worker's connections: the rest is for pages, tickets and health


@dataclass(frozen=True)
class Services:
    """Everything that an endpoint may call."""

    settings: Settings
    redis: redis.Redis
    database: Database
    api_keys: ApiKeys
    tickets: TicketOffice
    admission: Admission
    elevenlabs: ElevenLabsService
    conversations: ConversationRegistry
    limits: Limits
    loop: Loop

    def start(self) -> None:
        """Open what is kept open.

        Raises:
            ConfigurationError: the database's schema is not the one that this code knows.
        """
        check_schema(self.database)
        self.elevenlabs.start()

    def close(self) -> None:
        """Close it again."""
        self.elevenlabs.close()
        self.redis.close()
        self.database.close()


def build_services(settings: Settings, *, loop: Loop) -> Services:
    """Everything, put together for `settings`; conversations are carried by `loop`, the event loop of this process.

    Raises:
        ConfigurationError: no ElevenLabs key.
    """
    key = settings.elevenlabs_api_key
    if key is None:
        raise ConfigurationError(
            "ELEVENLABS_API_KEY is not set: give the key of your ElevenLabs account, or use `make run`, "
            "which starts a sandbox when there is none."
        )
    store = redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    database = open_database(settings.database_url.get_secret_value())
    api_keys = ApiKeys(database)
    tickets = TicketOffice(store, tickets_per_minute=settings.tickets_per_minute)
    return Services(
        settings=settings,
        redis=store,
        database=database,
        api_keys=api_keys,
        tickets=tickets,
        admission=Admission(
            tickets,
            is_api_key=lambda shown: api_keys.verify(shown) is not None,
            public_agents=settings.public_agents,
        ),
        elevenlabs=ElevenLabsService(
            settings.elevenlabs_base_url,
            api_key=key.get_secret_value,
            connect_seconds=settings.upstream_connect_seconds,
            read_seconds=settings.upstream_read_seconds,
            write_deadline_seconds=settings.write_deadline_seconds,
            ca_bundle=settings.upstream_ca_file,
        ),
        conversations=ConversationRegistry(capacity=int(settings.worker_connections * ADMITTED_SHARE)),
        loop=loop,
        limits=Limits(
            first_frame_seconds=settings.first_frame_seconds,
            idle_seconds=settings.idle_seconds,
            messages_per_second=settings.client_messages_per_second,
        ),
    )
