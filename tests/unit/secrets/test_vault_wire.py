"""What becomes of everything that a Vault, or what stands in its place, can answer: one cause and one line each."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault.client import Entry, Grant, VaultClient
from service.vault.session import MAX_ANSWER_BYTES
from tests.integration.elevenlabs.scripted_upstream import Peer, Request, ScriptedUpstream
from tests.unit.secrets import scripted_vault
from tests.unit.secrets.asking import (
    LIMIT_SECONDS,
    PATHS,
    SILENCE_SECONDS,
    Question,
    assert_hides_all,
    canaries_in,
    failure_of,
    log_in,
    look_into,
    look_up,
    read,
    renew,
    unwrap,
)
from tests.unit.secrets.scripted_vault import (
    HEALTH,
    LOGIN,
    LOOKUP,
    OTHER_VALUE,
    READING,
    RENEWAL,
    SECRET_ID,
    TOKEN,
    UNWRAPPING,
    VALUE,
    WRAPPING_LOOKUP,
    Answer,
    ScriptedVault,
    entry,
    grant,
    refusal,
    text,
)
from tests.unit.secrets.shown import is_one_line, locals_of

StartVault = Callable[..., ScriptedVault]
StartUpstream = Callable[..., ScriptedUpstream]
MakeClient = Callable[..., VaultClient]


@dataclass(frozen=True)
class Case:
    """`words` are in the message."""

    name: str
    answers: dict[str, Answer | list[Answer]]
    cause: FailureCause
    words: str
    question: Question = read

    @property
    def seconds(self) -> float:
        """That the client bears: little where that is what it is about, else so much that a busy machine is no case."""
        return SILENCE_SECONDS if self.cause == FailureCause.TIMEOUT or "hang" in self.name else LIMIT_SECONDS / 4


def deleted(*, version: int = 2, **metadata: Any) -> Answer:
    return 404, {"data": {"data": None, "metadata": {"version": version, **metadata}}}


def echo(status: int) -> Answer:
    """A debugging proxy: answers with what it got."""

    def act(peer: Peer, request: Request) -> None:
        token = request.headers.get("x-vault-token", "")
        document = {"errors": [f"you sent {token} and\r\n\x1b[31m{request.body.decode()}"]}
        peer.answer(json.dumps(document).encode(), status=scripted_vault.status_line(status))

    return act


SEALED = refusal(503, "Vault is sealed")
STANDBY_WORDS = "standby"
NOT_VALID = "wrapping token is not valid or does not exist"

READINGS = [
    # --- What Vault's states look like
    Case("sealed", {READING: SEALED, HEALTH: SEALED}, FailureCause.SEALED, "unseal it"),
    Case("not initialised", {READING: SEALED, HEALTH: (501, {})}, FailureCause.NOT_INITIALIZED, "operator init"),
    Case("not initialised, said at once", {READING: refusal(501)}, FailureCause.NOT_INITIALIZED, "operator init"),
    Case("disaster secondary", {READING: SEALED, HEALTH: (472, {})}, FailureCause.STANDBY, "disaster-recovery"),
    Case("disaster secondary, said at once", {READING: refusal(472)}, FailureCause.STANDBY, "disaster-recovery"),
    Case("performance standby", {READING: SEALED, HEALTH: (473, {})}, FailureCause.STANDBY, "performance standby"),
    Case("performance standby, said at once", {READING: refusal(473)}, FailureCause.STANDBY, "performance standby"),
    Case("standby", {READING: SEALED, HEALTH: (429, {})}, FailureCause.STANDBY, STANDBY_WORDS),
    Case("standby that answers 500", {READING: refusal(500), HEALTH: (429, {})}, FailureCause.STANDBY, STANDBY_WORDS),
    Case("sealed behind a proxy", {READING: text(502, b"<html>"), HEALTH: SEALED}, FailureCause.SEALED, "unseal it"),
    Case("rate limit", {READING: refusal(429, "quota"), HEALTH: (200, {})}, FailureCause.THROTTLED, "limits how often"),
    Case("behind the others", {READING: refusal(412)}, FailureCause.SERVER_ERROR, "has not caught up"),
    Case("internal error", {READING: refusal(500, "disk full")}, FailureCause.SERVER_ERROR, "disk full"),
    # A page of a load balancer, whose Vaults are well: to unseal them would help nobody.
    Case("no backend", {READING: text(503, b"<html>")}, FailureCause.SERVER_ERROR, "503"),
    Case(
        "no backend for health either",
        {READING: text(503, b"<html>"), HEALTH: text(503, b"<html>")},
        FailureCause.SERVER_ERROR,
        "503",
    ),
    Case("standby without a leader", {READING: SEALED, HEALTH: (474, {})}, FailureCause.STANDBY, STANDBY_WORDS),
    Case("removed from the cluster", {READING: refusal(500), HEALTH: (530, {})}, FailureCause.SERVER_ERROR, "serve"),
    # --- Health is of no help
    Case("health hangs", {READING: SEALED, HEALTH: scripted_vault.hang}, FailureCause.SEALED, "unseal it"),
    Case("health hangs up", {READING: SEALED, HEALTH: scripted_vault.hang_up}, FailureCause.SEALED, "unseal it"),
    Case("health floods", {READING: SEALED, HEALTH: scripted_vault.flood}, FailureCause.SEALED, "unseal it"),
    Case("health is a page", {READING: refusal(500), HEALTH: text(200, b"<html>")}, FailureCause.SERVER_ERROR, "500"),
    Case("health is a list", {READING: refusal(500), HEALTH: (200, [1])}, FailureCause.SERVER_ERROR, "500"),
    Case("health is not there", {READING: refusal(500), HEALTH: refusal(404)}, FailureCause.SERVER_ERROR, "500"),
    # --- Mount, path, policy
    Case("denied", {READING: refusal(403, "permission denied")}, FailureCause.DENIED, "policy must allow"),
    Case("nothing there", {READING: (404, {"errors": []})}, FailureCause.WRONG_PATH, "VAULT_KV_PATH"),
    Case("no document", {READING: text(404, b"")}, FailureCause.WRONG_PATH, "VAULT_KV_PATH"),
    Case("wrong method", {READING: refusal(405, "unsupported operation")}, FailureCause.WRONG_PATH, "VAULT_KV_MOUNT"),
    Case("deleted", {READING: deleted(deletion_time="2026-01-01T00:00:00Z", destroyed=False)},
         FailureCause.DELETED, "undelete"),
    Case("destroyed", {READING: deleted(deletion_time="", destroyed=True)}, FailureCause.DELETED, "was deleted"),
    Case("deleted with a 200", {READING: (200, {"data": {"data": None, "metadata": {"version": 2}}})},
         FailureCause.DELETED, "was deleted"),
    Case("version 1", {READING: (200, {"data": {"elevenlabs_api_key": VALUE}})},
         FailureCause.WRONG_PATH, "version 2; check VAULT_KV_MOUNT"),
    Case("redirection", {READING: text(307, b"", location="http://127.0.0.1:9/v1/secret/data/vocero")},
         FailureCause.STANDBY, "set VAULT_ADDR to where it leads"),
    # --- Answers that are none of Vault's
    Case("a page", {READING: text(200, b"<html>Log in to the guests' network</html>")}, FailureCause.BAD_ANSWER, "200"),
    Case("a list", {READING: (200, [VALUE])}, FailureCause.BAD_ANSWER, "reading the secrets"),
    Case("a text", {READING: (200, VALUE)}, FailureCause.BAD_ANSWER, "reading the secrets"),
    Case("null", {READING: (200, None)}, FailureCause.BAD_ANSWER, "reading the secrets"),
    Case("endless brackets", {READING: text(200, b"[" * 900_000)}, FailureCause.BAD_ANSWER, "reading the secrets"),
    Case("no version", {READING: (200, {"data": {"data": {"key": VALUE}, "metadata": {"version": "three"}}})},
         FailureCause.WRONG_PATH, "version 2"),
    Case("nothing at all", {READING: text(204, b"")}, FailureCause.BAD_ANSWER, "204"),
    Case("an echo", {READING: echo(400)}, FailureCause.BAD_ANSWER, "[hidden]"),
    # --- The wire
    Case("silence", {READING: scripted_vault.hang}, FailureCause.TIMEOUT, "silent for 0.3 s"),
    Case("silence after the head", {READING: scripted_vault.hang_after_the_head}, FailureCause.TIMEOUT, "0.3 s"),
    Case("a body that drips", {READING: scripted_vault.drip_the_body}, FailureCause.TIMEOUT, "0.3 s"),
    Case("a body that drips in chunks", {READING: scripted_vault.drip_in_chunks}, FailureCause.TIMEOUT, "0.3 s"),
    Case("a head that drips", {READING: scripted_vault.drip_the_head}, FailureCause.TIMEOUT, "0.3 s"),
    Case("a redirection that drips", {READING: scripted_vault.drip_a_redirection}, FailureCause.TIMEOUT, "0.3 s"),
    Case("a flood", {READING: scripted_vault.flood}, FailureCause.BAD_VALUE, str(MAX_ANSWER_BYTES)),
    Case("a redirection that floods", {READING: scripted_vault.flood_a_redirection},
         FailureCause.BAD_VALUE, str(MAX_ANSWER_BYTES)),
    Case("5 MB of a value", {READING: entry(elevenlabs_api_key=VALUE * 200_000)},
         FailureCause.BAD_VALUE, str(MAX_ANSWER_BYTES)),
    Case("reset", {READING: scripted_vault.reset}, FailureCause.UNREACHABLE, "cannot be reached"),
    Case("hung up", {READING: scripted_vault.hang_up}, FailureCause.UNREACHABLE, "cannot be reached"),
    Case("broken off", {READING: scripted_vault.break_off}, FailureCause.BAD_ANSWER, "makes no sense"),
]  # fmt: skip


OTHERS = [
    (log_in, "wrong secret id", refusal(400, "invalid role or secret ID"), FailureCause.LOGIN_REFUSED, "invalid role"),
    (log_in, "denied", refusal(403, "permission denied"), FailureCause.LOGIN_REFUSED, "auth/approle (403)"),
    (log_in, "no such mount", refusal(404, "no handler for route"), FailureCause.LOGIN_REFUSED, "auth/approle (404)"),
    (log_in, "sealed", SEALED, FailureCause.SEALED, "unseal it"),
    (log_in, "rate limit", refusal(429, "quota"), FailureCause.THROTTLED, "limits how often"),
    (log_in, "behind the others", refusal(412), FailureCause.SERVER_ERROR, "has not caught up"),
    (log_in, "an echo", echo(400), FailureCause.LOGIN_REFUSED, "[hidden]"),
    (log_in, "redirection", text(307, b"", location="http://127.0.0.1:9/"), FailureCause.STANDBY, "set VAULT_ADDR"),
    (log_in, "no grant", (200, {"auth": None}), FailureCause.BAD_ANSWER, "logging in makes no sense"),
    (log_in, "no lease", (200, {"auth": {"client_token": TOKEN, "renewable": True}}),
     FailureCause.BAD_ANSWER, "makes no sense"),
    (log_in, "a token of two lines", grant("has\nline"), FailureCause.BAD_VALUE, "line break"),
    (log_in, "a list", (200, []), FailureCause.BAD_ANSWER, "logging in"),
    # What a Vault with TLS answers to plain http, and what a proxy says: none of it is Vault's word on our secret id.
    (log_in, "http to https", text(400, b"Client sent an HTTP request to an HTTPS server.\n"),
     FailureCause.BAD_ANSWER, "400"),
    (log_in, "a proxy's no", text(403, b"<html>"), FailureCause.BAD_ANSWER, "403"),
    (log_in, "silence", scripted_vault.hang, FailureCause.TIMEOUT, "logging in"),
    (renew, "denied", refusal(403, "permission denied"), FailureCause.DENIED, "renewing our token"),
    (renew, "at its greatest age", refusal(500, "past the max TTL, cannot renew"),
     FailureCause.SERVER_ERROR, "past the max TTL"),
    (renew, "no grant", (200, {"auth": {}}), FailureCause.BAD_ANSWER, "renewing our token makes no sense"),
    (look_up, "denied", refusal(403, "permission denied"), FailureCause.LOGIN_REFUSED, "auth/token (403)"),
    (look_up, "no lease", (200, {"data": {}}), FailureCause.BAD_ANSWER, "makes no sense"),
    (look_into, "used", refusal(400, NOT_VALID), FailureCause.WRAP_USED, "somebody else"),
    (look_into, "no path", (200, {"data": None}), FailureCause.BAD_ANSWER, "makes no sense"),
    (look_into, "sealed", SEALED, FailureCause.SEALED, "unseal it"),
    (unwrap, "used", refusal(400, NOT_VALID), FailureCause.WRAP_USED, "somebody else"),
    (unwrap, "something else", (200, {"data": {"other": OTHER_VALUE}}), FailureCause.BAD_ANSWER, "makes no sense"),
    (unwrap, "an empty one", (200, {"data": {"secret_id": ""}}), FailureCause.BAD_VALUE, "is empty"),
    (unwrap, "a list of one", (200, {"data": {"secret_id": [OTHER_VALUE]}}),
     FailureCause.BAD_VALUE, "is list, not text"),
    (unwrap, "reset", scripted_vault.reset, FailureCause.UNREACHABLE, "cannot be reached"),
]  # fmt: skip
CASES = [
    *READINGS,
    *(
        Case(f"{question.__name__}: {name}", {PATHS[question]: answer}, cause, words, question)
        for question, name, answer, cause, words in OTHERS
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_a_question_ends_with_has_one_cause_and_one_line_without_any_secret(
    start_vault: StartVault, make_client: MakeClient, caplog: pytest.LogCaptureFixture, case: Case
) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_client(start_vault(case.answers).url, seconds=case.seconds)
    with capture_logs() as logs:
        error = failure_of(client, case.question)
    assert error.cause == case.cause, str(error)
    assert case.words in str(error)
    assert is_one_line(str(error)), str(error)
    assert_hides_all(error, caplog)
    assert not canaries_in(repr(logs))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_frame_that_an_error_came_through_holds_a_secret(
    start_vault: StartVault, make_client: MakeClient, case: Case
) -> None:
    """Reporters of crashes show the locals, and whoever keeps the error keeps them alive."""
    client = make_client(start_vault(case.answers).url, seconds=case.seconds)
    assert not canaries_in(locals_of(failure_of(client, case.question)))


@pytest.mark.parametrize(
    "answer",
    [
        text(400, b"Client sent an HTTP request to an HTTPS server.\n"),
        text(403, b"<html>"),
        text(404, b"default backend - 404"),
        refusal(404, "namespace not found"),
        refusal(405, "unsupported operation"),
    ],
    ids=["http to https", "a proxy's no", "a proxy's page", "no such namespace", "no such method"],
)
@pytest.mark.parametrize("question", [look_into, unwrap])
def test_only_vaults_own_word_that_a_wrapping_token_is_no_good_is_a_security_event(
    start_vault: StartVault, make_client: MakeClient, question: Question, answer: Answer
) -> None:
    """It is remembered for the token's sake, and wakes somebody up: a proxy's page must not do that."""
    error = failure_of(make_client(start_vault({PATHS[question]: answer}).url), question)
    assert error.cause != FailureCause.WRAP_USED


def test_what_vault_says_well_is_understood(start_vault: StartVault, make_client: MakeClient) -> None:
    vault = start_vault(
        {
            READING: entry(7, elevenlabs_api_key=VALUE),
            LOGIN: grant(lease=4),
            RENEWAL: grant(lease=3, renewable=False),
            LOOKUP: (200, {"data": {"ttl": 30, "renewable": True, "expire_time": "2026-01-01T00:00:00Z"}}),
            WRAPPING_LOOKUP: (200, {"data": {"creation_path": "auth/approle/role/vocero/secret-id"}}),
            UNWRAPPING: (200, {"data": {"secret_id": SECRET_ID}}),
        }
    )
    client = make_client(vault.url)
    assert read(client) == Entry({"elevenlabs_api_key": VALUE}, 7)
    assert log_in(client) == Grant(Secret(TOKEN), 4.0, is_renewable=True)
    assert renew(client) == Grant(Secret(TOKEN), 3.0, is_renewable=False)
    assert look_up(client) == Grant(Secret(TOKEN), 30.0, is_renewable=True)
    assert look_into(client) == "auth/approle/role/vocero/secret-id"
    assert unwrap(client) == Secret(SECRET_ID)
    assert vault.accepted == 1, "one connection serves them all"


def test_a_token_in_its_last_second_is_none_that_never_ends(start_vault: StartVault, make_client: MakeClient) -> None:
    """Vault counts whole seconds: it says 0 of both, and tells them apart by `expire_time` (seen with OpenBao)."""
    about_to_end = {"ttl": 0, "renewable": True, "expire_time": "2026-11-25T17:50:52.995803997Z"}
    endless = {"ttl": 0, "renewable": False, "expire_time": None}
    client = make_client(start_vault({LOOKUP: [(200, {"data": about_to_end}), (200, {"data": endless})]}).url)
    try:
        assert look_up(client).lease_seconds > 0
    except SecretsSourceError as exc:
        assert exc.cause == FailureCause.LOGIN_REFUSED
    assert look_up(client).lease_seconds == 0


# --- What we send, and to whom


def test_the_token_goes_where_it_must_and_nowhere_else(start_vault: StartVault, make_client: MakeClient) -> None:
    vault = start_vault({READING: SEALED, HEALTH: SEALED, LOGIN: grant(), UNWRAPPING: SEALED})
    client = make_client(vault.url)
    failure_of(client, read)
    log_in(client)
    failure_of(client, unwrap)
    sent = {
        path: [request.headers.get("x-vault-token") for request in vault.asked(path)]
        for path in (READING, LOGIN, HEALTH)
    }
    assert sent == {READING: [TOKEN], LOGIN: [None], HEALTH: [None, None]}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("question", [read, log_in, renew, look_up, look_into, unwrap])
def test_nothing_follows_a_redirection(
    start_vault: StartVault, make_client: MakeClient, question: Question, status: int
) -> None:
    elsewhere = start_vault()
    vault = start_vault({PATHS[question]: text(status, b"", location=f"{elsewhere.url}/v1/{PATHS[question]}")})
    assert failure_of(make_client(vault.url), question).cause == FailureCause.STANDBY
    assert elsewhere.accepted == 0
    assert len(vault.requests) == 1


@pytest.mark.parametrize("question", [log_in, look_into])
def test_a_token_that_lies_about_is_never_sent(
    start_vault: StartVault,
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    question: Question,
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", OTHER_VALUE)
    (tmp_path / ".vault-token").write_text(OTHER_VALUE)
    vault = start_vault({PATHS[question]: SEALED, HEALTH: SEALED})
    failure_of(make_client(vault.url), question)
    assert [request.target for request in vault.requests] == [f"/v1/{PATHS[question]}", f"/v1/{HEALTH}"]
    assert OTHER_VALUE not in repr(vault.requests)


def test_the_environment_adds_no_proxy_and_no_password_of_a_netrc(
    start_vault: StartVault, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text(f"machine localhost login somebody password {OTHER_VALUE}")
    vault = start_vault({READING: entry(elevenlabs_api_key=VALUE)})
    read(make_client(vault.url))
    assert "authorization" not in vault.requests[0].headers


def test_the_namespace_is_named_everywhere_but_where_no_namespace_is_served(
    start_vault: StartVault, make_client: MakeClient
) -> None:
    """OpenBao answers `sys/health` in a namespace with 400 "operation unavailable in namespaces" (seen)."""
    vault = start_vault({READING: SEALED, LOGIN: grant(), HEALTH: (429, {})})
    client = make_client(vault.url, namespace="team/voice")
    log_in(client)
    assert failure_of(client, read).cause == FailureCause.STANDBY
    namespaces = [vault.asked(path)[0].headers.get("x-vault-namespace") for path in (LOGIN, READING, HEALTH)]
    assert namespaces == ["team/voice", "team/voice", None]


def test_no_question_is_asked_twice(start_vault: StartVault, make_client: MakeClient) -> None:
    for answer in (refusal(412), refusal(500), scripted_vault.hang_up, scripted_vault.hang):
        vault = start_vault({READING: answer})
        failure_of(make_client(vault.url, seconds=SILENCE_SECONDS), read)
        assert len(vault.asked(READING)) == 1


def test_a_connection_that_vault_has_ended_meanwhile_is_made_anew(
    start_vault: StartVault, make_client: MakeClient
) -> None:
    ended = threading.Event()

    def answer_and_leave(peer: Peer, request: Request) -> None:
        peer.answer(json.dumps({"data": {"data": {}, "metadata": {"version": 1}}}).encode())
        peer.sock.close()
        ended.set()

    vault = start_vault({READING: [answer_and_leave, entry(2)]})
    client = make_client(vault.url)
    read(client)
    assert ended.wait(LIMIT_SECONDS)
    assert read(client).version == 2
    assert vault.accepted == 2


@pytest.mark.parametrize("act", [scripted_vault.flood, scripted_vault.flood_a_redirection])
def test_no_more_is_read_than_an_answer_of_vaults_can_have(
    start_vault: StartVault, make_client: MakeClient, act: scripted_vault.Act
) -> None:
    poured: list[bool] = []

    def pour(peer: Peer, request: Request) -> None:
        act(peer, request)
        poured.append(True)

    with ScriptedVault({READING: pour}) as vault:
        failure_of(make_client(vault.url), read)
    assert not poured


# --- What stays behind


def test_the_fields_of_an_entry_show_nothing_of_their_values() -> None:
    """A traceback with locals, a debugger's window and a careless log line show `repr`."""
    assert VALUE not in repr(Entry({"elevenlabs_api_key": VALUE}, 3))
