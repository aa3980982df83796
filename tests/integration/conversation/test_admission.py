"""Tickets, signed URLs and keys: who opens a conversation with what, and how often."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import requests
from websockets.sync.client import connect

from tests.integration.conversation.conftest import INITIATION, assert_closed_with_error
from tests.integration.conversation.scripted_agent import LIMIT, METADATA


@pytest.fixture
def ask_for_ticket(scripted_service):
    def ask(origin: str | None = scripted_service.url, path: str = "") -> requests.Response:
        headers = {} if origin is None else {"Origin": origin}
        return requests.post(f"{scripted_service.url}/chat/tickets", json={}, headers=headers, timeout=LIMIT)

    return ask


@pytest.fixture
def ask_for_signed_url(scripted_service):
    def ask(key: str = scripted_service.api_key, **query: str) -> requests.Response:
        url = f"{scripted_service.url}/v1/convai/conversation/{query.pop('path', 'get-signed-url')}"
        return requests.get(url, params={"agent_id": "agent_private", **query}, headers={"xi-api-key": key}, timeout=5)

    return ask


def metadata_of(url: str, scripted_agent, **options) -> dict:
    with connect(url, close_timeout=1, **options) as client:
        client.send(INITIATION)
        scripted_agent.next_conversation()
        return json.loads(client.recv(LIMIT))


def refusal_of(url: str, words: str, **options) -> None:
    with connect(url, close_timeout=1, **options) as client:
        assert_closed_with_error(client, 1008, words)


def test_a_ticket_opens_one_conversation_of_our_page_and_no_second(ask_for_ticket, scripted_agent, scripted_service):
    answer = ask_for_ticket()
    assert answer.headers["Cache-Control"] == "no-store"
    ticket = answer.json()
    assert ticket["expires_in"] == 60
    assert ticket["signed_url"].startswith(f"{scripted_service.ws_url}/v1/convai/conversation?agent_id=agent_demo&")
    assert metadata_of(ticket["signed_url"], scripted_agent, origin=scripted_service.url) == METADATA
    refusal_of(ticket["signed_url"], "expired or was used", origin=scripted_service.url)


def test_a_ticket_is_worth_nothing_without_the_pages_origin_and_is_used_up_by_the_attempt(
    ask_for_ticket, scripted_service
):
    url = ask_for_ticket().json()["signed_url"]
    refusal_of(url, "another web origin")
    refusal_of(url, "expired or was used", origin=scripted_service.url)


def test_a_ticket_is_worth_nothing_for_another_agent(ask_for_ticket, scripted_service):
    url = ask_for_ticket().json()["signed_url"].replace("agent_demo", "agent_other")
    refusal_of(url, "another agent", origin=scripted_service.url)


def test_a_ticket_expires(ask_for_ticket, scripted_service, valkey):
    url = ask_for_ticket().json()["signed_url"]
    store = redis.Redis.from_url(valkey)
    keys = list(store.scan_iter("vocero:ticket:*"))
    assert 0 < min(store.ttl(key) for key in keys) <= 60
    assert all(parse_qs(urlsplit(url).query)["conversation_signature"][0].encode() not in key for key in keys)
    for key in keys:
        store.pexpire(key, 0)
    store.close()
    refusal_of(url, "expired or was used", origin=scripted_service.url)


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_only_our_own_page_gets_a_ticket(ask_for_ticket, origin):
    answer = ask_for_ticket(origin)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (403, "forbidden")


def test_an_address_gets_so_many_tickets_a_minute_and_is_told_when_to_come_back(start_scripted):
    service = start_scripted(VOCERO_TICKETS_PER_MINUTE="3", VOCERO_TRUSTED_PROXIES="1")

    def ask(address: str) -> requests.Response:
        headers = {"Origin": service.url, "X-Forwarded-For": address}
        return requests.post(f"{service.url}/chat/tickets", json={}, headers=headers, timeout=LIMIT)

    assert [ask("192.0.2.7").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = ask("192.0.2.7")
    assert (refused.json()["detail"]["code"], refused.headers["Retry-After"]) == ("rate_limit_exceeded", "60")
    assert ask("192.0.2.8").status_code == 200


@pytest.mark.parametrize("path", ["get-signed-url", "get_signed_url"])
def test_a_signed_url_is_our_own_address_and_opens_conversations_until_it_expires(
    ask_for_signed_url, scripted_agent, scripted_service, path
):
    url = ask_for_signed_url(path=path).json()["signed_url"]
    assert url.startswith(f"{scripted_service.ws_url}/v1/convai/conversation?agent_id=agent_private&")
    for _ in range(2):
        assert metadata_of(url, scripted_agent) == METADATA


def test_a_signed_url_for_one_conversation_is_used_up(ask_for_signed_url, scripted_agent):
    url = ask_for_signed_url(include_conversation_id="true").json()["signed_url"]
    assert metadata_of(url, scripted_agent) == METADATA
    refusal_of(url, "expired or was used")


def test_a_signed_url_names_the_public_address_when_there_is_one(start_scripted):
    service = start_scripted(VOCERO_PUBLIC_URL="https://voice.example.com/talk")
    answer = requests.get(
        f"{service.url}/v1/convai/conversation/get-signed-url",
        params={"agent_id": "a"},
        headers={"xi-api-key": service.api_key},
        timeout=5,
    )
    assert answer.json()["signed_url"].startswith("wss://voice.example.com/talk/v1/convai/conversation?agent_id=a&")


@pytest.mark.parametrize(("key", "code"), [("", "missing_api_key"), ("nonsense", "invalid_api_key")])
def test_a_signed_url_needs_a_key_of_ours(ask_for_signed_url, key, code):
    answer = ask_for_signed_url(key)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (401, code)


def test_a_key_opens_a_private_agent_as_header_or_as_bearer_subprotocol(scripted_service, scripted_agent):
    url = f"{scripted_service.ws_url}/v1/convai/conversation?agent_id=agent_private"
    key = scripted_service.api_key
    assert metadata_of(url, scripted_agent, additional_headers={"xi-api-key": key}) == METADATA
    assert metadata_of(url, scripted_agent, subprotocols=["convai", f"bearer.{key}"]) == METADATA


@pytest.mark.parametrize(("offered", "chosen"), [(["convai"], "convai"), (["x", "convai"], "convai"), (None, None)])
def test_the_subprotocol_is_echoed_only_when_it_was_offered(talk, offered, chosen):
    """Browser SDKs fail without the echo, the Python SDK with one that it did not ask for."""
    assert talk(initiation=None, subprotocols=offered).subprotocol == chosen


def test_compression_is_never_agreed_though_a_browser_offers_it(talk):
    client = talk(initiation=None, compression="deflate")
    assert "Sec-WebSocket-Extensions" in client.request.headers
    assert client.response.headers.get("Sec-WebSocket-Extensions") is None


def test_webrtc_is_refused_with_a_sentence_that_says_what_to_do(scripted_service):
    answer = requests.get(f"{scripted_service.url}/v1/convai/conversation/token?agent_id=a", timeout=5)
    assert answer.status_code == 400
    assert "websocket" in answer.json()["detail"]["message"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_without_redis_tickets_are_refused_with_when_to_come_back_and_public_agents_go_on(
    start_scripted, scripted_agent
):
    service = start_scripted(VOCERO_REDIS_URL="redis://127.0.0.1:1/0")
    answer = requests.post(f"{service.url}/chat/tickets", json={}, headers={"Origin": service.url}, timeout=LIMIT)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    url = f"{service.ws_url}/v1/convai/conversation?agent_id=agent_demo"
    assert metadata_of(url, scripted_agent) == METADATA
    ready = requests.get(f"{service.url}/readyz", timeout=LIMIT)
    assert (ready.status_code, ready.json()["redis"]) == (503, "ConnectionError")
