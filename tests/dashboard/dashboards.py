"""A dashboard as a test meets it: the real application over a real Redis and a migrated SQLite, without a server."""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import redis
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from pydantic import SecretStr
from werkzeug.test import TestResponse

from dashboard.access.first_user import FIRST_USER
from dashboard.access.passwords import hash_now
from dashboard.app import create_app
from dashboard.parts import Parts, build_parts
from dashboard.settings import DashboardSettings, load_dashboard_settings
from service import redis_keys
from service.pool_reports import INDEX_KEY, WorkerReport
from service.storage import AdminRole, AdminUser

NOWHERE = "/nowhere/valkey.sock"
OWN_NAME = "http://localhost"
PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_now(PASSWORD)
REPORT_SECONDS = 1800.0  # longer than a worker's: no module of tests outlives what it was shown at its start


@dataclass
class Client:
    """A browser that is signed in as `user`; what it posts has the session's token."""

    flask: FlaskClient
    user: AdminUser
    session_id: str
    csrf_token: str
    base_url: str = OWN_NAME

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.flask.get(path, **{"base_url": self.base_url, **options})

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        headers = {"X-CSRF-Token": self.csrf_token, **options.pop("headers", {})}
        options = {"base_url": self.base_url, **options}
        return self.flask.post(path, json={} if json is None else json, headers=headers, **options)


@dataclass
class Dashboard:
    """The application and its parts; `store` is its Redis, which is empty at first."""

    parts: Parts
    app: Flask
    store: redis.Redis
    _users: dict[AdminRole, AdminUser] = field(default_factory=dict)

    def user(self, role: AdminRole = AdminRole.ADMIN) -> AdminUser:
        """The user of this role, whose password is `PASSWORD`; the admin's name is `admin`, and so on."""
        if role not in self._users:
            name = FIRST_USER if role is AdminRole.ADMIN else role.value
            self._users[role] = self.parts.users.create(name, role, password_hash=PASSWORD_HASH)
        return self._users[role]

    def client(self, role: AdminRole | None = AdminRole.ADMIN, *, confirmed: bool = True) -> Any:
        """A browser signed in as a user of this role (`Client`); None: Flask's own client, and nobody is signed in.

        `confirmed`: the password has just been shown, as after signing in.
        """
        flask = self.app.test_client()
        if role is None:
            return flask
        return self.sign_in(self.user(role), flask=flask, confirmed=confirmed)

    def sign_in(self, user: AdminUser, *, flask: FlaskClient | None = None, confirmed: bool = True) -> Client:
        """A session of `user`, without the way through the sign-in page."""
        flask = flask or self.app.test_client()
        cookie, session = self.parts.sessions.begin(user, address="127.0.0.1", agent="tests")
        if not confirmed:
            self.store.delete(f"{redis_keys.SESSION.prefix}confirmed:{session.id}")
        base_url = self.parts.settings.dashboard_url or OWN_NAME
        flask.set_cookie(self.parts.cookies.session_name, cookie, domain=urlsplit(base_url).hostname or "")
        return Client(flask, user, session.id, session.csrf_token, base_url)

    def report(self, **overrides: Any) -> WorkerReport:
        """Put a worker's report into Redis; `overrides` are fields of `WorkerReport`."""
        given = {"node": "node-1", "worker": "11", "reported_at": time.time(), "pools": (), "version": "0.1.0"}
        report = WorkerReport(**{**given, **overrides})
        member = f"{report.node}/{report.worker}".encode()
        key = redis_keys.POOL_REPORT.prefix.encode() + member
        self.store.set(key, orjson.dumps(dataclasses.asdict(report)), px=round(REPORT_SECONDS * 1000))
        self.store.zadd(INDEX_KEY, {member: report.reported_at})
        return report

    def lose_redis(self) -> None:
        """Let Redis be gone for the dashboard; `store` still reaches it."""
        pool = self.parts.redis.connection_pool
        pool.connection_kwargs["path"] = NOWHERE
        for connection in [*pool._available_connections, *pool._in_use_connections]:
            connection.path = NOWHERE
        pool.disconnect()

    def close(self) -> None:
        """Close everything that it has open."""
        self.parts.close()
        self.store.close()


def open_dashboard(migrated_database: Path, folder: Path, redis_url: str, **settings: Any) -> Dashboard:
    """A dashboard over a copy of that database; `settings` are fields of `DashboardSettings`."""
    database = folder / "dashboard.db"
    shutil.copyfile(migrated_database, database)
    store = redis.Redis.from_url(redis_url)
    store.flushdb()
    given = {"redis_url": redis_url, "database_url": SecretStr(f"sqlite:///{database}"), **settings}
    parts = build_parts(_standard_settings().model_copy(update=given))
    parts.start()
    app = create_app(parts)
    app.jinja_env.bytecode_cache = _COMPILED
    return Dashboard(parts=parts, app=app, store=store)


@cache
def _standard_settings() -> DashboardSettings:
    """Read once: reading all variables takes as long as many a test."""
    return load_dashboard_settings()


class _Compiled(BytecodeCache):
    """Templates are compiled once for all tests of a process, and not anew for each application."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()
