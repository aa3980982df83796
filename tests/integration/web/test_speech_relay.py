"""Speech through the running service, from an upstream that does byte by byte what a test says."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
import requests

from tests import servers
from tests.integration.elevenlabs.scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

PATH = "/v1/text-to-speech/v1/stream"
BODY = b'{"text":"Hello."}'

ENDS = object()
"""What a script returns that ends its connection."""

Script = Callable[[Peer], object]


class Stage:
    """The service of this module before an upstream whose script each test sets."""

    def __init__(self) -> None:
        self.script: Script
        self.upstream = ScriptedUpstream(self._serve)
        self.service: servers.RunningService

    def _serve(self, peer: Peer) -> None:
        while peer.read_request() is not None:
            # Of this test's: the connection may be a former one's.
            if self.script(peer) is ENDS:
                return

    def post(self, session: requests.Session | None = None, path: str = PATH, **headers: str) -> requests.Response:
        given = {"xi-api-key": self.service.api_key, "content-type": "application/json", **headers}
        ask = session or requests
        return ask.post(self.service.url + path, data=BODY, headers=given, timeout=WAIT_SECONDS, stream=True)

    @contextmanager
    def asked(self, version: str = "1.1") -> Iterator[socket.socket]:
        """A raw connection on which a speech request was sent."""
        head = (
            f"POST {PATH} HTTP/{version}\r\nhost: 127.0.0.1\r\nxi-api-key: {self.service.api_key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=WAIT_SECONDS) as client:
            client.sendall(head.encode() + BODY)
            yield client


@pytest.fixture(scope="module")
def running(tmp_path_factory, valkey, database_url, api_key) -> Iterator[Stage]:
    stage = Stage()
    with ExitStack() as stack:
        stack.enter_context(stage.upstream)
        settings = {
            "ELEVENLABS_BASE_URL": stage.upstream.url,
            "ELEVENLABS_API_KEY": "upstream-key",
            "VOCERO_REDIS_URL": valkey,
            "VOCERO_DATABASE_URL": database_url,
        }
        stage.service = servers.start_service(tmp_path_factory.mktemp("service"), api_key, settings)
        stack.callback(stage.service.discard)
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.upstream.requests.clear()
    return running


def read_to_the_end(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(65_536):
        data += piece
    return data


def test_head_and_first_chunk_leave_together_and_before_the_next_chunk_is_there(stage):
    taken = threading.Event()

    def script(peer: Peer) -> None:
        peer.head(transfer_encoding="chunked", request_id="r-1")
        peer.chunk(b"first")
        assert taken.wait(WAIT_SECONDS), "the chunk was held back"
        peer.chunk(b"second")
        peer.chunk(b"")

    stage.script = script
    with stage.asked() as client:
        head, _, rest = client.recv(65_536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert rest == b"5\r\nfirst\r\n"
        taken.set()
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += client.recv(65_536)
        assert data == b"6\r\nsecond\r\n0\r\n\r\n"
    fields = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert {b"date", b"server", b"request-id", b"access-control-allow-origin", b"x-content-type-options"} <= fields


def test_requests_one_after_the_other_use_one_connection_on_either_side(stage):
    def script(peer: Peer) -> None:
        peer.head(transfer_encoding="chunked")
        peer.chunk(b"audio")
        peer.chunk(b"")

    stage.script = script
    with requests.Session() as session:
        assert stage.post(session).content == b"audio"
        before = stage.upstream.accepted
        answers = [stage.post(session).content for _ in range(5)]
    assert answers == [b"audio"] * 5
    assert stage.upstream.accepted == before


def test_the_query_and_the_body_go_up_as_they_came(stage):
    def script(peer: Peer) -> None:
        peer.answer(b"audio")

    stage.script = script
    query = "output_format=mp3_44100_128&new=a%20b+c&new=%C3%A9&empty=&flag"
    assert stage.post(path=f"{PATH}?{query}").content == b"audio"
    (request,) = stage.upstream.requests
    assert request.target == f"{PATH}?{query}"
    assert request.body == BODY
    assert request.headers["xi-api-key"] == "upstream-key"


@pytest.mark.parametrize("sent", [b"", b"5", b"no size\r\n"])
def test_an_answer_that_breaks_off_before_the_first_byte_of_audio_is_told_as_a_failure(stage, sent):
    def script(peer: Peer) -> object:
        peer.head(transfer_encoding="chunked")
        peer.send(sent)
        return ENDS

    stage.script = script
    answer = stage.post()
    assert (answer.status_code, answer.json()["detail"]["code"]) == (502, "truncated")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("sent", [b"", b"5\r\nsec", b"no size\r\n"])
def test_an_answer_that_breaks_off_later_is_broken_off_and_not_ended(stage, sent):
    taken = threading.Event()

    def script(peer: Peer) -> object:
        peer.head(transfer_encoding="chunked", request_id="r-broken")
        peer.chunk(b"first")
        assert taken.wait(WAIT_SECONDS)
        peer.send(sent)
        return ENDS

    stage.script = script
    with stage.asked() as client:
        data = client.recv(65_536)
        taken.set()
        data += read_to_the_end(client)
    body = data.partition(b"\r\n\r\n")[2]
    assert body == b"5\r\nfirst\r\n" + (b"3\r\nsec\r\n" if b"sec" in sent else b"")
    stage.service.wait_for_log("r-broken")


def test_a_client_that_hangs_up_ends_the_answer_of_elevenlabs(stage):
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        peer.head(transfer_encoding="chunked")
        try:
            while True:
                peer.chunk(b"x" * 8_192)
        except OSError:
            hung_up.set()

    stage.script = script
    with stage.asked() as client:
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
    assert hung_up.wait(WAIT_SECONDS)


def test_a_client_of_http_1_0_gets_the_bare_body_and_its_end_is_the_connections(stage):
    def script(peer: Peer) -> None:
        peer.head(transfer_encoding="chunked")
        peer.chunk(b"first")
        peer.chunk(b"second")
        peer.chunk(b"")

    stage.script = script
    with stage.asked("1.0") as client:
        head, _, body = read_to_the_end(client).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"firstsecond"


def test_an_answer_without_audio_has_a_head_and_an_end(stage):
    def script(peer: Peer) -> None:
        peer.answer(b"")

    stage.script = script
    answer = stage.post()
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_request_under_a_foreign_name_is_refused_before_it_reaches_elevenlabs(stage):
    answer = stage.post(host="evil.example")
    assert answer.status_code == 400
    assert answer.json()["detail"]["request_id"] == answer.headers["request-id"]
    assert stage.upstream.requests == []


def test_a_body_in_chunks_goes_up_whole_and_one_without_bounds_is_refused(stage):
    def script(peer: Peer) -> None:
        peer.answer(b"audio")

    stage.script = script
    headers = {"xi-api-key": stage.service.api_key, "content-type": "application/json"}
    url = stage.service.url + PATH
    answer = requests.post(url, data=iter([BODY[:5], BODY[5:]]), headers=headers, timeout=WAIT_SECONDS)
    assert (answer.status_code, answer.content) == (200, b"audio")
    assert stage.upstream.requests[0].body == BODY
    refused = requests.post(url, data=iter([b" " * 1_000_000] * 3), headers=headers, timeout=WAIT_SECONDS)
    assert (refused.status_code, refused.json()["detail"]["code"]) == (413, "request_too_large")


def test_a_wrong_method_is_told_in_the_shape_of_every_failure(stage):
    answer = requests.get(stage.service.url + PATH, timeout=WAIT_SECONDS)
    assert answer.status_code == 405
    assert json.loads(answer.content)["detail"]["request_id"] == answer.headers["request-id"]


def test_a_failure_that_nobody_expected_has_the_shape_of_every_failure_and_is_logged(
    start_service, database_url, tmp_path
):
    path = tmp_path / "broken.db"
    shutil.copy(database_url.removeprefix("sqlite:///"), path)
    service = start_service(VOCERO_DATABASE_URL=f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE api_keys SET created_at = 'no date'")
        database.commit()
    answer = requests.post(service.url + PATH, data=BODY, headers={"xi-api-key": service.api_key}, timeout=WAIT_SECONDS)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (500, "internal_error")
    service.wait_for_log(answer.json()["detail"]["request_id"])
