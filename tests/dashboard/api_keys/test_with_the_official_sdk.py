"""The story of a key: made in the dashboard, used with the official SDK, revoked, and refused by the worker at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest
import redis
from elevenlabs import ElevenLabs
from elevenlabs.core.api_error import ApiError

from dashboard.app import create_app
from dashboard.parts import build_parts
from dashboard.settings import DashboardSettings
from service.storage import AdminRole
from tests.dashboard.dashboards import PASSWORD_HASH, Client, Dashboard

VOICE = "JBFqnCBsd6RMkjVDRZzb"


@pytest.fixture
def admin(service, valkey, database_url) -> Iterator[Client]:
    """An admin's browser in a dashboard that sees the session's service."""
    parts = build_parts(DashboardSettings(redis_url=valkey, database_url=database_url, elevenlabs_api_key=None))
    parts.start()
    with redis.Redis.from_url(valkey) as store:
        dashboard = Dashboard(parts=parts, app=create_app(parts), store=store)
        user = parts.users.create(f"admin-{secrets.token_hex(4)}", AdminRole.ADMIN, password_hash=PASSWORD_HASH)
        yield dashboard.sign_in(user)
        parts.users.disable(user.id)
    parts.close()


def test_a_key_speaks_until_it_is_revoked_and_not_once_more(service, admin):
    made = admin.post("/api/keys", {"name": "an integrator", "expiry": "30"}).json
    with httpx.Client(timeout=20) as way:
        sdk = ElevenLabs(api_key=made["secret"], base_url=service.url, httpx_client=way)
        assert b"".join(sdk.text_to_speech.convert(VOICE, text="Hello."))
        revoked = admin.post(f"/api/keys/{made['key']['id']}/revoke").json
        assert (revoked["confirmed"], revoked["within_seconds"]) == (revoked["workers"], 0.0)
        with pytest.raises(ApiError) as refused:
            b"".join(sdk.text_to_speech.convert(VOICE, text="Hello?"))
    assert refused.value.status_code == 401
