"""Deleting a conversation at ElevenLabs and asking what it cost, byte by byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scripted_upstream import Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.past_conversations import CallCost
from service.errors import (
    UpstreamBusyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamProtocolError,
    UpstreamRequestError,
)
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget

Upstream = Callable[..., ScriptedUpstream]
Service = Callable[..., ElevenLabsService]
GONE = '{"detail": {"type": "not_found", "code": "conversation_not_found", "message": "No.", "status": "x"}}'


def answering(*answers: tuple[str, str]) -> Callable[[Peer], None]:
    """Answer each request of a connection with a status and a JSON body, in turn; the last answer stays."""
    left = list(answers)

    def serve(peer: Peer) -> None:
        while peer.read_request() is not None:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            length = {} if status.startswith("204") else {"content_length": str(len(body))}
            peer.head(status, content_type="application/json", **length)
            peer.send(body.encode())

    return serve


def patient() -> Retrier:
    return Retrier(RetryPolicy(attempts=3), budget=RetryBudget(), sleep=lambda _: None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", "{}"),
        ("200 OK", "null"),
        ("200 OK", ""),
        ("204 No Content", ""),
        ("404 Not Found", GONE),
        ("404 Not Found", '{"detail": {"status": "conversation_not_found", "message": "x"}}'),
        ("404 Not Found", '{"detail": "Conversation with id x was not found."}'),
    ],
)
def test_these_confirm_a_deletion(
    start_upstream: Upstream, start_service: Service, key: str, status: str, body: str
) -> None:
    upstream = start_upstream(answering((status, body)))
    service = start_service(upstream.url)
    service.delete_conversation("conv_1")
    [request] = upstream.requests
    assert (request.method, request.target) == ("DELETE", "/v1/convai/conversations/conv_1")
    assert request.headers["xi-api-key"] == key
    service.delete_conversation("conv_2")
    assert upstream.accepted == 1  # the connection was left clean


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("404 Not Found", '{"detail": "Not Found"}', UpstreamProtocolError),
        ("404 Not Found", "<html>nothing here</html>", UpstreamProtocolError),
        ("404 Not Found", "", UpstreamProtocolError),
        ("202 Accepted", "{}", UpstreamProtocolError),
        ("301 Moved", "{}", UpstreamProtocolError),
        ("400 Bad Request", "{}", UpstreamRequestError),
        ("422 Unprocessable", '{"detail": []}', UpstreamRequestError),
        ("401 Unauthorized", "{}", UpstreamKeyError),
        ("429 Too Many", "{}", UpstreamBusyError),
    ],
)
def test_these_do_not(
    start_upstream: Upstream, start_service: Service, status: str, body: str, error: type[UpstreamError]
) -> None:
    service = start_service(start_upstream(answering((status, body))).url)
    with pytest.raises(error):
        service.delete_conversation("conv_1")


def test_a_deletion_that_fails_is_asked_for_again_at_once(start_upstream: Upstream, start_service: Service) -> None:
    upstream = start_upstream(answering(("500 Oops", "{}"), ("503 Busy", "{}"), ("200 OK", "{}")))
    start_service(upstream.url, retrier=patient()).delete_conversation("conv_1")
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("conversation_id", ["", ".", ".."])
def test_what_can_be_no_conversation_is_asked_for_nowhere(
    start_upstream: Upstream, start_service: Service, conversation_id: str
) -> None:
    upstream = start_upstream(answering(("200 OK", "{}")))
    service = start_service(upstream.url)
    service.delete_conversation(conversation_id)
    with pytest.raises(UpstreamRequestError):
        service.fetch_cost(conversation_id)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("conversation_id", "quoted"),
    [
        ("../agents/agent_1", "..%2Fagents%2Fagent_1"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b\r\nx: y", "a%20b%0D%0Ax%3A%20y"),
        ("é", "%C3%A9"),
        ("\ud800", "%3F"),
    ],
)
def test_an_id_leads_to_no_other_route(
    start_upstream: Upstream, start_service: Service, conversation_id: str, quoted: str
) -> None:
    upstream = start_upstream(answering(("200 OK", "{}")))
    start_service(upstream.url).delete_conversation(conversation_id)
    assert [request.target for request in upstream.requests] == [f"/v1/convai/conversations/{quoted}"]


def test_a_cost_is_fetched_and_repeated_after_a_failure(start_upstream: Upstream, start_service: Service) -> None:
    details = '{"status": "done", "metadata": {"cost": 5, "call_duration_secs": 2}}'
    upstream = start_upstream(answering(("502 Oops", "{}"), ("200 OK", details)))
    service = start_service(upstream.url, retrier=patient())
    assert service.fetch_cost("conv_1") == CallCost(credits=5, call_seconds=2)
    assert {request.method for request in upstream.requests} == {"GET"}


def test_a_cost_of_what_is_gone_and_a_404_of_somebody_else_are_told_apart(
    start_upstream: Upstream, start_service: Service
) -> None:
    upstream = start_upstream(answering(("404 Not Found", GONE), ("404 Not Found", "nginx")))
    service = start_service(upstream.url)
    with pytest.raises(UpstreamRequestError):
        service.fetch_cost("conv_1")
    with pytest.raises(UpstreamProtocolError):
        service.fetch_cost("conv_1")


def test_endless_details_are_given_up(start_upstream: Upstream, start_service: Service) -> None:
    def endless(peer: Peer) -> None:
        peer.read_request()
        peer.head(content_type="application/json", content_length=str(10**9))
        for _ in range(5000):
            peer.send(b" " * 65_536)

    service = start_service(start_upstream(endless).url)
    with pytest.raises(UpstreamProtocolError, match="longer than"):
        service.fetch_cost("conv_1")
