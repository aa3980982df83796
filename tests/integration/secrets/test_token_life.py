"""The token, over several lives: renewed, replaced, read again from its file, lost; against a real Vault API."""

from __future__ import annotations

import time
from pathlib import Path

from scripts.launcher.waiting import wait_until
from service.metrics import SecretsState
from service.secret import SecretName
from tests.conftest import StartOpenBao
from tests.integration.secrets.conftest import LIMIT, StartManager, vault_settings
from tests.openbao import RunningOpenBao

KEY = SecretName.ELEVENLABS_API_KEY
RENEWAL, LOGIN = "auth/token/renew-self", "auth/approle/login"


def test_an_approle_with_a_ttl_of_4_s_logs_in_once_and_renews(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="4s")
    manager = start_manager(vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id))
    wait_until(lambda: openbao.count_requests(RENEWAL, failed=False) >= 3, LIMIT, "three renewals")
    assert openbao.count_requests(LOGIN) == 1
    assert openbao.count_requests("secret/data/vocero", "read", failed=True) == 0
    assert manager.status().state is SecretsState.FRESH
    assert manager.current(KEY).reveal() == "sk_one"


def test_a_token_with_a_ttl_of_4_s_is_renewed(start_openbao: StartOpenBao, start_manager: StartManager) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    begun = time.monotonic()
    manager = start_manager(vault_settings(openbao, VAULT_TOKEN=openbao.make_token("4s")))
    wait_until(lambda: openbao.count_requests(RENEWAL, failed=False) >= 2, LIMIT, "two renewals")
    wait_until(lambda: time.monotonic() > begun + 4.5, LIMIT, "its first life is over")
    assert manager.refresh(LIMIT) is False
    assert manager.status().state is SecretsState.FRESH
    assert openbao.count_requests("secret/data/vocero", "read", failed=True) == 0


def test_at_its_greatest_age_a_token_is_replaced_before_it_ends(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="4s", token_max_ttl="7s")
    manager = start_manager(vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id))
    wait_until(lambda: openbao.count_requests(LOGIN) >= 3, 2 * LIMIT, "three logins")
    assert openbao.count_requests("secret/data/vocero", "read", failed=True) == 0
    assert manager.status().last_error is None


def test_a_token_that_cannot_be_renewed_is_replaced_by_what_its_file_has_then(
    start_openbao: StartOpenBao, start_manager: StartManager, tmp_path: Path
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    file = tmp_path / "token"
    file.write_text(openbao.make_token("3s", renewable=False) + "\n")
    manager = start_manager(vault_settings(openbao, VAULT_TOKEN_FILE=str(file)))
    assert manager.wait_until_read(LIMIT)
    file.write_text(openbao.make_token("1h") + "\n")
    wait_until(lambda: (manager.status().lease_ends_at or 0) > time.time() + 600, LIMIT, "the new token")
    assert manager.status().state is SecretsState.FRESH


def test_a_token_that_is_revoked_costs_one_new_login_and_nobody_notices(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="1h")
    manager = start_manager(vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id))
    assert manager.wait_until_read(LIMIT)
    openbao.client().sys.revoke_prefix("auth/approle")
    openbao.put("vocero", elevenlabs_api_key="sk_two")
    wait_until(lambda: manager.current(KEY).reveal() == "sk_two", LIMIT, "the new key")
    assert openbao.count_requests(LOGIN) == 2
    assert manager.status().last_error is None


def test_a_fixed_token_that_has_ended_is_told_and_what_was_read_is_still_given_out(
    openbao: RunningOpenBao, start_manager: StartManager, path: str
) -> None:
    openbao.put(path, elevenlabs_api_key="sk_one")
    token = openbao.make_token("1h", policies=[openbao.reading_policy(f"secret/data/{path}")])
    manager = start_manager(vault_settings(openbao, path, VAULT_TOKEN=token))
    assert manager.wait_until_read(LIMIT)
    openbao.client().auth.token.revoke(token)
    wait_until(lambda: manager.status().last_cause == "login_refused", LIMIT, "the refusal")
    assert manager.current(KEY).reveal() == "sk_one"
    assert token not in (manager.status().last_error or "")


def test_a_clock_that_jumps_past_the_tokens_end_costs_one_login(
    start_openbao: StartOpenBao, start_manager: StartManager
) -> None:
    """As after a machine was suspended: the monotonic clock of some systems goes on."""
    openbao = start_openbao()
    openbao.put("vocero", elevenlabs_api_key="sk_one")
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="1h")
    jump = 0.0

    def clock() -> float:
        return time.monotonic() + jump

    manager = start_manager(
        vault_settings(openbao, VAULT_ROLE_ID=role_id, VAULT_SECRET_ID=secret_id), clock=clock, poll_seconds=60
    )
    manager._source._keeper._clock = clock  # type: ignore[attr-defined]
    assert manager.wait_until_read(LIMIT)
    jump = 7200.0
    assert manager.status().state is SecretsState.EXPIRED
    manager.refresh(LIMIT)
    assert manager.status().state is SecretsState.FRESH
    assert openbao.count_requests(LOGIN) == 2
    assert manager.current(KEY).reveal() == "sk_one"


def test_a_wall_clock_that_jumps_changes_nothing_but_what_is_shown(
    openbao: RunningOpenBao, start_manager: StartManager, path: str
) -> None:
    openbao.put(path, elevenlabs_api_key="sk_one")
    shown = [0.0]
    manager = start_manager(
        vault_settings(openbao, path, VAULT_TOKEN="root"), wall_clock=lambda: shown[0], poll_seconds=60
    )
    assert manager.wait_until_read(LIMIT)
    for moment in (-86_400.0, 4e9):
        shown[0] = moment
        assert manager.status().state is SecretsState.FRESH
        manager.refresh(LIMIT)
        assert manager.status().read_at == moment
