from __future__ import annotations

import json

import pytest

from service.elevenlabs.live_conversation import read_signed_url, socket_base_url
from service.errors import UpstreamProtocolError

PATH = "/v1/convai/conversation?agent_id=a&conversation_signature=cvtkn_x"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.elevenlabs.io", f"wss://api.elevenlabs.io{PATH}"),
        ("https://api.elevenlabs.io", f"wss://API.ElevenLabs.io:443{PATH}"),
        ("https://api.elevenlabs.io", f"wss://api.eu.residency.elevenlabs.io{PATH}"),
        ("https://proxy.example:8443/eleven", f"wss://proxy.example:8443/eleven{PATH}"),
        ("https://proxy.example", f"wss://api.elevenlabs.io{PATH}"),
        ("http://127.0.0.1:8011", f"ws://127.0.0.1:8011{PATH}"),
        ("http://[::1]:8011", f"ws://[::1]:8011{PATH}"),
    ],
)
def test_a_signed_url_to_where_we_meant_to_go_is_taken_as_it_is(base_url: str, url: str) -> None:
    assert read_signed_url(json.dumps({"signed_url": url}).encode(), base_url) == url


@pytest.mark.parametrize(
    "url",
    [
        f"wss://evil.example{PATH}",
        f"wss://elevenlabs.io.evil.example{PATH}",
        f"wss://evilelevenlabs.io{PATH}",
        f"wss://api.elevenlabs.io:8443{PATH}",
        f"wss://api.elevenlabs.io@evil.example{PATH}",
        f"wss://evil.example\\@api.elevenlabs.io{PATH}",
        f"wss://user:word@api.elevenlabs.io{PATH}",
        f"wss://api.elevenlabs.io:port{PATH}",
        f"wss://api.elevenlabs.io:0{PATH}",
        f"wss://[api.elevenlabs.io{PATH}",
        f"ws://api.elevenlabs.io{PATH}",
        f"https://api.elevenlabs.io{PATH}",
        f"wss://api.elevenlabs.io{PATH}#fragment",
        f"wss://api.elevenlabs.io{PATH} ",
        f"wss://api.elevenlabs.io{PATH}\r\nx: y",
        f"wss://api.elevenlabs.io/\u2028{PATH}",
        "wss:///v1/convai/conversation",
        "/v1/convai/conversation",
        "",
    ],
)
def test_a_signed_url_that_leads_elsewhere_or_is_read_differently_by_others_is_refused(url: str) -> None:
    with pytest.raises(UpstreamProtocolError) as caught:
        read_signed_url(json.dumps({"signed_url": url}).encode(), "https://api.elevenlabs.io")
    assert caught.value.code == "foreign_signed_url"
    assert "cvtkn_x" not in str(caught.value)


@pytest.mark.parametrize("url", [f"ws://127.0.0.1:8012{PATH}", f"wss://api.elevenlabs.io{PATH}", f"ws://other{PATH}"])
def test_a_sandbox_may_only_name_itself(url: str) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_signed_url(json.dumps({"signed_url": url}).encode(), "http://127.0.0.1:8011")


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"[]", b'"x"', b'{"signed_url":7}', b'{"signed_url":null}', b"<html>"]
)
def test_an_answer_without_a_signed_url_is_refused(document: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read_signed_url(document, "https://api.elevenlabs.io")


@pytest.mark.parametrize(
    ("base_url", "expected"), [("https://a.b/c", "wss://a.b/c"), ("http://127.0.0.1:1", "ws://127.0.0.1:1")]
)
def test_the_sockets_address_follows_from_the_base_url(base_url: str, expected: str) -> None:
    assert socket_base_url(base_url) == expected
