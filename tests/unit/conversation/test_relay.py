"""The relay on gevent's own loop, between raw sockets: whatever the frames and wherever they are cut.

wsproto reads at the far ends, so that what we write is judged by somebody else.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import gevent.socket
import gevent.ssl
import pytest
import trustme
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from service.conversation.relay import Relay
from service.errors import ConnectionClosedError, FrameError, RequestError, WriteDeadlineError
from service.websocket import Message, WebSocketConnection
from service.websocket.frames import CLOSE, CONTINUATION, PING, TEXT, build_frame

LIMIT = 10.0
MAX_BYTES = 300_000


@pytest.fixture(autouse=True)
def events_of_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker, where everything is patched before it is imported."""
    monkeypatch.setattr(threading, "Event", gevent.event.Event)


class Far:
    """The far end of one side: `masks` as that peer must."""

    def __init__(self, sock: Any, *, masks: bool) -> None:
        self.sock = sock
        self._masks = masks
        self._oracle = FrameProtocol(client=masks, extensions=[])
        self.pongs: list[bytes] = []
        self._text = ""  # of a message that is not all there
        sock.settimeout(LIMIT)

    def frame(self, opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
        frame = bytearray(build_frame(opcode, payload, mask=self._masks))
        if not fin:
            frame[0] &= 0x7F
        return bytes(frame)

    def read_messages(self, count: int) -> list[str]:
        """The next text messages, put together by wsproto; pongs are kept aside."""
        found: list[str] = []
        while len(found) < count:
            data = self.sock.recv(65_536)
            assert data, f"ended after {len(found)} of {count} messages"
            self._oracle.receive_bytes(data)
            for frame in self._oracle.received_frames():
                if frame.opcode is Opcode.PONG:
                    self.pongs.append(bytes(frame.payload))
                elif frame.opcode is Opcode.TEXT:
                    self._text += frame.payload
                    if frame.message_finished:
                        found.append(self._text)
                        self._text = ""
        return found

    def read_to_the_close(self) -> tuple[str, int]:
        """All text until the close frame, and its code."""
        text = ""
        while True:
            data = self.sock.recv(65_536)
            assert data, "ended without a close frame"
            self._oracle.receive_bytes(data)
            for frame in self._oracle.received_frames():
                if frame.opcode is Opcode.CLOSE:
                    return text, int(frame.payload[0])
                text += frame.payload


@functools.cache
def tls_contexts() -> tuple[gevent.ssl.SSLContext, gevent.ssl.SSLContext]:
    authority = trustme.CA()
    server = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("agent.test").configure_cert(server)
    client = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return client, server


def encrypted_pair() -> tuple[Any, Any]:
    """Two ends of a TLS connection, ours first."""
    client, server = tls_contexts()
    ours, theirs = gevent.socket.socketpair()
    accepting = gevent.spawn(server.wrap_socket, theirs, server_side=True)
    return client.wrap_socket(ours, server_hostname="agent.test"), accepting.get(timeout=LIMIT)


def wait_for(condition: Callable[[], bool]) -> None:
    with gevent.Timeout(LIMIT):
        while not condition():
            gevent.sleep(0)


class Told:
    """A stream that passes every other length of text, and hands the rest to `on_message`, so that runs and single
    messages take turns."""

    def __init__(self, on_message: Callable[[Message], None]) -> None:
        self.on_message = on_message
        self.passed = 0

    def passes(self, data: bytes | bytearray, start: int, end: int) -> bool:
        return (end - start) % 2 == 0

    def count(self, messages: int) -> None:
        self.passed += messages

    def handle(self, message: Message) -> None:
        self.on_message(message)


class Bench:
    """A relay between two far ends, running in a greenlet."""

    def __init__(
        self,
        *,
        write_deadline_seconds: float = LIMIT,
        idle_seconds: float = 60.0,
        tls: bool = False,
        waited_seconds: float = 0.0,
    ) -> None:
        ours, theirs = gevent.socket.socketpair()
        self._client_socket = ours
        self.client = Far(theirs, masks=True)
        self.client_connection = WebSocketConnection(
            ours, is_client=False, max_message_bytes=MAX_BYTES, write_deadline_seconds=write_deadline_seconds
        )
        self.client_connection.last_received -= waited_seconds
        ours, theirs = encrypted_pair() if tls else gevent.socket.socketpair()
        self.agent = Far(theirs, masks=False)
        self._agent = WebSocketConnection(
            ours, is_client=True, max_message_bytes=MAX_BYTES, write_deadline_seconds=write_deadline_seconds
        )
        self.client_stream = Told(lambda message: self.relay.send_to_agent(message.data))
        self.agent_stream = Told(lambda message: self.relay.send_to_client(message.data))
        self.relay = Relay(
            self.client_connection,
            self._agent,
            loop=gevent.get_hub().loop,
            client_stream=self.client_stream,
            agent_stream=self.agent_stream,
            idle_seconds=idle_seconds,
            agent_silence_seconds=idle_seconds,
        )
        self.running = gevent.spawn(self._run)

    def awaited(self) -> int:
        """How many bytes the kernel waits for before it tells us of any."""
        awaited: int = self._client_socket.getsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_RCVLOWAT)
        return awaited

    def _run(self) -> Exception | None:
        try:
            self.relay.run()
        except Exception as exc:
            return exc
        return None

    def error(self) -> Exception | None:
        """How it ended."""
        error: Exception | None = self.running.get(timeout=LIMIT)
        return error

    def close(self) -> None:
        self.relay.stop()
        self.running.join(LIMIT)
        for connection in (self.client_connection, self._agent):
            connection.abort()
        for far in (self.client, self.agent):
            far.sock.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def start_(**options: Any) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield start_
    for bench in benches:
        bench.close()


texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["", "ñ" * 70, "x" * 126, "u" * 127, "v" * 200, "w" * 20_000, "y" * 65_536, "z" * 150_000]),
)
scripts = st.lists(st.tuples(texts, st.lists(st.integers(0, 200_000), max_size=3), st.booleans()), max_size=6)


def stream_of(far: Far, script: list[tuple[str, list[int], bool]]) -> bytes:
    """The script's messages as frames: each cut into fragments at the given places, a ping between them if wanted."""
    stream = b""
    for text, cuts, pings in script:
        data = text.encode()
        edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        parts = [data[start:end] for start, end in itertools.pairwise(edges)]
        for index, part in enumerate(parts):
            stream += far.frame(TEXT if index == 0 else CONTINUATION, part, fin=index == len(parts) - 1)
            if pings:
                stream += far.frame(PING, b"ping %d" % index)
    return stream


def send_in_pieces(far: Far, stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        far.sock.sendall(stream[start:end])
        gevent.sleep(0)  # the relay reads each piece by itself


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts, scripts, st.lists(st.integers(0), max_size=8), st.booleans())
@example([("z" * 150_001, [], False)] * 6, [], [], True)
def test_messages_of_both_sides_arrive_whole_and_in_order_however_they_were_cut(start, up, down, cuts, tls):
    bench = start(tls=tls)
    senders = [
        gevent.spawn(send_in_pieces, bench.client, stream_of(bench.client, up), cuts),
        gevent.spawn(send_in_pieces, bench.agent, stream_of(bench.agent, down), cuts),
    ]
    reader = gevent.spawn(bench.agent.read_messages, len(up))
    assert bench.client.read_messages(len(down)) == [text for text, _, _ in down]
    assert reader.get(timeout=LIMIT) == [text for text, _, _ in up]
    gevent.joinall(senders, timeout=LIMIT, raise_error=True)
    bench.close()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=80), st.integers(0, 80))
def test_a_stream_that_wsproto_refuses_ends_the_relay_with_the_same_code(start, noise, cut):
    bench = start()
    oracle = FrameProtocol(client=False, extensions=[])
    oracle.receive_bytes(noise)
    refused = None
    try:
        closes = [frame for frame in oracle.received_frames() if frame.opcode is Opcode.CLOSE]
    except ParseFailed as failure:
        closes, refused = [], failure.code
    send_in_pieces(bench.client, noise, [cut])
    bench.client.sock.shutdown(gevent.socket.SHUT_WR)
    error = bench.error()
    if refused is not None:
        assert isinstance(error, FrameError | ConnectionClosedError)
        # Some breaches are seen at the header by one of us and at the end of the payload by the other.
        assert error.code in {int(refused), 1002, 1006, 1007, 1009}
    elif not closes:
        # wsproto has no bound of its own and does not insist on the minimal length.
        assert isinstance(error, FrameError | ConnectionClosedError)
    assert bench.relay.ended_by_client
    bench.close()


