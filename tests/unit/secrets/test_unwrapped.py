"""A wrapping token opens once, and every worker gets what was inside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault import login, unwrapped
from service.vault.client import VaultClient
from service.vault.node_memory import NodeMemory
from service.vault.unwrapped import UnwrappedSecretIds
from tests.unit.secrets.scripted_vault import (
    SECRET_ID,
    UNWRAPPING,
    WRAPPING_LOOKUP,
    WRAPPING_TOKEN,
    Answer,
    ScriptedVault,
    refusal,
    text,
)

RunWorkers = Callable[[str], dict[str, Any]]
StartVault = Callable[..., ScriptedVault]
MakeClient = Callable[..., VaultClient]

USED = refusal(400, "wrapping token is not valid or does not exist")
GOOD_PATH: Answer = (200, {"data": {"creation_path": "auth/approle/role/vocero/secret-id"}})
INSIDE: Answer = (200, {"data": {"secret_id": SECRET_ID, "secret_id_accessor": "x"}})


@pytest.fixture
def memory() -> Iterator[NodeMemory]:
    memory = NodeMemory()
    yield memory
    memory.close()


@pytest.fixture
def kept(memory: NodeMemory) -> UnwrappedSecretIds:
    return UnwrappedSecretIds(memory)


# --- Processes


def test_eight_workers_unwrap_once(run_workers: RunWorkers) -> None:
    assert run_workers("all_at_once") == {"found": [SECRET_ID] * 8, "codes": [0] * 8, "unwrapped": 1}


def test_a_worker_that_is_killed_while_it_unwraps_lets_the_next_one_in(run_workers: RunWorkers) -> None:
    assert run_workers("killed") == {"found": SECRET_ID, "codes": [-9, 0]}


def test_a_worker_that_comes_later_finds_what_was_unwrapped(run_workers: RunWorkers) -> None:
    assert run_workers("later") == {"heard": ["unwrapped", *[SECRET_ID] * 3], "codes": [0] * 3}


def test_what_one_worker_was_refused_is_asked_by_no_other_until_there_is_a_new_token(run_workers: RunWorkers) -> None:
    refused = "wrap_used: Somebody else has used it."
    assert run_workers("refused") == {"heard": ["asked", *[refused] * 3, "s2"], "codes": [0] * 4}


# --- One process


class Unwrap:
    """Raises or returns what it is told to."""

    def __init__(self, *answers: Secret | SecretsSourceError) -> None:
        self._answers = list(answers)
        self.asked: list[Secret] = []

    def __call__(self, token: Secret) -> Secret:
        self.asked.append(token)
        answer = self._answers.pop(0)
        if isinstance(answer, SecretsSourceError):
            raise answer
        return answer


def test_one_token_is_unwrapped_once_and_the_next_one_takes_its_place(kept: UnwrappedSecretIds) -> None:
    unwrap = Unwrap(Secret("one"), Secret("two"), Secret("one again"))
    first, second = Secret("first"), Secret("second")
    assert [kept.secret_id(token, unwrap).reveal() for token in (first, first, second, second)] == [
        "one", "one", "two", "two"
    ]  # fmt: skip
    assert unwrap.asked == [first, second]


def test_only_a_refusal_is_remembered(kept: UnwrappedSecretIds) -> None:
    away = SecretsSourceError("Vault cannot be reached.", cause=FailureCause.UNREACHABLE)
    unwrap = Unwrap(away, away, Secret("one"))
    for _ in range(2):
        with pytest.raises(SecretsSourceError, match="cannot be reached"):
            kept.secret_id(Secret("token"), unwrap)
    assert kept.secret_id(Secret("token"), unwrap).reveal() == "one"


def test_the_wrapping_token_itself_is_not_kept(kept: UnwrappedSecretIds, memory: NodeMemory) -> None:
    kept.secret_id(Secret(WRAPPING_TOKEN), Unwrap(Secret("one")))
    assert WRAPPING_TOKEN.encode() not in memory.read()
    assert json.loads(memory.read())["secret_id"] == "one"


def test_a_worker_that_never_lets_go_is_one_line(
    kept: UnwrappedSecretIds, memory: NodeMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwrapped, "LOCK_SECONDS", 0.05)
    with memory.held(1.0), pytest.raises(SecretsSourceError, match=r"did not finish .* within 0\.05 s") as caught:
        kept.secret_id(Secret("token"), Unwrap())
    assert caught.value.cause == FailureCause.TIMEOUT


# --- At Vault


def test_a_wrapped_secret_id_is_looked_at_before_it_is_unwrapped(
    start_vault: StartVault, make_client: MakeClient, kept: UnwrappedSecretIds
) -> None:
    vault = start_vault({WRAPPING_LOOKUP: GOOD_PATH, UNWRAPPING: INSIDE})
    client = make_client(vault.url)
    secret_id = login.wrapped_secret_id(lambda: Secret(WRAPPING_TOKEN), kept, mount="approle")
    with capture_logs() as logs:
        assert [secret_id(client).reveal() for _ in range(3)] == [SECRET_ID] * 3
    assert [request.target for request in vault.requests] == [f"/v1/{WRAPPING_LOOKUP}", f"/v1/{UNWRAPPING}"]
    assert logs == []


@pytest.mark.parametrize(
    "path",
    [
        "sys/wrapping/wrap",
        "secret/data/vocero",
        "auth/other/role/vocero/secret-id",
        "auth/approle/role/vocero/role-id",
        "auth/approle/login",
        "",
        # Whoever may write to any KV engine can make these (tried with OpenBao), and put in a secret id of his own.
        "secret/data/auth/approle/role/vocero/secret-id",
        "evil/auth/approle/role/vocero/secret-id",
        "auth/approle/role/vocero/secret-id/lookup",
    ],
)
def test_a_wrapping_token_that_was_exchanged_is_not_unwrapped_and_is_a_security_event(
    start_vault: StartVault, make_client: MakeClient, kept: UnwrappedSecretIds, path: str
) -> None:
    vault = start_vault({WRAPPING_LOOKUP: (200, {"data": {"creation_path": path}}), UNWRAPPING: INSIDE})
    secret_id = login.wrapped_secret_id(lambda: Secret(WRAPPING_TOKEN), kept, mount="approle")
    client = make_client(vault.url)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(SecretsSourceError) as caught:
                secret_id(client)
    assert caught.value.cause == FailureCause.WRAP_USED
    assert len(vault.requests) == 1
    assert [line.get("security_event") for line in logs] == [True]


@pytest.mark.parametrize("answers", [{WRAPPING_LOOKUP: USED}, {WRAPPING_LOOKUP: GOOD_PATH, UNWRAPPING: USED}])
def test_a_wrapping_token_that_was_used_is_one_security_event_without_the_token(
    start_vault: StartVault, make_client: MakeClient, kept: UnwrappedSecretIds, answers: dict[str, Answer]
) -> None:
    vault = start_vault(answers)
    secret_id = login.wrapped_secret_id(lambda: Secret(WRAPPING_TOKEN), kept, mount="approle")
    client = make_client(vault.url)
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(SecretsSourceError, match="somebody else"):
                secret_id(client)
    assert len(vault.requests) == len(answers)
    assert [(line["log_level"], line.get("security_event")) for line in logs] == [("warning", True)]
    assert WRAPPING_TOKEN not in repr(logs)


def test_a_new_wrapping_token_in_the_file_mends_it(
    start_vault: StartVault, make_client: MakeClient, kept: UnwrappedSecretIds
) -> None:
    vault = start_vault({WRAPPING_LOOKUP: [USED, GOOD_PATH], UNWRAPPING: INSIDE})
    tokens = iter(["old", "old", "new", "new"])
    secret_id = login.wrapped_secret_id(lambda: Secret(next(tokens)), kept, mount="approle")
    client = make_client(vault.url)
    for _ in range(2):
        with pytest.raises(SecretsSourceError):
            secret_id(client)
    assert [secret_id(client).reveal() for _ in range(2)] == [SECRET_ID] * 2


def test_a_proxys_page_is_neither_a_security_event_nor_remembered(
    start_vault: StartVault, make_client: MakeClient, kept: UnwrappedSecretIds
) -> None:
    vault = start_vault({WRAPPING_LOOKUP: [text(404, b"default backend"), GOOD_PATH], UNWRAPPING: INSIDE})
    secret_id = login.wrapped_secret_id(lambda: Secret(WRAPPING_TOKEN), kept, mount="approle")
    client = make_client(vault.url)
    with capture_logs() as logs, pytest.raises(SecretsSourceError):
        secret_id(client)
    assert logs == []
    assert secret_id(client).reveal() == SECRET_ID
