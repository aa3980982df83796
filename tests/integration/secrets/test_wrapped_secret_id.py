"""A secret id that comes wrapped: opened once for the node, and a second opening is a security event."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from scripts.launcher.waiting import wait_until
from service.metrics import FailureCause, SecretsState
from service.vault import node_memory
from tests.conftest import StartOpenBao
from tests.integration.secrets.conftest import LIMIT, StartManager, vault_settings

UNWRAP = "sys/wrapping/unwrap"


def test_it_is_opened_once_and_serves_several_logins(start_openbao: StartOpenBao, start_manager: StartManager) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, _ = openbao.make_approle("vocero", token_ttl="4s", token_max_ttl="4s")
    settings = vault_settings(
        openbao,
        VAULT_ROLE_ID=role_id,
        VAULT_SECRET_ID=openbao.wrapped_secret_id("vocero"),
        VAULT_SECRET_ID_WRAPPED=True,
    )
    manager = start_manager(settings)
    wait_until(lambda: openbao.count_requests("auth/approle/login") >= 3, 2 * LIMIT, "three logins")
    assert openbao.count_requests(UNWRAP) == 1
    assert manager.status().state is SecretsState.FRESH


def test_one_that_was_opened_before_is_a_security_event_told_once_and_a_new_one_mends_it(
    start_openbao: StartOpenBao, start_manager: StartManager, tmp_path: Path
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, _ = openbao.make_approle("vocero", token_ttl="1h")
    stolen = openbao.wrapped_secret_id("vocero")
    thief = openbao.client(stolen)
    assert thief.sys.unwrap()["data"]["secret_id"]
    file = tmp_path / "secret-id"
    file.write_text(stolen)
    settings = vault_settings(
        openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID_FILE=str(file), VAULT_SECRET_ID_WRAPPED=True
    )
    with structlog.testing.capture_logs() as logged:
        manager = start_manager(settings, uniform=lambda least, most: min(most, 0.3))
        wait_until(lambda: manager.status().last_cause == FailureCause.WRAP_USED, LIMIT, "the refusal")
        manager.refresh(LIMIT)  # which asks in vain no second time
    events = [entry for entry in logged if entry.get("security_event")]
    assert [entry["event"] for entry in events] == ["wrapped secret id was already used"]
    assert stolen not in repr(logged)

    file.write_text(openbao.wrapped_secret_id("vocero"))
    assert manager.wait_until_read(LIMIT), "a new wrapping token in the file is taken without a restart"


def test_one_that_holds_something_else_is_not_opened(start_openbao: StartOpenBao, start_manager: StartManager) -> None:
    """Vault's advice: whoever exchanged it would have us log in as somebody else."""
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="1h")
    exchanged = openbao.client().sys.wrap({"secret_id": secret_id}, ttl=60)["wrap_info"]["token"]
    settings = vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=exchanged, VAULT_SECRET_ID_WRAPPED=True)
    with structlog.testing.capture_logs() as logged:
        manager = start_manager(settings)
        wait_until(lambda: manager.status().last_cause == FailureCause.WRAP_USED, LIMIT, "the refusal")
    assert [entry["event"] for entry in logged if entry.get("security_event")]
    assert openbao.count_requests(UNWRAP) == 0


def test_managers_that_share_their_memory_open_it_once_together(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, _ = openbao.make_approle("vocero", token_ttl="1h")
    settings = vault_settings(
        openbao,
        VAULT_ROLE_ID=role_id,
        VAULT_SECRET_ID=openbao.wrapped_secret_id("vocero"),
        VAULT_SECRET_ID_WRAPPED=True,
    )
    shared, node_memory._shared = node_memory._shared, node_memory.NodeMemory()
    try:
        managers = [start_manager(settings) for _ in range(4)]
    finally:
        node_memory._shared = shared
    threads = [threading.Thread(target=manager.wait_until_read, args=(LIMIT,)) for manager in managers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [manager.status().state for manager in managers] == [SecretsState.FRESH] * 4
    assert openbao.count_requests(UNWRAP) == 1
    assert openbao.count_requests("auth/approle/login") == 4