def test_a_pings_payload_comes_back_to_who_sent_it_and_goes_no_further(start):
    bench = start()
    bench.client.sock.sendall(bench.client.frame(PING, b"mine") + bench.client.frame(TEXT, b"one"))
    assert bench.agent.read_messages(1) == ["one"]
    bench.agent.sock.sendall(bench.agent.frame(TEXT, b"two"))
    assert bench.client.read_messages(1) == ["two"]
    assert (bench.client.pongs, bench.agent.pongs) == ([b"mine"], [])


def test_a_reader_that_pauses_holds_its_sender_up_and_then_gets_everything(start):
    bench = start()
    message = bench.agent.frame(TEXT, b"x" * 100_000)
    sent: list[int] = []

    def speak() -> None:
        for number in range(200):
            bench.agent.sock.sendall(message)
            sent.append(number)

    speaker = gevent.spawn(speak)
    speaker.join(timeout=0.5)
    assert not speaker.dead, "20 MB went out though nobody read"
    assert bench.client.read_messages(200) == ["x" * 100_000] * 200
    speaker.join(timeout=LIMIT)
    assert len(sent) == 200


@pytest.mark.parametrize("size", [100, 20_000, 250_000])
def test_what_waits_decrypted_inside_a_tls_socket_is_not_forgotten(start, size):
    """The loop sees nothing of bytes that OpenSSL has read already."""
    bench = start(tls=True)
    speaker = gevent.spawn(bench.agent.sock.sendall, bench.agent.frame(TEXT, b"x" * size) * 20)
    assert bench.client.read_messages(20) == ["x" * size] * 20
    speaker.join(timeout=LIMIT)


def test_the_rest_of_a_frame_is_waited_for_by_the_kernel_and_a_short_message_behind_it_is_not(start):
    bench = start()
    frame = bench.client.frame(TEXT, b"x" * 20_000)
    bench.client.sock.sendall(frame[:5_000])
    wait_for(lambda: bench.awaited() == 15_008)
    bench.client.sock.sendall(frame[5_000:] + bench.client.frame(TEXT, b"short"))
    assert bench.agent.read_messages(2) == ["x" * 20_000, "short"]
    wait_for(lambda: bench.awaited() == 1)


def test_whoever_gets_the_socket_back_in_the_middle_of_a_frame_is_woken_by_every_byte(start):
    bench = start()
    bench.client.sock.sendall(bench.client.frame(TEXT, b"x" * 20_000)[:5_000])
    wait_for(lambda: bench.awaited() == 15_008)
    bench.relay.stop()
    assert bench.error() is None
    assert bench.awaited() == 1


def test_a_goodbye_comes_behind_the_rest_of_a_frame_that_is_half_out(start):
    bench = start()
    speaker = gevent.spawn(lambda: bench.agent.sock.sendall(bench.agent.frame(TEXT, b"x" * 100_000) * 200))
    speaker.join(timeout=0.3)
    bench.relay.stop()
    assert bench.error() is None
    closing = gevent.spawn(bench.client_connection.close, 1012, "restart")
    text, code = bench.client.read_to_the_close()
    assert (set(text), len(text) % 100_000, code) == ({"x"}, 0, 1012)
    gevent.killall([speaker, closing])


def test_the_other_direction_goes_on_while_one_is_held(start):
    bench = start()
    speaker = gevent.spawn(lambda: bench.agent.sock.sendall(bench.agent.frame(TEXT, b"x" * 100_000) * 200))
    speaker.join(timeout=0.3)
    bench.client.sock.sendall(bench.client.frame(TEXT, b"still here"))
    assert bench.agent.read_messages(1) == ["still here"]
    speaker.kill()


def test_a_reader_that_never_reads_meets_the_write_deadline(start):
    bench = start(write_deadline_seconds=0.2)
    speaker = gevent.spawn(lambda: bench.agent.sock.sendall(bench.agent.frame(TEXT, b"x" * 100_000) * 200))
    error = bench.error()
    assert isinstance(error, WriteDeadlineError)
    assert bench.relay.ended_by_client
    speaker.kill()


def test_a_reader_that_pauses_again_and_again_is_not_given_up(start):
    """What counts is how long it takes nothing, not how long it has been waited for in all: libev's timers go on with
    what was left of their time when they are started again."""
    bench = start(write_deadline_seconds=1.0)
    speaker = gevent.spawn(lambda: bench.agent.sock.sendall(bench.agent.frame(TEXT, b"x" * 100_000) * 200))
    for _ in range(12):
        bench.running.join(timeout=0.15)  # it is slow; it does not end meanwhile
        assert set(bench.client.read_messages(8)) == {"x" * 100_000}
    assert not bench.running.dead
    speaker.kill()


