"""The official browser SDK in Chromium, on a shop's own page, with a signed URL that the shop's backend asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests.parts import require
from tests.servers import RunningService, start_service

BUNDLE = Path(__file__).parent.parent / "browser/javascript/node_modules/@elevenlabs/client/dist/lib.iife.js"
LIMIT_MILLISECONDS = 40_000
PAGE = b"""<!doctype html><title>A shop</title><script src="lib.iife.js"></script><script>
window.seen = {messages: [], modes: [], errors: [], disconnected: null, audio: 0};
window.talk = async (options) => {
  window.conversation = await ElevenLabsClient.Conversation.startSession({
    ...options,
    onMessage: (message) => seen.messages.push(message),
    onModeChange: ({mode}) => seen.modes.push(mode),
    onAudio: () => seen.audio++,
    onError: (message) => seen.errors.push(String(message)),
    onDisconnect: (details) => seen.disconnected = details,
    clientTools: {get_local_time: async () => "nine o'clock"},
  });
  return window.conversation.getId();
};
</script>"""


class _Shop(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        body = BUNDLE.read_bytes() if self.path == "/lib.iife.js" else PAGE
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if self.path == "/lib.iife.js" else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    require("the npm package @elevenlabs/client", BUNDLE.exists(), "npm ci in tests/browser/javascript")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Shop))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, service_settings: dict[str, str], api_key: str, shop: str
) -> Iterator[RunningService]:
    """One that lets the shop's page in."""
    settings = {**service_settings, "VOCERO_ALLOWED_ORIGINS": shop}
    running = start_service(tmp_path_factory.mktemp("service"), api_key, settings)
    yield running
    running.discard()


def signed_url(service, agent_id: str) -> str:
    answer = requests.get(
        f"{service.url}/v1/convai/conversation/get-signed-url",
        params={"agent_id": agent_id},
        headers={"xi-api-key": service.api_key},
        timeout=10,
    )
    return answer.json()["signed_url"]


def test_a_spoken_conversation_by_signed_url(service, shop, open_page, ears):
    page = open_page(shop, recording="question-hours-en.wav")
    conversation_id = page.evaluate(
        "url => talk({signedUrl: url, connectionType: 'websocket', connectionDelay: {default: 0}})",
        signed_url(service, "agent_demo"),
    )
    assert conversation_id.startswith("conv_")
    page.wait_for_function(
        "seen.messages.some(m => m.role === 'user' && /opening hours/i.test(m.message))", timeout=LIMIT_MILLISECONDS
    )
    page.wait_for_function(
        "seen.messages.some(m => m.role === 'agent' && /monday/i.test(m.message))", timeout=LIMIT_MILLISECONDS
    )
    page.wait_for_function("seen.modes.includes('speaking') && seen.audio > 3", timeout=LIMIT_MILLISECONDS)
    page.evaluate("conversation.endSession()")
    page.wait_for_function("seen.disconnected !== null", timeout=LIMIT_MILLISECONDS)
    assert page.evaluate("seen.disconnected.reason") == "user"
    assert page.evaluate("seen.errors") == []


def test_a_typed_conversation_with_a_client_tool(service, shop, open_page):
    page = open_page(shop)
    page.evaluate(
        "url => talk({signedUrl: url, connectionType: 'websocket', connectionDelay: {default: 0}})",
        signed_url(service, "agent_demo"),
    )
    page.evaluate("conversation.sendUserMessage('What time is it on my device?')")
    page.wait_for_function(
        "seen.messages.some(m => m.role === 'agent' && /nine o.clock/i.test(m.message))", timeout=LIMIT_MILLISECONDS
    )
    assert page.evaluate("seen.errors") == []


@pytest.mark.parametrize(
    ("agent_id", "origin_is_listed", "words"),
    [("agent_nobody", True, "does not exist"), ("agent_demo", False, "connection")],
)
def test_a_conversation_that_cannot_be_tells_the_shops_page_why(
    service, shop, open_page, agent_id, origin_is_listed, words
):
    # A page of the same shop at another address is another origin.
    page = open_page(shop if origin_is_listed else shop.replace("localhost", "127.0.0.1"))
    reason = page.evaluate(
        """url => talk({signedUrl: url, connectionType: 'websocket', connectionDelay: {default: 0}})
                  .then(() => 'it started', error => error.message)""",
        signed_url(service, agent_id),
    )
    assert words in reason.lower()
