"""The story of a key: made in the dashboard, used with the official SDK, limited, revoked, and obeyed by the worker."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import httpx
import pytest
import redis
from elevenlabs import ElevenLabs
from elevenlabs.core.api_error import ApiError
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dashboard.app import create_app
from dashboard.parts import build_parts
from dashboard.settings import DashboardSettings
from service.storage import AdminRole
from tests.dashboard.dashboards import PASSWORD_HASH, Client, Dashboard
from tests.integration.sandbox.account import Account, hear, say

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
        signed = sdk.conversational_ai.conversations.get_signed_url(agent_id="agent_demo").signed_url
        with connect(signed) as socket:
            socket.send('{"type": "conversation_initiation_client_data"}')
            while "conversation_initiation_metadata" not in str(socket.recv(20)):
                pass
        revoked = admin.post(f"/api/keys/{made['key']['id']}/revoke").json
        assert (revoked["confirmed"], revoked["within_seconds"]) == (revoked["workers"], 0.0)
        with pytest.raises(ApiError) as refused:
            b"".join(sdk.text_to_speech.convert(VOICE, text="Hello?"))
    assert refused.value.status_code == 401
    with connect(signed) as socket, pytest.raises(ConnectionClosed) as closed:  # what the key had given away, too
        while True:
            socket.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert "not valid any more" in closed.value.rcvd.reason


def test_limits_that_are_changed_are_obeyed_at_once_by_the_service_that_has_just_used_the_key(service, admin):
    made = admin.post("/api/keys", {"name": "an integrator"}).json

    def limited(**limits):
        answer = admin.post(f"/api/keys/{made['key']['id']}/limits", limits).json
        assert (answer["confirmed"], answer["within_seconds"]) == (answer["workers"], 0.0)

    with httpx.Client(timeout=20) as way:
        sdk = ElevenLabs(api_key=made["secret"], base_url=service.url, httpx_client=way)

        def speak():
            return b"".join(sdk.text_to_speech.convert(VOICE, text="Hello."))

        def refusal():
            with pytest.raises(ApiError) as refused:
                speak()
            return refused.value.body["detail"]["status"]

        signed = sdk.conversational_ai.conversations.get_signed_url(agent_id="agent_demo").signed_url
        assert speak()
        limited(characters_per_day=5)
        assert refusal() == "quota_exceeded"
        limited(characters_per_day=1000)
        assert speak()
        with Account(service.url, sdk).socket(key=made["secret"]) as open_all_the_while:
            say(open_all_the_while, text=" ")
            say(open_all_the_while, text="Hello. ", flush=True)
            assert hear(open_all_the_while)["audio"]
            limited(speech=False, max_concurrent=1)
            say(open_all_the_while, text="And no more. ")
            while "error" not in (message := hear(open_all_the_while)):
                pass
        assert message["error"] == refusal() == "missing_permissions"
    with connect(signed) as socket:  # of before there was a limit; it counts for the one of now
        socket.send('{"type": "conversation_initiation_client_data"}')
        while "conversation_initiation_metadata" not in str(socket.recv(20)):
            pass
        with connect(signed) as second, pytest.raises(ConnectionClosed) as closed:
            while True:
                second.recv(20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 3008
