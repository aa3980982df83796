"""Questions to Vault, asked once, for a test that wants to see what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from scripts.launcher.waiting import wait_until
from service.errors import SecretsSourceError
from service.secret import Secret, SecretName
from service.secrets_sources import EnvironmentSource, VaultSource
from service.vault.client import Entry, Grant, VaultClient
from tests.unit.secrets.scripted_vault import (
    CANARIES,
    LOGIN,
    LOOKUP,
    READING,
    RENEWAL,
    SECRET_ID,
    TOKEN,
    UNWRAPPING,
    WRAPPING_LOOKUP,
    WRAPPING_TOKEN,
)
from tests.unit.secrets.shown import is_one_line, shown_of

Question = Callable[[VaultClient], object]

SILENCE_SECONDS = 0.3  # that the client bears
LIMIT_SECONDS = 20.0  # that a test bears a client which bears more


def read(client: VaultClient) -> Entry:
    return client.read(Secret(TOKEN), mount="secret", path="vocero")


def log_in(client: VaultClient) -> Grant:
    return client.log_in_with_approle("role", Secret(SECRET_ID), mount="approle")


def renew(client: VaultClient) -> Grant:
    return client.renew(Secret(TOKEN))


def look_up(client: VaultClient) -> Grant:
    return client.look_up(Secret(TOKEN))


def look_into(client: VaultClient) -> str:
    return client.creation_path(Secret(WRAPPING_TOKEN))


def unwrap(client: VaultClient) -> Secret:
    return client.unwrap_secret_id(Secret(WRAPPING_TOKEN))


PATHS: dict[Question, str] = {
    read: READING, log_in: LOGIN, renew: RENEWAL, look_up: LOOKUP, look_into: WRAPPING_LOOKUP, unwrap: UNWRAPPING
}  # fmt: skip


def failure_of(client: VaultClient, question: Question) -> SecretsSourceError:
    """What `question` fails with, within the limit; a thread that never comes back ends with its server."""
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            question(client)
        except BaseException as exc:
            failures.append(exc)
        finally:
            done.set()

    threading.Thread(target=ask, daemon=True).start()
    wait_until(done.is_set, LIMIT_SECONDS, "the client")
    assert failures, "it did not fail"
    assert isinstance(failures[0], SecretsSourceError), repr(failures[0])
    return failures[0]


def assert_hides_all(error: SecretsSourceError, caplog: pytest.LogCaptureFixture) -> None:
    assert not canaries_in(shown_of(error) + caplog.text)


def canaries_in(shown: str) -> list[str]:
    return [canary for canary in CANARIES if canary in shown]


def revealed(source: EnvironmentSource | VaultSource) -> dict[SecretName, str]:
    return {name: value.reveal() for name, value in source.read().values.items()}


def reading_failure_of(source: EnvironmentSource | VaultSource) -> SecretsSourceError:
    with pytest.raises(SecretsSourceError) as caught:
        source.read()
    assert is_one_line(str(caught.value))
    assert not canaries_in(shown_of(caught.value))
    return caught.value