def test_a_side_that_only_listens_lives_by_what_it_takes(start):
    """No ping reaches it behind all that it is sent, so it has none to answer."""
    bench = start(idle_seconds=1.5)
    speaker = gevent.spawn(lambda: bench.client.sock.sendall(bench.client.frame(TEXT, b"x" * 100_000) * 200))
    for _ in range(12):
        bench.running.join(timeout=0.15)  # it is slow; it does not end meanwhile
        assert set(bench.agent.read_messages(1)) == {"x" * 100_000}
    assert not bench.running.dead
    speaker.kill()


def test_the_time_that_the_agents_side_took_to_open_is_no_silence_of_the_client(start):
    bench = start(idle_seconds=0.6, waited_seconds=100.0)
    assert bench.client.sock.recv(2)[0] & 0x0F == PING


def test_a_silent_side_is_pinged_and_one_that_does_not_answer_ends_the_relay(start):
    bench = start(idle_seconds=0.3)
    error = bench.error()
    assert isinstance(error, ConnectionClosedError)
    assert error.code == 1006
    assert PING in {byte & 0x0F for byte in bench.client.sock.recv(2)[:1]}


def test_the_close_of_a_side_ends_the_relay_with_its_code_after_what_it_had_said(start):
    bench = start()
    goodbye = (3008).to_bytes(2, "big") + b"full"
    bench.agent.sock.sendall(bench.agent.frame(TEXT, b"last words") + bench.agent.frame(CLOSE, goodbye))
    assert bench.client.read_messages(1) == ["last words"]
    error = bench.error()
    assert isinstance(error, ConnectionClosedError)
    assert (error.code, error.reason, bench.relay.ended_by_client) == (3008, "full", False)


def test_a_message_that_is_refused_ends_the_relay_as_its_senders_fault(start):
    bench = start()

    def refuse(_: object) -> None:
        raise RequestError("no")

    bench.client_stream.on_message = refuse
    bench.client.sock.sendall(bench.client.frame(TEXT, b"anything"))
    assert isinstance(bench.error(), RequestError)
    assert bench.relay.ended_by_client


def test_a_run_that_is_refused_leaves_a_connection_that_can_still_read(start):
    """Its rest is a buffer that must be able to grow, while the error's traceback knows all that was looked at."""
    bench = start()

    def refuse(_: int) -> None:
        raise RequestError("too many")

    bench.client_stream.count = refuse
    # More than fits in front of the next read; the run comes with its end, and half a frame behind it.
    long, short = bench.client.frame(TEXT, b"x" * 150_001), bench.client.frame(TEXT, b"x" * 1000)
    speaker = gevent.spawn(bench.client.sock.sendall, long + short * 10 + long[:10_000])
    error = bench.error()
    closing = gevent.spawn(bench.client_connection.close, 1008, str(error))
    assert bench.client.read_to_the_close()[1] == 1008
    bench.client.sock.sendall(bench.client.frame(CLOSE, b""))
    closing.get(timeout=LIMIT)
    speaker.join(LIMIT)


def test_an_unforeseen_error_ends_the_relay_instead_of_leaving_it_hanging(start):
    bench = start()

    def fail(_: object) -> None:
        raise ZeroDivisionError

    bench.agent_stream.on_message = fail
    bench.agent.sock.sendall(bench.agent.frame(TEXT, b"anything"))
    assert isinstance(bench.error(), ZeroDivisionError)


def test_a_sender_of_tiny_frames_gives_the_others_their_turn(start):
    """65,536 bytes may be 10,000 frames; whoever speaks meanwhile waits for a few dozen of them at most."""
    before, bench, after = start(), start(), start()  # the loop may call back in any order
    handled: list[int] = []
    waited: list[int] = []
    bench.client_stream.on_message = lambda _: handled.append(1)
    bench.client.sock.sendall(bench.client.frame(TEXT, b"") * 20_000)  # all of it is there before the relay looks
    for bystander in (before, after):
        bystander.client_stream.on_message = lambda _: waited.append(len(handled))
        bystander.client.sock.sendall(bystander.client.frame(TEXT, b"hello"))
    while len(waited) < 2:
        gevent.sleep(0)
    assert max(waited) <= 640
