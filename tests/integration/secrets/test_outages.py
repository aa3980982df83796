"""Vault sealed, killed, hung, or not there yet: what was read serves on, and nobody has to help afterwards."""

from __future__ import annotations

import threading

import pytest

from scripts.launcher.waiting import wait_until
from service.errors import SecretsUnavailableError
from service.metrics import FailureCause, SecretsState
from service.secret import SecretName
from service.secrets_manager import SecretsManager
from tests.conftest import StartOpenBao
from tests.integration.secrets.conftest import LIMIT, StartManager, vault_settings
from tests.servers import free_port

KEY = SecretName.ELEVENLABS_API_KEY


class Readers:
    """Threads that take the key again and again, and note what they are refused."""

    def __init__(self, manager: SecretsManager, count: int = 4) -> None:
        self.seen: set[str] = set()
        self.taken = 0
        self.refusals: list[Exception] = []
        self._manager = manager
        self._stops = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        while not self._stops.wait(0.001):
            try:
                self.seen.add(self._manager.current(KEY).reveal())
                self.taken += 1
            except SecretsUnavailableError as exc:
                self.refusals.append(exc)


def test_sealing_under_load_costs_nobody_a_key_and_unsealing_brings_the_new_one(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="4s")
    manager = start_manager(vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id))
    assert manager.wait_until_read(LIMIT)
    with Readers(manager) as readers:
        openbao.seal()
        wait_until(lambda: manager.status().last_cause == FailureCause.SEALED, LIMIT, "sealed")
        wait_until(lambda: manager.status().state is SecretsState.STALE, LIMIT, "stale")
        before = readers.taken
        wait_until(lambda: readers.taken > before + 100, LIMIT, "keys taken while it is sealed")
        openbao.unseal()
        openbao.put("vocero", elevenlabs_api_key="sk_two")
        wait_until(lambda: manager.current(KEY).reveal() == "sk_two", 2 * LIMIT, "the new key")
    assert readers.refusals == []
    assert manager.status().state is SecretsState.FRESH


def test_a_vault_that_is_killed_and_comes_back_with_its_data_is_used_again(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao(raft=True)
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="1h")
    manager = start_manager(vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id))
    assert manager.wait_until_read(LIMIT)
    with Readers(manager) as readers:
        openbao.kill()
        wait_until(lambda: manager.status().last_cause == FailureCause.UNREACHABLE, LIMIT, "unreachable")
        openbao.restart()
        wait_until(lambda: manager.status().last_cause == FailureCause.SEALED, LIMIT, "sealed")
        openbao.unseal()
        wait_until(lambda: manager.status().state is SecretsState.FRESH, 2 * LIMIT, "fresh")
    assert readers.refusals == []
    assert readers.seen == {"sk_one"}


def test_a_vault_that_hangs_is_given_up_in_time_and_asked_again(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    manager = start_manager(vault_settings(openbao, VAULT_TOKEN="root", VAULT_TIMEOUT_SECONDS=0.3))
    assert manager.wait_until_read(LIMIT)
    openbao.suspend()
    try:
        wait_until(lambda: manager.status().last_cause == FailureCause.TIMEOUT, LIMIT, "given up")
        assert manager.current(KEY).reveal() == "sk_one"
    finally:
        openbao.resume()
    failed_at = manager.status().failed_at or 0.0
    wait_until(lambda: (manager.status().read_at or 0.0) > failed_at, LIMIT, "read again")


def test_when_the_grace_is_over_the_key_is_not_given_out_until_it_is_read_again(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    manager = start_manager(vault_settings(openbao, VAULT_TOKEN="root"), grace_seconds=1.0)
    assert manager.wait_until_read(LIMIT)
    openbao.seal()
    wait_until(lambda: manager.status().state is SecretsState.EXPIRED, LIMIT, "expired")
    with pytest.raises(SecretsUnavailableError):
        manager.current(KEY)
    openbao.unseal()
    wait_until(lambda: manager.status().state is SecretsState.FRESH, 2 * LIMIT, "fresh")
    assert manager.current(KEY).reveal() == "sk_one"


def test_a_vault_that_comes_after_us_in_steps_is_told_apart_at_each_and_then_used(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    port = free_port()
    manager = start_manager({"VAULT_ADDR": f"http://127.0.0.1:{port}", "VAULT_TOKEN": "root"})
    wait_until(lambda: manager.status().last_cause == FailureCause.UNREACHABLE, LIMIT, "unreachable")
    openbao = start_openbao(port=port, initialise=False)
    wait_until(lambda: manager.status().last_cause == FailureCause.NOT_INITIALIZED, LIMIT, "not initialised")
    openbao.initialise()
    wait_until(lambda: manager.status().last_cause == FailureCause.WRONG_PATH, LIMIT, "nothing there yet")
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    assert manager.wait_until_read(LIMIT)
    assert manager.current(KEY).reveal() == "sk_one"
