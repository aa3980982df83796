"""The composition root of the dashboard: everything that its pages may call, put together once.

The key decision: the same stores as the service has, and none of its connections to ElevenLabs; whatever needs one of
those is an order that a worker carries out. Building opens nothing, `start` and `close` do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import redis

from dashboard.access.cookies import Cookies
from dashboard.access.known_users import KnownUsers
from dashboard.access.oidc import OpenIdConnect, connect_to_provider
from dashboard.access.passwords import Passwords
from dashboard.access.sessions import Sessions
from dashboard.access.throttle import LoginThrottle
from dashboard.settings import DashboardSettings
from dashboard.sight.switches import Happenings
from dashboard.sight.watch import Watch
from dashboard.words.said import Said
from service.errors import SecretsSourceError, ServiceUnavailableError
from service.fallback.overrides import OverrideBoard
from service.keeping.erasure import Erasure
from service.orders import OrderDesk
from service.quick_redis import quick_redis
from service.secret import Secret, SecretName
from service.secrets_sources import make_source
from service.storage import AdminUsers, ApiKeys, AuditLog, Database, Overrides, check_schema, open_database

SQLITE_BUSY_SECONDS = 1.0  # nobody's voice waits here


@dataclass(frozen=True)
class Parts:
    """Everything that a page may call."""

    settings: DashboardSettings
    redis: redis.Redis
    database: Database
    users: AdminUsers
    known_users: KnownUsers
    api_keys: ApiKeys
    audit: AuditLog
    overrides: OverrideBoard
    sessions: Sessions
    cookies: Cookies
    passwords: Passwords
    throttle: LoginThrottle
    provider: OpenIdConnect | None
    orders: OrderDesk
    watch: Watch
    happenings: Happenings
    erasure: Erasure

    def start(self) -> None:
        """Open what is kept open.

        Raises:
            ConfigurationError: the database's schema is not one that this code knows, or it cannot be reached.
        """
        check_schema(self.database)
        self.watch.start()

    def close(self) -> None:
        """Close it again."""
        self.watch.close()
        self.passwords.close()
        self.redis.close()
        self.database.close()


def build_parts(settings: DashboardSettings, *, executor: Executor | None = None) -> Parts:
    """Everything, put together for `settings`. `executor` has the threads in which passwords are hashed.

    Raises:
        ConfigurationError: a setting is of no use.
    """
    store = quick_redis(settings.redis_url)
    database = open_database(
        settings.database_url.get_secret_value(),
        busy_seconds=SQLITE_BUSY_SECONDS,
        password=_password_from_vault(settings),
    )
    users = AdminUsers(database)
    threads = settings.dashboard_login_threads
    return Parts(
        settings=settings,
        redis=store,
        database=database,
        users=users,
        known_users=KnownUsers(users),
        api_keys=ApiKeys(database),
        audit=AuditLog(database),
        overrides=OverrideBoard(database, store),
        sessions=Sessions(
            store, idle_seconds=settings.dashboard_idle_seconds, whole_seconds=settings.dashboard_session_seconds
        ),
        cookies=Cookies(is_https=is_https(settings)),
        passwords=Passwords(executor or ThreadPoolExecutor(threads, thread_name_prefix="password"), threads=threads),
        throttle=LoginThrottle(store),
        provider=connect_to_provider(settings, store=store, database=database),
        orders=OrderDesk(store),
        watch=Watch(store, overrides=Overrides(database).list_all),
        happenings=Happenings(database),
        erasure=Erasure(database, store),
    )


def is_https(settings: DashboardSettings) -> bool:
    """Tell whether browsers reach the dashboard by https alone."""
    return settings.dashboard_url is not None and settings.dashboard_url.startswith("https://")


def _password_from_vault(settings: DashboardSettings) -> Callable[[], Secret] | None:
    """What reads PostgreSQL's password for each new connection, if it is in Vault: so it can change."""
    if settings.vault_addr is None or settings.vault_database_password_field is None:
        return None
    source = make_source(settings, wanted={SecretName.DATABASE_PASSWORD})
    one_at_a_time = threading.Lock()  # a source is used by one thread; it bounds how long it takes

    def read() -> Secret:
        try:
            with one_at_a_time:
                return source.read().values[SecretName.DATABASE_PASSWORD]
        except SecretsSourceError as exc:
            message = Said("errors.database.password")
            raise ServiceUnavailableError(message, retry_after=5.0) from exc

    return read
