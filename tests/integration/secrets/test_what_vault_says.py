"""What Vault says wrong, or has wrong in it: one clear line each, and nothing of a value in it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog

from scripts.launcher.waiting import wait_until
from service.errors import SecretsUnavailableError
from service.metrics import FailureCause, SecretsState
from service.secret import SecretName
from tests.conftest import StartOpenBao
from tests.integration.secrets.conftest import LIMIT, StartManager, vault_settings
from tests.openbao import RunningOpenBao, wrong_ca_file

KEY = SecretName.ELEVENLABS_API_KEY
CANARY = "canary-5f1e"


def failure(manager: Any) -> tuple[str, str]:
    """The cause and the line of the first failure."""
    wait_until(lambda: manager.status().last_error is not None, LIMIT, "a failure")
    status = manager.status()
    assert "\n" not in status.last_error
    return status.last_cause, status.last_error


def test_a_policy_that_denies_is_told_after_one_new_login(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key=CANARY)
    role_id, secret_id = openbao.make_approle("vocero", policy_path="secret/data/other", token_ttl="1h")
    manager = start_manager(
        vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id), uniform=lambda _, most: most
    )
    cause, line = failure(manager)
    assert cause == FailureCause.DENIED
    assert "secret/data/vocero" in line
    assert openbao.count_requests("auth/approle/login") == 2, "the first one, and the one that tells a policy apart"
    assert manager.status().state is SecretsState.MISSING
    with pytest.raises(SecretsUnavailableError):
        manager.current(KEY)


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"VAULT_KV_MOUNT": "elsewhere"}, FailureCause.WRONG_PATH, "VAULT_KV_MOUNT"),
        ({"VAULT_KV_PATH": "nothing-there"}, FailureCause.WRONG_PATH, "secret/data/nothing-there"),
        ({"VAULT_KV_MOUNT": "kv-one"}, FailureCause.WRONG_PATH, "VAULT_KV_MOUNT"),
        ({"VAULT_ELEVENLABS_KEY_FIELD": "absent"}, FailureCause.MISSING_FIELD, "absent"),
        ({"VAULT_TICKET_SIGNING_KEY_FIELD": "ticket_signing_key"}, FailureCause.MISSING_FIELD, "ticket_signing_key"),
        ({"VAULT_TOKEN": "made-up-token"}, FailureCause.LOGIN_REFUSED, "403"),
        ({"VAULT_NAMESPACE": "no-such-namespace"}, None, "Vault"),
    ],
)
def test_what_is_set_wrong_is_one_line_that_says_what(
    changes: dict[str, str],
    cause: FailureCause | None,
    words: str,
    openbao: RunningOpenBao,
    start_manager: StartManager,
    path: str,
) -> None:
    client = openbao.client()
    if "kv-one/" not in client.sys.list_mounted_secrets_engines()["data"]:
        client.sys.enable_secrets_engine("kv", path="kv-one", options={"version": "1"})
    client.secrets.kv.v1.create_or_update_secret(path, {"elevenlabs_api_key": CANARY}, mount_point="kv-one")
    openbao.put(path, elevenlabs_api_key=CANARY)
    manager = start_manager(vault_settings(openbao, path, VAULT_TOKEN="root") | changes)
    found, line = failure(manager)
    assert cause is None or found == cause, line
    assert words in line
    assert CANARY not in line
    assert "made-up-token" not in line


def test_a_deleted_version_is_told_apart_from_a_wrong_path_and_comes_back(
    openbao: RunningOpenBao, start_manager: StartManager, path: str
) -> None:
    openbao.put(path, elevenlabs_api_key="sk_one")
    openbao.delete_version(path)
    manager = start_manager(vault_settings(openbao, path, VAULT_TOKEN="root"))
    assert failure(manager)[0] == FailureCause.DELETED
    openbao.undelete_version(path, 1)
    assert manager.wait_until_read(LIMIT)
    assert manager.current(KEY).reveal() == "sk_one"


def test_a_version_that_is_deleted_while_we_run_takes_nothing_from_anybody(
    openbao: RunningOpenBao, start_manager: StartManager, path: str
) -> None:
    openbao.put(path, elevenlabs_api_key="sk_one")
    manager = start_manager(vault_settings(openbao, path, VAULT_TOKEN="root"))
    assert manager.wait_until_read(LIMIT)
    openbao.destroy_version(path, 1)
    assert failure(manager)[0] == FailureCause.DELETED
    assert manager.current(KEY).reveal() == "sk_one"


BAD_VALUES: list[tuple[Any, str]] = [
    ("", "is empty"),
    (f"{CANARY}\n", "a line break"),
    (f"{CANARY}\r\nx-injected: 1", "a line break"),
    (f"{CANARY} {CANARY}", "a blank"),
    (f"{CANARY}ñ", "no secret has"),
    (None, "is nothing, not text"),
    (42, "is int, not text"),
    ([CANARY], "is list, not text"),
    ({"inner": CANARY}, "is dict, not text"),
    (CANARY * 1000, "characters, at most 4096"),
    (CANARY * 500_000, "more than 1048576 bytes"),
]


@pytest.mark.parametrize(("value", "words"), BAD_VALUES, ids=[words for _, words in BAD_VALUES])
def test_a_value_that_cannot_be_meant_is_one_line_and_the_one_of_before_stays(
    value: Any, words: str, openbao: RunningOpenBao, start_manager: StartManager, path: str
) -> None:
    openbao.put(path, elevenlabs_api_key="sk_one")
    manager = start_manager(vault_settings(openbao, path, VAULT_TOKEN="root"))
    assert manager.wait_until_read(LIMIT)
    with structlog.testing.capture_logs() as logged:
        openbao.put(path, elevenlabs_api_key=value)
        cause, line = failure(manager)
    assert cause == FailureCause.BAD_VALUE
    assert words in line
    assert len(line) < 200
    assert CANARY not in line
    assert CANARY not in repr(logged)
    assert manager.current(KEY).reveal() == "sk_one"
    openbao.put(path, elevenlabs_api_key="sk_mended")
    wait_until(lambda: manager.current(KEY).reveal() == "sk_mended", LIMIT, "the value that was mended")


def test_over_tls_the_right_authority_is_believed_and_a_wrong_one_is_not(
    start_openbao: StartOpenBao, start_manager: StartManager, tmp_path: Any
) -> None:
    openbao = start_openbao(tls=True)
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    good = start_manager(vault_settings(openbao, VAULT_TOKEN="root"))
    assert good.wait_until_read(LIMIT)
    bad = start_manager(vault_settings(openbao, VAULT_TOKEN="root", VAULT_CACERT=str(wrong_ca_file(tmp_path))))
    cause, line = failure(bad)
    assert cause == FailureCause.TLS
    assert "VAULT_CACERT" in line
    unchecked = start_manager(
        vault_settings(
            openbao,
            VAULT_TOKEN="root",
            VAULT_CACERT=str(wrong_ca_file(tmp_path)),
            VAULT_SKIP_VERIFY=True,
            VOCERO_DEVELOPMENT=True,
        )
    )
    assert unchecked.wait_until_read(LIMIT)


def test_a_namespace_has_secrets_of_its_own(openbao: RunningOpenBao, start_manager: StartManager, path: str) -> None:
    openbao.make_namespace("another-team")
    openbao.put(path, elevenlabs_api_key="sk_of_all")
    openbao.client(namespace="another-team").secrets.kv.v2.create_or_update_secret(
        path, {"elevenlabs_api_key": "sk_of_team"}
    )
    manager = start_manager(vault_settings(openbao, path, VAULT_TOKEN="root", VAULT_NAMESPACE="another-team"))
    assert manager.wait_until_read(LIMIT)
    assert manager.current(KEY).reveal() == "sk_of_team"


def test_nothing_is_logged_of_what_is_read_at_any_level(
    openbao: RunningOpenBao, start_manager: StartManager, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    openbao.put(path, elevenlabs_api_key=CANARY, ticket_signing_key=f"{CANARY}-2")
    token = openbao.make_token("1h", policies=[openbao.reading_policy(f"secret/data/{path}")])
    with structlog.testing.capture_logs() as logged:
        manager = start_manager(
            vault_settings(openbao, path, VAULT_TOKEN=token, VAULT_TICKET_SIGNING_KEY_FIELD="ticket_signing_key")
        )
        assert manager.wait_until_read(LIMIT)
        manager.close()
    text = repr(logged) + caplog.text + repr(manager.status())
    assert "secrets were read" in text
    assert CANARY not in text
    assert token not in text
