"""What reading from Vault brings, and with which credentials it is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.metrics import FailureCause
from service.secret import SecretName
from service.secrets_sources import EnvironmentSource, VaultSource
from tests.integration.elevenlabs.scripted_upstream import Peer, Request
from tests.unit.secrets.asking import canaries_in, reading_failure_of, revealed
from tests.unit.secrets.scripted_vault import (
    LOGIN,
    LOOKUP,
    OTHER_VALUE,
    READING,
    SECRET_ID,
    TOKEN,
    VALUE,
    WRAPPING_TOKEN,
    Answer,
    ScriptedVault,
    entry,
    grant,
    refusal,
)
from tests.unit.secrets.shown import locals_of

StartVault = Callable[..., ScriptedVault]
MakeSource = Callable[..., EnvironmentSource | VaultSource]
LOOKED_UP: Answer = (200, {"data": {"ttl": 3600, "renewable": True, "expire_time": "2030-01-01T00:00:00Z"}})
KUBERNETES_LOGIN = "auth/kubernetes/login"
ROLE = {"VAULT_ROLE_ID": "role"}
APPROLE = {**ROLE, "VAULT_SECRET_ID": SECRET_ID}
KUBERNETES = {"VAULT_KUBERNETES_ROLE": "vocero"}

ALL_FIELDS = {
    "VAULT_ELEVENLABS_KEY_FIELD": "key",
    "VAULT_DATABASE_PASSWORD_FIELD": "database",
    "VAULT_TICKET_SIGNING_KEY_FIELD": "ticket",
}


def test_all_that_is_configured_is_read_and_nothing_else(source_for: MakeSource, start_vault: StartVault) -> None:
    fields = entry(7, key=VALUE, database="d", ticket="t", other=OTHER_VALUE)
    vault = start_vault({LOOKUP: LOOKED_UP, "team/kv/data/apps/vocero": fields})
    source = source_for(
        VAULT_ADDR=vault.url,
        VAULT_TOKEN=TOKEN,
        VAULT_KV_MOUNT="team/kv",
        VAULT_KV_PATH="apps/vocero",
        VAULT_NAMESPACE="ns",
        **ALL_FIELDS,
    )
    reading = source.read()
    assert reading.version == 7
    assert {name: value.reveal() for name, value in reading.values.items()} == {
        SecretName.ELEVENLABS_API_KEY: VALUE,
        SecretName.DATABASE_PASSWORD: "d",
        SecretName.TICKET_SIGNING_KEY: "t",
    }
    assert {request.headers["x-vault-namespace"] for request in vault.requests} == {"ns"}
    assert source.lease_seconds_left == pytest.approx(3600, abs=60)
    assert source.seconds_to_upkeep < 3600


@pytest.mark.parametrize(
    ("value", "cause", "words"),
    [
        (..., FailureCause.MISSING_FIELD, "is missing"),
        ("", FailureCause.BAD_VALUE, "is empty"),
        (None, FailureCause.BAD_VALUE, "is nothing, not text"),
        (7, FailureCause.BAD_VALUE, "is int, not text"),
        ([OTHER_VALUE], FailureCause.BAD_VALUE, "is list, not text"),
        ({"value": OTHER_VALUE}, FailureCause.BAD_VALUE, "is dict, not text"),
        (f"{OTHER_VALUE}\n", FailureCause.BAD_VALUE, "line break"),
        (OTHER_VALUE * 400, FailureCause.BAD_VALUE, "characters"),
    ],
)
def test_a_field_that_cannot_be_a_secret_is_named_with_its_place_and_version_and_not_shown(
    source_for: MakeSource, start_vault: StartVault, value: object, cause: FailureCause, words: str
) -> None:
    fields = {"elevenlabs_api_key": VALUE} | ({} if value is ... else {"ticket": value})
    vault = start_vault({LOOKUP: LOOKED_UP, READING: entry(12, **fields)})
    source = source_for(VAULT_ADDR=vault.url, VAULT_TOKEN=TOKEN, VAULT_TICKET_SIGNING_KEY_FIELD="ticket")
    error = reading_failure_of(source)
    assert error.cause == cause
    assert words in str(error)
    assert str(error).startswith("Field ticket of secret/vocero (version 12) ")


@pytest.mark.parametrize("fields", [{}, {"ticket": f"{OTHER_VALUE}\n"}])
def test_no_frame_that_a_failed_reading_came_through_holds_a_secret(
    source_for: MakeSource, start_vault: StartVault, fields: dict[str, str]
) -> None:
    vault = start_vault({LOOKUP: LOOKED_UP, READING: entry(12, elevenlabs_api_key=VALUE, **fields)})
    source = source_for(VAULT_ADDR=vault.url, VAULT_TOKEN=TOKEN, VAULT_TICKET_SIGNING_KEY_FIELD="ticket")
    assert not canaries_in(locals_of(reading_failure_of(source)))


def with_tokens(known: list[str], answer: Answer) -> Answer:
    """Serve those who show one of the tokens that are `known` now."""

    def act(peer: Peer, request: Request) -> None:
        is_known = request.headers.get("x-vault-token") in known
        status, document = answer if is_known else refusal(403, "permission denied")  # type: ignore[misc]
        peer.answer(json.dumps(document).encode(), status=f"{status} Scripted", content_type="application/json")

    return act


def test_a_token_that_has_ended_too_early_is_replaced_within_the_same_reading(
    source_for: MakeSource, start_vault: StartVault
) -> None:
    known = ["t1"]
    vault = start_vault(
        {LOGIN: [grant("t1"), grant("t2")], READING: with_tokens(known, entry(elevenlabs_api_key=VALUE))}
    )
    source = source_for(**{**APPROLE, "VAULT_ADDR": vault.url})
    source.read()
    known[:] = ["t2"]
    assert revealed(source) == {SecretName.ELEVENLABS_API_KEY: VALUE}
    assert len(vault.asked(LOGIN)) == 2
    assert [request.headers["x-vault-token"] for request in vault.asked(READING)] == ["t1", "t1", "t2"]


def test_a_policy_that_denies_is_told_after_one_more_login_and_not_before(
    source_for: MakeSource, start_vault: StartVault
) -> None:
    vault = start_vault({LOGIN: [grant("t1"), grant("t2"), grant("t3")], READING: refusal(403, "permission denied")})
    source = source_for(**{**APPROLE, "VAULT_ADDR": vault.url})
    assert reading_failure_of(source).cause == FailureCause.DENIED
    assert (len(vault.asked(LOGIN)), len(vault.asked(READING))) == (2, 2)


@pytest.mark.parametrize("answer", [refusal(503, "Vault is sealed"), refusal(404), refusal(412), refusal(500)])
def test_no_other_failure_costs_the_token(source_for: MakeSource, start_vault: StartVault, answer: Answer) -> None:
    vault = start_vault({LOGIN: grant(), READING: [entry(elevenlabs_api_key=VALUE), answer]})
    source = source_for(**{**APPROLE, "VAULT_ADDR": vault.url})
    source.read()
    for _ in range(3):
        reading_failure_of(source)
    assert len(vault.asked(LOGIN)) == 1


# --- Logging in with what lies in files


def wrong_secret_id_is_refused(good: list[str]) -> Answer:
    def act(peer: Peer, request: Request) -> None:
        is_good = any(f'"{one}"' in request.body.decode() for one in good)
        status, document = grant() if is_good else refusal(400, "invalid role or secret ID")  # type: ignore[misc]
        peer.answer(json.dumps(document).encode(), status=f"{status} Scripted", content_type="application/json")

    return act


def test_the_file_with_the_token_is_read_again_when_the_token_of_before_is_refused(
    source_for: MakeSource, start_vault: StartVault, tmp_path: Path
) -> None:
    path, known = tmp_path / "token", ["t1"]
    vault = start_vault(
        {
            LOOKUP: with_tokens(known, LOOKED_UP),
            READING: with_tokens(known, entry(elevenlabs_api_key=VALUE)),
        }
    )
    path.write_text("t1\n")
    source = source_for(VAULT_ADDR=vault.url, VAULT_TOKEN_FILE=str(path))
    source.read()
    known[:] = ["t2"]
    assert reading_failure_of(source).cause == FailureCause.LOGIN_REFUSED
    path.write_text("t2\n")
    assert revealed(source) == {SecretName.ELEVENLABS_API_KEY: VALUE}


def test_the_files_of_an_approle_are_read_again_at_each_login(
    source_for: MakeSource, start_vault: StartVault, tmp_path: Path
) -> None:
    role, secret_id, good = tmp_path / "role", tmp_path / "secret-id", ["s1"]
    vault = start_vault({LOGIN: wrong_secret_id_is_refused(good), READING: refusal(403)})
    role.write_text("r1\n")
    secret_id.write_text("s1\n")
    source = source_for(VAULT_ADDR=vault.url, VAULT_ROLE_ID_FILE=str(role), VAULT_SECRET_ID_FILE=str(secret_id))
    reading_failure_of(source)
    vault.answers[READING] = entry(elevenlabs_api_key=VALUE)
    good[:] = ["s2"]
    role.write_text("r2")
    secret_id.write_text("  s2\r\n")
    source._keeper.drop()  # type: ignore[union-attr]  # as a token does that has ended
    source.read()
    assert '"r2"' in vault.asked(LOGIN)[-1].body.decode()
    assert '"s2"' in vault.asked(LOGIN)[-1].body.decode()


def test_the_service_accounts_token_is_read_again_at_each_login(
    source_for: MakeSource, start_vault: StartVault, tmp_path: Path
) -> None:
    jwt = tmp_path / "jwt"
    vault = start_vault(
        {KUBERNETES_LOGIN: [grant("t1"), grant("t2")], READING: [refusal(403), entry(elevenlabs_api_key=VALUE)]}
    )
    jwt.write_text(f"{WRAPPING_TOKEN}\n")
    source = source_for(VAULT_ADDR=vault.url, **KUBERNETES, VAULT_KUBERNETES_TOKEN_FILE=str(jwt))
    assert revealed(source) == {SecretName.ELEVENLABS_API_KEY: VALUE}
    bodies = [request.body.decode() for request in vault.asked(KUBERNETES_LOGIN)]
    assert len(bodies) == 2
    assert all('"role": "vocero"' in body and f'"jwt": "{WRAPPING_TOKEN}"' in body for body in bodies)
    assert [request.headers.get("x-vault-token") for request in vault.asked(KUBERNETES_LOGIN)] == [None, None]


FILES = {
    "VAULT_TOKEN_FILE": {},
    "VAULT_SECRET_ID_FILE": ROLE,
    "VAULT_ROLE_ID_FILE": {"VAULT_SECRET_ID": SECRET_ID},
    "VAULT_KUBERNETES_TOKEN_FILE": KUBERNETES,
}


@pytest.mark.parametrize("variable", FILES)
@pytest.mark.parametrize(
    ("content", "cause", "words"),
    [
        (None, FailureCause.LOGIN_REFUSED, "cannot be read (No such file or directory)"),
        (b"", FailureCause.BAD_VALUE, "is empty"),
        (b" \n", FailureCause.BAD_VALUE, "is empty"),
        (TOKEN.encode() * 100_000, FailureCause.BAD_VALUE, "has 65536 characters"),
        (TOKEN.encode() + b"\0\xff\xfe", FailureCause.BAD_VALUE, "another character"),
        (TOKEN.encode() + b"\n" + SECRET_ID.encode(), FailureCause.BAD_VALUE, "line break"),
        (b"\xef\xbb\xbf" + TOKEN.encode(), FailureCause.BAD_VALUE, "another character"),
    ],
    ids=["missing", "empty", "blank", "huge", "binary", "two lines", "byte order mark"],
)
def test_a_file_of_no_use_is_one_line_that_names_the_variable_and_vault_is_not_asked(
    source_for: MakeSource,
    start_vault: StartVault,
    tmp_path: Path,
    variable: str,
    content: bytes | None,
    cause: FailureCause,
    words: str,
) -> None:
    path = tmp_path / "credential"
    if content is not None:
        path.write_bytes(content)
    vault = start_vault()
    error = reading_failure_of(source_for(VAULT_ADDR=vault.url, **FILES[variable], **{variable: str(path)}))
    assert error.cause == cause
    assert words in str(error)
    assert variable in str(error)
    assert vault.requests == []
    path.unlink(missing_ok=True)
    path.mkdir()
    assert "Is a directory" in str(reading_failure_of(source_for()))


@pytest.mark.parametrize(
    ("variable", "others"),
    [("VAULT_TOKEN", {}), ("VAULT_SECRET_ID", ROLE), ("VAULT_ROLE_ID", {"VAULT_SECRET_ID": "x"})],
)
def test_a_credential_with_a_line_break_in_its_variable_is_one_line_that_names_it(
    source_for: MakeSource, start_vault: StartVault, variable: str, others: dict[str, str]
) -> None:
    vault = start_vault()
    error = reading_failure_of(source_for(VAULT_ADDR=vault.url, **others, **{variable: f"{TOKEN}\n"}))
    assert error.cause == FailureCause.BAD_VALUE
    assert str(error).startswith(f"{variable} has a blank, a line break")
    assert vault.requests == []
