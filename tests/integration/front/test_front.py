"""nginx as it is shipped: what it sends on, what it keeps to itself, how often, and when."""

from __future__ import annotations

import re
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts.launcher.waiting import wait_until
from tests.front import NAME, SHIPPED, Certificate, Front, make_certificate, node_list
from tests.integration.front.name_server import NAME as SERVICE
from tests.integration.front.name_server import NameServer
from tests.integration.front.nodes import Asked, Node, hang_up, say
from tests.servers import free_port

SECONDS = 20.0
GIVES_UP_SECONDS = 15.0
SOCKET = "/v1/convai/conversation?agent_id=agent_demo&conversation_signature=the-ticket"
SPEECH = "/v1/text-to-speech/voice/stream"

StartFront = Callable[..., Front]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), NAME)


@pytest.fixture
def parts() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_front(certificate: Certificate, tmp_path: Path, parts: ExitStack) -> StartFront:
    def start(*nodes: Node | str, **settings: str) -> Front:
        addresses = [node if isinstance(node, str) else node.address for node in nodes]
        fixed = {"VOCERO_FRONT_NODES": node_list(*addresses)} if addresses else {}
        front = Front(tmp_path / "front", certificate, **fixed, **settings)
        parts.callback(front.stop)
        front.start()
        return front

    return start


