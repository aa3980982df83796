from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests
from hvac.exceptions import Forbidden, InternalServerError, InvalidRequest, VaultDown

from scripts.launcher.waiting import wait_until
from tests.openbao import RunningOpenBao, wrong_ca_file

StartOpenBao = Callable[..., RunningOpenBao]
LIMIT = 20.0


def fields(client: hvac.Client, path: str) -> dict[str, Any]:
    answer = client.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
    read: dict[str, Any] = answer["data"]["data"]
    return read


def is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except Forbidden:
        return True
    return False


def test_a_sealed_server_refuses_and_an_unsealed_one_still_has_everything(start_openbao: StartOpenBao) -> None:
    openbao = start_openbao()
    assert openbao.put("sealing", key="kept") == 1
    openbao.seal()
    with pytest.raises(VaultDown):
        fields(openbao.client(), "sealing")
    openbao.unseal()
    assert fields(openbao.client(), "sealing") == {"key": "kept"}


def test_with_raft_a_killed_server_comes_back_sealed_at_the_same_port_with_its_data(
    start_openbao: StartOpenBao,
) -> None:
    openbao = start_openbao(raft=True)
    openbao.put("killing", key="kept")
    role_id, secret_id = openbao.make_approle("killing")
    port = openbao.port
    openbao.kill()
    with pytest.raises(requests.ConnectionError):
        fields(openbao.client(), "killing")
    openbao.restart()
    assert openbao.port == port
    assert openbao.client().sys.is_sealed()
    openbao.unseal()
    assert fields(openbao.client(), "killing") == {"key": "kept"}
    assert openbao.client("").auth.approle.login(role_id, secret_id)["auth"]["client_token"]


def test_only_who_trusts_the_right_authority_speaks_to_a_server_with_tls(
    start_openbao: StartOpenBao, tmp_path: Path
) -> None:
    openbao = start_openbao(tls=True)
    openbao.put("certified", key="safe")
    assert fields(openbao.client(), "certified") == {"key": "safe"}
    for verify in (True, str(wrong_ca_file(tmp_path))):
        stranger = hvac.Client(url=openbao.url, token=openbao.root_token, verify=verify)
        with pytest.raises(requests.exceptions.SSLError):
            fields(stranger, "certified")
    assert openbao.url.startswith("https://127.0.0.1:")


def test_a_new_server_is_not_initialised_and_one_in_memory_is_new_after_a_restart(start_openbao: StartOpenBao) -> None:
    openbao = start_openbao(initialise=False)
    assert not openbao.client().sys.is_initialized()
    openbao.initialise()
    assert openbao.client().sys.is_initialized()
    openbao.kill()
    openbao.restart()
    assert not openbao.client().sys.is_initialized()


def test_a_suspended_server_hangs_until_it_is_resumed(start_openbao: StartOpenBao) -> None:
    openbao = start_openbao()
    openbao.suspend()
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{openbao.url}/v1/sys/seal-status", timeout=0.2)
    openbao.resume()
    assert requests.get(f"{openbao.url}/v1/sys/seal-status", timeout=LIMIT).ok


def test_a_role_reads_its_path_only_and_until_its_token_ends(openbao: RunningOpenBao) -> None:
    openbao.put("short", key="read")
    openbao.put("other", key="hidden")
    role = openbao.make_approle("short", policy_path="secret/data/short", token_ttl="2s")
    started = time.monotonic()
    answer = openbao.client("").auth.approle.login(*role)
    assert answer["auth"]["lease_duration"] == 2
    client = openbao.client(answer["auth"]["client_token"])
    assert fields(client, "short") == {"key": "read"}
    with pytest.raises(Forbidden):
        fields(client, "other")
    wait_until(lambda: is_refused(lambda: fields(client, "short")), LIMIT, "the end of the token")
    assert time.monotonic() - started > 1.9


