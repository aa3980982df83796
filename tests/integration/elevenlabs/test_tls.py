from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import UpstreamConnectError

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_bundle(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def answer_all(peer: Peer) -> None:
    while peer.read_request() is not None:
        peer.answer(b"audio")


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


def test_audio_comes_over_tls_piece_by_piece_from_a_host_whose_authority_is_trusted(
    start_upstream: StartUpstream, start_service: StartService, authority: trustme.CA, ca_bundle: str
) -> None:
    taken = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head(transfer_encoding="chunked")
        peer.chunk(b"first")
        assert taken.wait(WAIT_SECONDS), "the piece was held back"
        peer.chunk(b"second")
        peer.chunk(b"")

    upstream = start_upstream(script, tls=server_context(authority, "localhost"))
    stream = iter(start_service(upstream.url, ca_bundle=ca_bundle).generate_audio("Hello.", voice_id="v1"))
    assert next(stream) == b"first"
    taken.set()
    assert b"".join(stream) == b"second"


@pytest.mark.parametrize(("name", "trusted"), [("localhost", False), ("elsewhere.example", True)])
def test_a_host_that_cannot_prove_its_name_gets_no_request(
    start_upstream: StartUpstream,
    start_service: StartService,
    authority: trustme.CA,
    ca_bundle: str,
    name: str,
    trusted: bool,
) -> None:
    upstream = start_upstream(answer_all, tls=server_context(authority, name))
    with pytest.raises(UpstreamConnectError) as caught:
        speak(start_service(upstream.url, ca_bundle=ca_bundle if trusted else None))
    assert caught.value.code == "tls_failed"
    assert upstream.requests == []


def test_the_environment_neither_replaces_the_authorities_nor_adds_a_proxy(
    start_upstream: StartUpstream,
    start_service: StartService,
    authority: trustme.CA,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "/no/such/file")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    upstream = start_upstream(answer_all, tls=server_context(authority, "localhost"))
    assert speak(start_service(upstream.url, ca_bundle=ca_bundle)) == b"audio"


def test_a_tls_handshake_that_hangs_says_that_nothing_was_sent(
    start_upstream: StartUpstream, start_service: StartService, ca_bundle: str
) -> None:
    upstream = start_upstream(lambda peer: peer.await_hang_up() and None)
    service = start_service(
        upstream.url.replace("http", "https"), ca_bundle=ca_bundle, connect_seconds=0.2, read_seconds=WAIT_SECONDS
    )
    with pytest.raises(UpstreamConnectError) as caught:
        speak(service)
    assert caught.value.code == "connect_timeout"


def test_a_server_that_does_not_speak_tls_says_that_nothing_was_sent(
    start_upstream: StartUpstream, start_service: StartService, ca_bundle: str
) -> None:
    upstream = start_upstream(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(UpstreamConnectError) as caught:
        speak(start_service(upstream.url.replace("http", "https"), ca_bundle=ca_bundle))
    assert caught.value.code == "tls_failed"


def test_one_tls_context_is_made_and_its_authorities_are_read_once_for_all_connections(
    start_upstream: StartUpstream,
    start_service: StartService,
    authority: trustme.CA,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream = start_upstream(answer_all, tls=server_context(authority, "localhost"))
    made: list[int] = []
    loaded: list[int] = []
    make, load = ssl.SSLContext.__new__, ssl.SSLContext.load_verify_locations

    def counting_make(cls: type[ssl.SSLContext], *args: Any, **kwargs: Any) -> ssl.SSLContext:
        made.append(1)
        return make(cls, *args, **kwargs)

    def counting_load(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        loaded.append(1)
        load(self, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "__new__", counting_make)
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counting_load)
    service = start_service(upstream.url, ca_bundle=ca_bundle)
    open_streams = [service.generate_audio("Hello.", voice_id="v1") for _ in range(3)]
    for stream in open_streams:
        assert stream.read_all() == b"audio"
    assert speak(service) == b"audio"
    assert upstream.accepted == 3
    assert (len(made), len(loaded)) == (1, 1)


def test_requests_one_after_the_other_use_one_context_and_one_handshake(
    start_upstream: StartUpstream,
    start_service: StartService,
    authority: trustme.CA,
    ca_bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.head(transfer_encoding="chunked")
            peer.chunk(b"au")
            peer.chunk(b"dio")
            peer.chunk(b"")

    upstream = start_upstream(script, tls=server_context(authority, "localhost"))
    handshakes: list[int] = []
    shake_hands = ssl.SSLSocket.do_handshake

    def counting(self: ssl.SSLSocket, block: bool = False) -> None:
        if not self.server_side:
            handshakes.append(1)
        shake_hands(self, block)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", counting)
    service = start_service(upstream.url, ca_bundle=ca_bundle)
    assert [speak(service) for _ in range(20)] == [b"audio"] * 20
    assert (upstream.accepted, len(handshakes)) == (1, 1)
