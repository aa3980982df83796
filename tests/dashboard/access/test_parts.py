"""The composition root: what it opens, and what it does where a password is in Vault."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from dashboard.parts import build_parts
from dashboard.settings import load_dashboard_settings
from service.errors import ServiceUnavailableError


def test_a_database_whose_password_vault_does_not_give_is_said_not_to_answer() -> None:
    given = {
        "redis_url": "unix:///nowhere/valkey.sock",
        "database_url": SecretStr("postgresql+psycopg://vocero@127.0.0.1:1/vocero"),
        "vault_addr": "http://127.0.0.1:1",
        "vault_token": SecretStr("a token"),
        "vault_database_password_field": "password",
    }
    parts = build_parts(load_dashboard_settings().model_copy(update=given))
    with pytest.raises(ServiceUnavailableError, match="Vault"):
        parts.users.list_all()
    parts.close()