def test_a_renewed_token_lives_on_until_its_max_ttl(openbao: RunningOpenBao) -> None:
    openbao.put("renewed", key="read")
    role = openbao.make_approle("renewed", policy_path="secret/data/renewed", token_ttl="2s", token_max_ttl="4s")
    started = time.monotonic()
    client = openbao.client(openbao.client("").auth.approle.login(*role)["auth"]["client_token"])

    def is_over() -> bool:
        try:
            return client.auth.token.renew_self()["auth"]["lease_duration"] > 2
        except (Forbidden, InternalServerError) as exc:  # in its last second: 500, "past the max TTL, cannot renew"
            return isinstance(exc, Forbidden) or "cannot renew" in str(exc)

    wait_until(is_over, LIMIT, "the max TTL")
    assert time.monotonic() - started > 2.5


def test_a_wrapped_secret_id_is_unwrapped_once(openbao: RunningOpenBao) -> None:
    role_id, _ = openbao.make_approle("wrapped")
    wrapping_token = openbao.wrapped_secret_id("wrapped")
    client = openbao.client(wrapping_token)
    secret_id = client.sys.unwrap()["data"]["secret_id"]
    assert openbao.client("").auth.approle.login(role_id, secret_id)["auth"]["client_token"]
    with pytest.raises(InvalidRequest):
        client.sys.unwrap()


def test_deleted_versions_come_back_and_destroyed_ones_do_not(openbao: RunningOpenBao) -> None:
    assert [openbao.put("versions", key=key) for key in ("one", "two")] == [1, 2]
    client = openbao.client()
    openbao.delete_version("versions")
    with pytest.raises(hvac.exceptions.InvalidPath):
        fields(client, "versions")
    openbao.undelete_version("versions", 2)
    assert fields(client, "versions") == {"key": "two"}
    openbao.destroy_version("versions", 2)
    with pytest.raises(hvac.exceptions.InvalidPath):
        fields(client, "versions")


def test_a_token_has_the_life_that_was_asked_for(openbao: RunningOpenBao) -> None:
    looked_up = openbao.client(openbao.make_token("90s", renewable=False)).auth.token.lookup_self()["data"]
    assert (looked_up["creation_ttl"], looked_up["renewable"], looked_up["policies"]) == (
        90,
        False,
        ["default", "read-secret-data-vocero"],
    )
    assert openbao.client(openbao.make_token(period="60s")).auth.token.lookup_self()["data"]["period"] == 60


def test_a_namespace_has_secrets_of_its_own(openbao: RunningOpenBao) -> None:
    openbao.make_namespace("tenant")
    openbao.put("tenants", key="outside")
    inside = openbao.client(namespace="tenant")
    inside.secrets.kv.v2.create_or_update_secret("tenants", {"key": "inside"})
    assert fields(inside, "tenants") == {"key": "inside"}
    assert fields(openbao.client(), "tenants") == {"key": "outside"}


def test_every_request_is_counted_also_a_refused_one_and_no_secret_is_written_down(openbao: RunningOpenBao) -> None:
    openbao.put("counted", key="canary-9c1f")
    role = openbao.make_approle("counted", policy_path="secret/data/counted")
    logins = openbao.count_requests("auth/approle/login")
    client = openbao.client(openbao.client("").auth.approle.login(*role)["auth"]["client_token"])
    client.auth.token.renew_self()
    for _ in range(3):
        fields(client, "counted")
    assert is_refused(lambda: fields(client, "uncounted"))
    assert openbao.count_requests("auth/approle/login") == logins + 1
    assert openbao.count_requests("secret/data/counted", "read") == 3
    assert openbao.count_requests("secret/data/counted") == 4
    assert openbao.count_requests("secret/data/uncounted", failed=True) == 1
    assert openbao.count_requests("secret/data/uncounted", failed=False) == 0
    assert "canary-9c1f" not in (openbao.folder / "audit.log").read_text()


def test_nothing_of_the_environment_gets_into_a_client(
    openbao: RunningOpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "wrong", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    (tmp_path / ".vault-token").write_text("wrong")
    assert openbao.client().auth.token.lookup_self()["data"]["id"] == openbao.root_token