def ask(front: Front, method: str, path: str, *, url: str = "", **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(front.certificate.ca_file)
        return session.request(method, f"{url or front.url}{path}", timeout=SECONDS, allow_redirects=False, **options)


def test_nginx_finds_nothing_wrong_with_what_we_ship(certificate: Certificate, tmp_path: Path) -> None:
    front = Front(tmp_path, certificate)
    front.render()
    assert "syntax is ok" in front.check()
    front.render(VOCERO_FRONT_DASHBOARD_PORT=f"127.0.0.1:{front.port}", VOCERO_FRONT_DASHBOARD_NAME="admin.test")
    assert "syntax is ok" in front.check(), "one port for both names"


def test_every_variable_of_the_template_stands_in_its_file_and_the_other_way_round() -> None:
    template = (SHIPPED / "templates" / "vocero.conf.template").read_text()
    settings = re.findall(r"^([A-Z_]+)=", (SHIPPED / "front.env").read_text(), re.MULTILINE)
    assert sorted(set(re.findall(r"\$\{([A-Z_]+)\}", template))) == sorted(settings)


def test_a_setting_that_is_nowhere_is_named(tmp_path: Path) -> None:
    some = tmp_path / "some.env"
    some.write_text("VOCERO_FRONT_NAME=localhost\n")
    done = subprocess.run(
        ["/bin/sh", str(SHIPPED / "render.sh"), str(tmp_path / "out"), str(some)],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "render.sh: VOCERO_FRONT_ACCESS_LOG is not set\n"
    assert not (tmp_path / "out" / "conf.d" / "vocero.conf").exists()


def test_the_service_hears_who_asked_and_nothing_that_the_client_made_up(
    start_front: StartFront, parts: ExitStack
) -> None:
    node = parts.enter_context(Node("127.0.0.1", say("{}")))
    front = start_front(node)
    lies = {
        "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http",
        "X-Forwarded-Prefix": "/evil", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9",
        "X-Request-ID": "chosen-by-the-client", "Upgrade": "h2c", "xi-api-key": "a-key",
    }  # fmt: skip
    answer = ask(front, "POST", "/chat/tickets", headers=lies)
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "nginx/" not in answer.headers["Server"]
    (asked,) = node.asked
    host = f"{NAME}:{front.port}"
    assert asked.headers["host"] == asked.headers["x-forwarded-host"] == host
    assert asked.headers["x-forwarded-for"] == "127.0.0.1"
    assert asked.headers["x-forwarded-proto"] == "https"
    assert asked.headers["xi-api-key"] == "a-key"
    assert re.fullmatch("[0-9a-f]{32}", asked.headers["x-request-id"])
    assert not {"forwarded", "x-real-ip", "x-forwarded-prefix", "x-forwarded-port"} & set(asked.headers)
    wait_until(lambda: len(front.accesses()) == 1, SECONDS, "the line in the log")  # which comes behind the answer
    (line,) = front.accesses()
    assert (line["request_id"], line["node"]) == (asked.headers["x-request-id"], node.address)


@pytest.mark.parametrize(
    ("head", "first", "rest"),
    [
        ("Transfer-Encoding: chunked", b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"),
        ("Content-Length: 11", b"first", b"second"),
    ],
)
def test_speech_is_passed_on_as_it_comes(
    start_front: StartFront, parts: ExitStack, head: str, first: bytes, rest: bytes
) -> None:
    may_go_on, has_given_up = threading.Event(), threading.Event()

    def speak(_: Asked, handler: socketserver.StreamRequestHandler) -> None:
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + first)
        if not may_go_on.wait(GIVES_UP_SECONDS):
            has_given_up.set()
        handler.wfile.write(rest)

    front = start_front(parts.enter_context(Node("127.0.0.1", speak)))
    with ask(front, "POST", SPEECH, data=b"{}", stream=True) as answer:
        pieces = answer.iter_content(5)
        assert next(pieces) == b"first"  # the rest would come with it, after all that time, if nginx waited for more
        assert not has_given_up.is_set()
        may_go_on.set()
        assert b"".join(pieces) == b"second"


def test_a_request_that_costs_money_is_never_sent_twice(start_front: StartFront, parts: ExitStack) -> None:
    dying = [parts.enter_context(Node("127.0.0.1", hang_up)) for _ in range(2)]
    front = start_front(*dying)
    answer = ask(front, "POST", SPEECH, data=b'{"text":"hello"}')
    assert sum(len(node.asked) for node in dying) == 1
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["detail"]["status"] == "service_unavailable"


def test_what_could_not_be_sent_goes_to_the_next_node(start_front: StartFront, parts: ExitStack) -> None:
    node = parts.enter_context(Node("127.0.0.1", say("spoken")))
    front = start_front(f"127.0.0.1:{free_port()}", node)
    for _ in range(4):
        assert ask(front, "POST", SPEECH, data=b"{}").text == "spoken"
    assert len(node.asked) == 4


def test_a_question_that_may_be_asked_again_is(start_front: StartFront, parts: ExitStack) -> None:
    dying = parts.enter_context(Node("127.0.0.1", hang_up))
    well = parts.enter_context(Node("127.0.0.1", say("{}")))
    front = start_front(dying, well)
    assert [ask(front, "GET", "/version").status_code for _ in range(4)] == [200] * 4
    assert dying.asked


def test_an_answer_of_the_service_passes_as_it_is(start_front: StartFront, parts: ExitStack) -> None:
    front = start_front(parts.enter_context(Node("127.0.0.1", say("ours", "503 Service Unavailable"))))
    assert ask(front, "GET", "/version").text == "ours"


def test_connections_to_the_nodes_lie_ready(start_front: StartFront, parts: ExitStack) -> None:
    node = parts.enter_context(Node("127.0.0.1", say("{}")))
    front = start_front(node)
    workers = len(front.workers())
    for _ in range(20):
        assert ask(front, "GET", "/version").ok
    assert node.connections <= workers < 20


def test_a_socket_is_upgraded_and_its_query_is_written_nowhere(start_front: StartFront, parts: ExitStack) -> None:
    def converse(asked: Asked, handler: socketserver.StreamRequestHandler) -> None:
        assert asked.headers["connection"].lower() == "upgrade"
        handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        handler.wfile.write(handler.rfile.read(4).upper())
        hang_up(asked, handler)

    node = parts.enter_context(Node("127.0.0.1", converse))
    front = start_front(node)
    with _connect(front) as client:
        client.sendall(_upgrade(front))
        assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"ping")
        assert _until_end(client) == b"PING"
    assert SOCKET in node.asked[0].line
    wait_until(lambda: len(front.accesses()) == 1, SECONDS, "the line in the log")
    assert "the-ticket" not in front.everything_written()


def test_no_failure_writes_a_query_or_a_body_down(start_front: StartFront, parts: ExitStack) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    front = start_front(nobody, VOCERO_FRONT_MAX_BODY="1k", VOCERO_FRONT_CONNECTIONS_PER_ADDRESS="1")
    with _connect(front) as client:
        client.sendall(_upgrade(front))
        assert client.recv(4096).startswith(b"HTTP/1.1 503 ")
    assert ask(front, "POST", f"{SPEECH}?the-ticket", data=b"the-ticket" * 1000).status_code == 413
    dying = parts.enter_context(Node("127.0.0.1", hang_up))
    front.reload(VOCERO_FRONT_NODES=node_list(dying.address))
    wait_until(lambda: ask(front, "GET", "/version?the-ticket").status_code == 503 and dying.asked, SECONDS)
    holding = threading.Event()
    slow = parts.enter_context(Node("127.0.0.1", lambda _, __: holding.wait(SECONDS)))
    front.reload(VOCERO_FRONT_NODES=node_list(slow.address))
    wait_until(lambda: not _is_connected(front.port), SECONDS, "the end of those before, which would still count")
    with _connect(front) as first, _connect(front) as second:
        first.sendall(_upgrade(front))
        wait_until(lambda: bool(slow.asked), SECONDS, "the first one")
        second.sendall(_upgrade(front))
        assert second.recv(4096).startswith(b"HTTP/1.1 429 ")
    holding.set()
    wait_until(
        lambda: {413, 429, 503} <= {line["status"] for line in front.accesses()}, SECONDS, "the lines in the log"
    )
    assert "the-ticket" not in front.everything_written()


def test_only_what_is_for_the_outside_is_passed_on(start_front: StartFront, parts: ExitStack) -> None:
    node = parts.enter_context(Node("127.0.0.1", say("{}")))
    front = start_front(node)
    for path in ("/metrics", "/readyz", "/admin", "/.env", "/sandbox/stats", "/v2/voices", "/livez/x", "/V1/x"):
        assert ask(front, "GET", path).status_code == 404, path
    assert node.asked == []
    for path in ("/", "/livez", "/version", "/static/chat.js", "/v1/convai/conversation/get-signed-url?agent_id=a"):
        assert ask(front, "GET", path).status_code == 200, path
    assert len(node.asked) == 5


def test_every_path_of_the_service_is_either_passed_on_or_meant_for_the_inside() -> None:
    """A new one is noticed here, and not by whoever calls it in vain."""
    routes = set()
    for path in sorted((SHIPPED.parents[1] / "service" / "web").glob("*.py")):
        routes |= set(re.findall(r'@routes\.(?:get|post)\(f?"(/[^"{]*|\{CONVERSATION_PATH\}[^"]*)"', path.read_text()))
    assert routes == {
        "/", "/chat/tickets", "/livez", "/readyz", "/version", "{CONVERSATION_PATH}/get-signed-url",
        "{CONVERSATION_PATH}/get_signed_url", "{CONVERSATION_PATH}/token",
    }  # fmt: skip


def test_plain_http_is_sent_to_the_name_that_is_ours_whatever_was_called(start_front: StartFront) -> None:
    front = start_front()
    answer = ask(
        front, "GET", "/version?a=b", url=f"http://127.0.0.1:{front.http_port}", headers={"Host": "evil.example"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{front.url}/version?a=b")


@pytest.mark.parametrize("name", ["evil.example", None])
def test_another_name_gets_no_certificate(start_front: StartFront, name: str | None) -> None:
    front = start_front()
    context = ssl.create_default_context(cafile=front.certificate.ca_file)
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", front.port), timeout=SECONDS) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=name).close()


def test_another_host_behind_our_name_is_no_way_to_the_dashboard_or_the_service(
    start_front: StartFront, parts: ExitStack
) -> None:
    node = parts.enter_context(Node("127.0.0.1", say("{}")))
    front = start_front(node, VOCERO_FRONT_DASHBOARD=node.address)
    for url in (front.url, front.dashboard_url):
        answer = ask(front, "GET", "/", url=url, headers={"Host": "evil.example"})
        assert answer.status_code in {400, 421, 404} or "Strict" not in str(answer.headers)
    assert node.asked == []


@pytest.mark.parametrize(("version", "passes"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(start_front: StartFront, version: str, passes: bool) -> None:
    front = start_front()
    context = ssl.create_default_context(cafile=front.certificate.ca_file)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", front.port), timeout=SECONDS) as plain:
        if passes:
            context.wrap_socket(plain, server_hostname=NAME).close()
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname=NAME).close()


def test_a_canary_gets_its_share_of_the_callers_and_each_stays_where_it_was(
    start_front: StartFront, parts: ExitStack
) -> None:
    stable = parts.enter_context(Node("127.0.0.1", say("stable")))
    canary = parts.enter_context(Node("127.0.0.1", say("canary")))
    front = start_front(stable, VOCERO_FRONT_CANARY=canary.address, VOCERO_FRONT_CANARY_PERCENT="30")

    def answered(number: int) -> str:
        source = (f"127.0.{number // 250 + 1}.{number % 250 + 1}", 0)
        with socket.create_connection(("127.0.0.1", front.port), timeout=SECONDS, source_address=source) as plain:
            context = ssl.create_default_context(cafile=front.certificate.ca_file)
            with context.wrap_socket(plain, server_hostname=NAME) as client:
                client.sendall(f"GET /version HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
                return _until_end(client).rpartition(b"\r\n")[2].decode()

    told = [answered(number) for number in range(100)]
    assert 15 <= told.count("canary") <= 45
    assert told.count("stable") == 100 - told.count("canary")
    assert [answered(number) for number in range(0, 100, 5)] == told[::5]
    front.reload(VOCERO_FRONT_CANARY_PERCENT="100")
    wait_until(lambda: answered(1) == "canary", SECONDS, "the new share")
    assert {answered(number) for number in range(20)} == {"canary"}


def test_a_container_that_comes_later_is_found_and_one_that_is_gone_is_left_alone(
    start_front: StartFront, parts: ExitStack
) -> None:
    port = free_port()
    first = parts.enter_context(Node("127.0.0.2", say("first"), port))
    names = parts.enter_context(NameServer("127.0.0.2"))
    there = f"{SERVICE}:{port}"
    front = start_front(VOCERO_FRONT_SERVICE=there, VOCERO_FRONT_CANARY=there, NGINX_LOCAL_RESOLVERS=names.address)

    def answers() -> set[str]:
        return {ask(front, "GET", "/version").text for _ in range(8)}

    assert answers() == {"first"}
    parts.enter_context(Node("127.0.0.3", say("second"), port))
    names.addresses.append("127.0.0.3")
    wait_until(lambda: answers() == {"first", "second"}, SECONDS, "the second container")
    # It is gone while its name is still known: nobody notices.
    names.addresses[:] = ["127.0.0.4", "127.0.0.2"]
    wait_until(lambda: answers() == {"first"}, SECONDS, "the one that is left")
    assert first.asked


# --- By hand


def _connect(front: Front) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=front.certificate.ca_file)
    plain = socket.create_connection(("127.0.0.1", front.port), timeout=SECONDS)
    return context.wrap_socket(plain, server_hostname=NAME)


def _upgrade(front: Front) -> bytes:
    return (
        f"GET {SOCKET} HTTP/1.1\r\nHost: {NAME}:{front.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _is_connected(port: int) -> bool:
    """Whether anybody holds a connection that was taken at this port (proc_net_tcp(5): established, or half closed)."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(int(fields[1].rpartition(":")[2], 16) == port and fields[3] in {"01", "08"} for fields in lines)


def _until_end(client: ssl.SSLSocket) -> bytes:
    data = b""
    while piece := client.recv(4096):
        data += piece
    return data
