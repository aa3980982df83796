"""The service with its secrets in a real Vault API: boot without it, rotation under load, a refused key."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine
from websockets.sync.client import connect

from migrations import runner
from scripts.launcher.waiting import wait_until
from tests.conftest import StartOpenBao, StartService
from tests.integration.conversation.conftest import INITIATION
from tests.integration.secrets.conftest import LIMIT, KeyKeeper, readiness, speak, vault_settings
from tests.servers import RunningService, free_port

StartWithVault = Callable[..., RunningService]


@pytest.fixture
def start_with_vault(start_service: StartService) -> StartWithVault:
    """Start a service whose secrets lie in Vault."""

    def start(settings: dict[str, Any], **environment: str) -> RunningService:
        texts = {name: str(value) for name, value in settings.items()}
        return start_service(**{"ELEVENLABS_API_KEY": "", "SECRETS_POLL_SECONDS": "1", **texts, **environment})

    return start


def test_without_vault_the_service_is_up_says_why_it_is_not_ready_and_becomes_ready_by_itself(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault, key_keeper: tuple[KeyKeeper, str]
) -> None:
    keeper, url = key_keeper
    keeper.good = {"sk_one"}
    port = free_port()
    service = start_with_vault(
        {"VAULT_ADDR": f"http://127.0.0.1:{port}", "VAULT_TOKEN": "root"}, ELEVENLABS_BASE_URL=url
    )
    assert requests.get(f"{service.url}/livez", timeout=LIMIT).status_code == 200
    status, states = readiness(service)
    assert status == 503
    assert states["secrets"] == "missing: Vault cannot be reached (Connection refused); check VAULT_ADDR."
    refused = speak(service)
    assert (refused.status_code, refused.json()["detail"]["code"]) == (503, "secrets_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_demo") as client:
        client.send(INITIATION)
        client.recv(LIMIT)
        with pytest.raises(Exception, match="1013"):
            client.recv(LIMIT)

    openbao = start_openbao(port=port)
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    wait_until(lambda: readiness(service)[0] == 200, 2 * LIMIT, "ready")
    assert speak(service).status_code == 200
    assert keeper.seen[-1][1] == "sk_one"
    assert service.child.exit_code is None


def test_when_the_grace_is_over_the_service_is_not_ready_until_vault_is_back(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault, key_keeper: tuple[KeyKeeper, str]
) -> None:
    keeper, url = key_keeper
    keeper.good = {"sk_one"}
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    service = start_with_vault(
        vault_settings(openbao, VAULT_TOKEN="root"), ELEVENLABS_BASE_URL=url, SECRETS_GRACE_SECONDS="3"
    )
    assert readiness(service)[0] == 200
    openbao.seal()
    service.wait_for_log('"cause": "sealed"')
    assert speak(service).status_code == 200, "within the grace nobody notices"
    wait_until(lambda: readiness(service)[0] == 503, LIMIT, "not ready")
    assert readiness(service)[1]["secrets"].startswith("expired: Vault did not serve")
    assert speak(service).status_code == 503
    openbao.unseal()
    wait_until(lambda: readiness(service)[0] == 200, 2 * LIMIT, "ready again")
    assert speak(service).status_code == 200


def test_no_request_fails_because_of_rotations_and_each_new_key_is_soon_in_use(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault, key_keeper: tuple[KeyKeeper, str]
) -> None:
    """The full size (20 a second, a rotation every 15 s, the default poll) is `python -m soak rotation`."""
    keeper, url = key_keeper
    openbao = start_openbao()
    keys = [f"sk_{number}" for number in range(4)]
    keeper.good = set(keys)
    openbao.put("vocero", elevenlabs_api_key=keys[0])
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="4s")
    service = start_with_vault(
        vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id),
        ELEVENLABS_BASE_URL=url,
        VOCERO_WORKERS="2",
    )
    answers: list[int] = []
    stops = threading.Event()

    def load() -> None:
        while not stops.wait(0.2):
            answers.append(speak(service).status_code)

    callers = [threading.Thread(target=load) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for key in keys[1:]:
            openbao.put("vocero", elevenlabs_api_key=key)
            wait_until(lambda key=key: keeper.first_use(key) is not None, LIMIT, "the new key is in use")
            used = len(keeper.seen)
            wait_until(lambda used=used: len(keeper.seen) > used + 10, LIMIT, "more requests")
    finally:
        stops.set()
        for caller in callers:
            caller.join()
    assert set(answers) == {200}
    assert all(is_good for _, _, is_good in keeper.seen)


def test_after_a_401_the_request_itself_goes_through_with_the_new_key(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault, key_keeper: tuple[KeyKeeper, str]
) -> None:
    keeper, url = key_keeper
    keeper.good = {"sk_one"}
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    service = start_with_vault(
        vault_settings(openbao, VAULT_TOKEN="root"), ELEVENLABS_BASE_URL=url, SECRETS_POLL_SECONDS="3600"
    )
    assert speak(service).status_code == 200
    openbao.put("vocero", elevenlabs_api_key="sk_two")
    keeper.good = {"sk_two"}
    assert speak(service).status_code == 200
    (refused_at, old, _), (used_at, new, _) = keeper.seen[-2:]
    assert (old, new) == ("sk_one", "sk_two")
    # The promise is 2 s; a poll would have come an hour later.
    assert used_at - refused_at < 60


def test_a_new_key_that_elevenlabs_refuses_does_not_end_the_service_while_the_old_one_is_good(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault, key_keeper: tuple[KeyKeeper, str]
) -> None:
    keeper, url = key_keeper
    keeper.good = {"sk_one"}
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    service = start_with_vault(vault_settings(openbao, VAULT_TOKEN="root"), ELEVENLABS_BASE_URL=url)
    openbao.put("vocero", elevenlabs_api_key="sk_mistyped")
    service.wait_for_log('"secrets have changed"')
    assert [speak(service).status_code for _ in range(5)] == [200] * 5
    assert [key for _, key, _ in keeper.seen].count("sk_mistyped") == 1, "refused once, it stands behind the old one"


def test_a_running_conversation_goes_on_while_the_key_changes(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sandbox-one")
    service = start_with_vault(vault_settings(openbao, VAULT_TOKEN="root"), VOCERO_POOL_AGENTS_MIN_IDLE="2")
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text", max_size=None) as client:
        client.send(INITIATION)
        assert "conversation_initiation_metadata" in client.recv(LIMIT)
        openbao.put("vocero", elevenlabs_api_key="sandbox-two")
        service.wait_for_log('"secrets have changed"')
        client.send('{"type": "user_message", "text": "When are you open?"}')
        wait_until(lambda: '"agent_response"' in str(client.recv(LIMIT)), LIMIT, "an answer")


def test_a_wrapped_secret_id_serves_all_workers_of_a_node_and_those_that_come_later(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, _ = openbao.make_approle("vocero", token_ttl="1h")
    wrapped = openbao.wrapped_secret_id("vocero")
    service = start_with_vault(
        vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=wrapped, VAULT_SECRET_ID_WRAPPED="true"),
        VOCERO_WORKERS="3",
    )
    logins = "auth/approle/login"
    wait_until(lambda: openbao.count_requests(logins, failed=False) == 3, LIMIT, "three workers have logged in")
    os.kill(service.worker_pids()[0], signal.SIGKILL)
    wait_until(lambda: openbao.count_requests(logins, failed=False) == 4, LIMIT, "the worker that took its place")
    assert openbao.count_requests("sys/wrapping/unwrap", failed=False) == 1
    assert openbao.count_requests("sys/wrapping/unwrap", failed=True) == 0


def test_tickets_signed_with_a_key_from_vault_open_conversations_and_outlive_its_rotation(
    start_openbao: StartOpenBao, start_with_vault: StartWithVault
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sandbox-one", ticket_signing_key="signs-one")
    service = start_with_vault(
        vault_settings(openbao, VAULT_TOKEN="root", VAULT_TICKET_SIGNING_KEY_FIELD="ticket_signing_key")
    )
    signed = f"{service.url}/v1/convai/conversation/get-signed-url?agent_id=agent_text"
    url = requests.get(signed, headers={"xi-api-key": service.api_key}, timeout=LIMIT).json()["signed_url"]
    openbao.put("vocero", elevenlabs_api_key="sandbox-one", ticket_signing_key="signs-two")
    service.wait_for_log('"names": ["ticket_signing_key"]')
    with connect(url, max_size=None) as client:
        client.send(INITIATION)
        assert "conversation_initiation_metadata" in client.recv(LIMIT)


def test_with_the_databases_password_in_vault_the_service_waits_for_vault_and_then_serves(
    start_openbao: StartOpenBao,
    start_with_vault: StartWithVault,
    key_keeper: tuple[KeyKeeper, str],
    postgresql: str,
) -> None:
    keeper, url = key_keeper
    keeper.good = {"sk_one"}
    admin = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE with_password")
    try:
        database_url = postgresql.rpartition("/")[0] + "/with_password"
        runner.upgrade(database_url)
        port = free_port()
        service = start_with_vault(
            {"VAULT_ADDR": f"http://127.0.0.1:{port}", "VAULT_TOKEN": "root"},
            ELEVENLABS_BASE_URL=url,
            VAULT_DATABASE_PASSWORD_FIELD="database_password",
            VOCERO_DATABASE_URL=database_url,
        )
        assert requests.get(f"{service.url}/livez", timeout=LIMIT).status_code == 200
        assert readiness(service)[1]["database"] == "SecretsUnavailableError"
        openbao = start_openbao(port=port)
        openbao.put("vocero", elevenlabs_api_key="sk_one", database_password="canary-5f1e")
        wait_until(lambda: readiness(service)[0] == 200, 2 * LIMIT, "ready")
        service.stop()
        assert "canary-5f1e" not in service.log()
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql("DROP DATABASE with_password WITH (FORCE)")
        admin.dispose()
