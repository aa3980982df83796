"""A server on a real socket in Vault's place, whose answers a test chooses: what a real Vault never says when asked to.

An answer is a status and a JSON document, or a function that has the connection and does with it what it likes. Paths
are those of Vault's API, without `/v1/`.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from tests.integration.elevenlabs.scripted_upstream import Peer, Request, ScriptedUpstream

TOKEN = "hvs.canary_of_the_token_5e1f"
SECRET_ID = "canary-of-the-secret-id-77ab"
WRAPPING_TOKEN = "hvs.canary_of_the_wrapping_token_c0de"
VALUE = "sk_canary_of_the_value_91d2"
OTHER_VALUE = "canary_of_another_value_33aa"
CANARIES = (TOKEN, SECRET_ID, WRAPPING_TOKEN, VALUE, OTHER_VALUE)

LOGIN = "auth/approle/login"
LOOKUP = "auth/token/lookup-self"
RENEWAL = "auth/token/renew-self"
READING = "secret/data/vocero"
HEALTH = "sys/health"
WRAPPING_LOOKUP = "sys/wrapping/lookup"
UNWRAPPING = "sys/wrapping/unwrap"

Act = Callable[[Peer, Request], None]
Answer = tuple[int, Any] | Act

FLOOD_BYTES = 64_000_000  # far more than the kernel keeps for a reader that does not read

REASONS = {200: "OK", 503: "Service Unavailable"}


def entry(version: int = 3, **fields: Any) -> Answer:
    """What a KV engine of version 2 answers."""
    return 200, {"data": {"data": fields, "metadata": {"version": version, "deletion_time": "", "destroyed": False}}}


def grant(token: str = TOKEN, *, lease: float = 3600, renewable: bool = True) -> Answer:
    """What a login or a renewal answers."""
    return 200, {"auth": {"client_token": token, "lease_duration": lease, "renewable": renewable}}


def refusal(status: int, *words: str) -> Answer:
    """Vault's way to say no."""
    return status, {"errors": list(words)}


def text(status: int, body: bytes, **headers: str) -> Answer:
    """An answer that is no JSON."""

    def act(peer: Peer, _: Request) -> None:
        peer.answer(body, status=status_line(status), content_type="text/html", **headers)

    return act


def status_line(status: int) -> str:
    return f"{status} {REASONS.get(status, 'Scripted')}"


class ScriptedVault:
    """Answers by path; the last of a list stays. What has no answer is not there (404)."""

    def __init__(self, answers: dict[str, Answer | list[Answer]], *, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {HEALTH: (200, {"sealed": False}), **answers}
        self._server = ScriptedUpstream(self._serve, tls=tls)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self._server)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def accepted(self) -> int:
        """Connections."""
        return self._server.accepted

    @property
    def requests(self) -> list[Request]:
        return self._server.requests

    def asked(self, path: str) -> list[Request]:
        """The requests for `path`."""
        return [one for one in self.requests if one.target == f"/v1/{path}"]

    def _serve(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            answer = self._next(request.target.removeprefix("/v1/").partition("?")[0])
            if callable(answer):
                answer(peer, request)
            else:
                status, document = answer
                peer.answer(json.dumps(document).encode(), status=status_line(status), content_type="application/json")

    def _next(self, path: str) -> Answer:
        answers = self.answers.get(path, (404, {"errors": []}))
        if not isinstance(answers, list):
            return answers
        return answers.pop(0) if len(answers) > 1 else answers[0]


# --- What a broken server does


def hang(peer: Peer, _: Request) -> None:
    peer.await_hang_up()


def hang_after_the_head(peer: Peer, _: Request) -> None:
    peer.head(content_length="100")
    peer.await_hang_up()


def hang_up(peer: Peer, _: Request) -> None:
    peer.sock.close()


def reset(peer: Peer, _: Request) -> None:
    peer.reset()


def break_off(peer: Peer, _: Request) -> None:
    peer.head(content_length="100")
    peer.send(b"{")
    peer.sock.close()


def drip_the_body(peer: Peer, _: Request) -> None:
    peer.head(content_length="1000000")
    _drip(peer, b" ")


def drip_in_chunks(peer: Peer, _: Request) -> None:
    peer.head(transfer_encoding="chunked")
    _drip(peer, b"1\r\n \r\n")


def drip_the_head(peer: Peer, _: Request) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nx-drip: ")
    _drip(peer, b"x")


def drip_a_redirection(peer: Peer, _: Request) -> None:
    peer.head(status_line(307), location="http://127.0.0.1:9/v1/", transfer_encoding="chunked")
    _drip(peer, b"1\r\n \r\n")


def flood(peer: Peer, _: Request) -> None:
    peer.head(transfer_encoding="chunked")
    _pour(peer)


def flood_a_redirection(peer: Peer, _: Request) -> None:
    peer.head(status_line(307), location="http://127.0.0.1:9/v1/", transfer_encoding="chunked")
    _pour(peer)


def _pour(peer: Peer) -> None:
    """What no memory should hold, unless the client leaves before."""
    for _ in range(FLOOD_BYTES // 50_000):
        peer.chunk(b"x" * 50_000)
    peer.chunk(b"")


def _drip(peer: Peer, drop: bytes) -> None:
    """For as long as somebody listens; the end is for a client that would listen for ever."""
    end = time.monotonic() + 15.0
    while not peer.has_hung_up(0.02) and time.monotonic() < end:
        peer.send(drop)
