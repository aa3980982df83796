"""Whom we take for Vault: TLS, names, addresses."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from service.metrics import FailureCause
from service.vault.client import VaultClient
from tests.integration.elevenlabs.scripted_upstream import Peer, ScriptedUpstream
from tests.unit.secrets.asking import SILENCE_SECONDS, assert_hides_all, failure_of, read
from tests.unit.secrets.scripted_vault import READING, VALUE, ScriptedVault, entry
from tests.unit.secrets.shown import is_one_line

StartVault = Callable[..., ScriptedVault]
StartUpstream = Callable[..., ScriptedUpstream]
MakeClient = Callable[..., VaultClient]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_context(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_vault_is_read_over_tls_if_its_authority_is_trusted(
    start_vault: StartVault, make_client: MakeClient, authority: trustme.CA, ca_file: Path
) -> None:
    vault = start_vault({READING: entry(elevenlabs_api_key=VALUE)}, tls=server_context(authority))
    assert read(make_client(vault.url, ca_file=ca_file)).fields == {"elevenlabs_api_key": VALUE}


@pytest.mark.parametrize(
    ("name", "authority_is_ours", "words"),
    [
        ("localhost", False, "unable to get local issuer certificate"),
        ("elsewhere.example", True, "not valid for 'localhost'"),
    ],
)
def test_a_vault_that_cannot_prove_its_name_gets_no_request(
    start_vault: StartVault,
    make_client: MakeClient,
    authority: trustme.CA,
    ca_file: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    authority_is_ours: bool,
    words: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    issuer = authority if authority_is_ours else trustme.CA()
    vault = start_vault({}, tls=server_context(issuer, name))
    error = failure_of(make_client(vault.url, ca_file=ca_file), read)
    assert error.cause == FailureCause.TLS
    assert words in str(error)
    assert "VAULT_CACERT" in str(error)
    assert is_one_line(str(error))
    assert_hides_all(error, caplog)
    assert vault.requests == []


def test_the_environment_does_not_replace_the_authorities(
    start_vault: StartVault,
    make_client: MakeClient,
    authority: trustme.CA,
    ca_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither does it take ours away, nor add one of its own."""
    vault = start_vault({READING: entry()}, tls=server_context(authority))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "/no/such/file")
    read(make_client(vault.url, ca_file=ca_file))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(ca_file))
    assert failure_of(make_client(vault.url), read).cause == FailureCause.TLS


def test_tls_to_a_port_without_it_says_so(start_upstream: StartUpstream, make_client: MakeClient) -> None:
    """No certificate was seen, so none can be distrusted: whoever looks at VAULT_CACERT looks at the wrong place."""

    def refuse(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.await_hang_up()

    error = failure_of(make_client(start_upstream(refuse).url.replace("http:", "https:")), read)
    assert error.cause == FailureCause.TLS
    assert is_one_line(str(error))
    assert "VAULT_ADDR" in str(error)
    assert "certificate" not in str(error)


def test_a_tls_handshake_that_hangs_is_silence(start_upstream: StartUpstream, make_client: MakeClient) -> None:
    upstream = start_upstream(lambda peer: peer.await_hang_up() and None)
    client = make_client(upstream.url.replace("http:", "https:"), seconds=SILENCE_SECONDS)
    assert failure_of(client, read).cause == FailureCause.TIMEOUT


def test_plain_http_to_a_port_with_tls_is_unreachable(
    start_vault: StartVault, make_client: MakeClient, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    vault = start_vault({}, tls=server_context(authority))
    error = failure_of(make_client(vault.url.replace("https:", "http:")), read)
    assert error.cause == FailureCause.UNREACHABLE
    assert is_one_line(str(error))
    assert_hides_all(error, caplog)


def test_a_port_that_nobody_listens_on_is_unreachable(start_vault: StartVault, make_client: MakeClient) -> None:
    with ScriptedVault({}) as vault:
        url = vault.url
    error = failure_of(make_client(url), read)
    assert error.cause == FailureCause.UNREACHABLE
    assert "Connection refused" in str(error)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "localhost:99999", "[::1", "ümlaut.invalid"])
def test_an_address_that_leads_nowhere_is_a_wrong_vault_addr(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    error = failure_of(make_client(f"http://{host}"), read)
    assert error.cause == FailureCause.UNREACHABLE
    assert "VAULT_ADDR" in str(error)
    assert is_one_line(str(error))
    assert_hides_all(error, caplog)


def test_an_unchecked_certificate_serves_if_the_operator_says_so_and_is_warned_of_once(
    start_vault: StartVault, make_client: MakeClient, authority: trustme.CA
) -> None:
    vault = start_vault({READING: entry(4)}, tls=server_context(authority, "elsewhere.example"))
    with capture_logs() as logs:
        client = make_client(vault.url, verify=False)
        assert [read(client).version, read(client).version] == [4, 4]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["Vault's certificate is not checked"]


def test_what_is_unchecked_for_one_vault_is_checked_for_another(
    start_vault: StartVault, make_client: MakeClient, authority: trustme.CA
) -> None:
    vault = start_vault({READING: entry(4)}, tls=server_context(authority))
    read(make_client(vault.url, verify=False))
    assert failure_of(make_client(vault.url), read).cause == FailureCause.TLS
