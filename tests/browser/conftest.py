"""Chromium, the stand-in, and what must hold for the page in every test: no foreign request, no policy violation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect

from tests.browser.page_stand_in import StandIn, Talk

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
# Chromium reports these as console errors although a test provoked them on purpose.
PROVOKED = ("Failed to load resource", "WebSocket connection to")

OpenPage = Callable[..., Page]
ContextWith = Callable[..., BrowserContext]

expect.set_options(timeout=15_000)  # milliseconds; a busy machine is no reason to fail


@pytest.fixture(scope="module")
def browser(chromium: Path, playwright_driver: Playwright) -> Iterator[Browser]:
    """Start Chromium once for a module."""
    running = playwright_driver.chromium.launch(executable_path=chromium, args=FLAGS)
    yield running
    running.close()


@pytest.fixture(scope="module")
def context_with(browser: Browser) -> ContextWith:
    """A context with these options, shared by the tests that want them: a new one is half of what opening a page costs.

    What a page stores belongs to its address, and each test has a server on a port of its own.
    """
    made: dict[str, BrowserContext] = {}

    def context(*, microphone: bool, **options: Any) -> BrowserContext:
        key = f"{microphone} {sorted(options.items())}"
        if key not in made:
            made[key] = browser.new_context(**{"locale": "en-GB", "reduced_motion": "reduce", **options})
            made[key].grant_permissions(["microphone", "clipboard-read", "clipboard-write"] if microphone else [])
        return made[key]

    return context


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture
def open_page(context_with: ContextWith, stand_in: StandIn) -> Iterator[OpenPage]:
    """Open the page with the given context options; afterwards nothing strange may have happened in it."""
    pages: list[Page] = []
    complaints: list[str] = []

    def open_(*, microphone: bool = True, **options: Any) -> Page:
        page = context_with(microphone=microphone, **options).new_page()
        pages.append(page)
        _watch(page, stand_in, complaints)
        page.goto(stand_in.url)
        expect(page.get_by_test_id("chat")).to_have_attribute("data-ready", "true")
        return page

    yield open_
    for page in pages:
        page.close()
        page.context.set_offline(False)
    assert complaints == []


def _watch(page: Page, stand_in: StandIn, complaints: list[str]) -> None:
    own_host = urlsplit(stand_in.url).netloc

    def check_host(url: str) -> None:
        if urlsplit(url).netloc != own_host:
            complaints.append(f"request to another host: {url}")

    def check_message(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(PROVOKED):
            complaints.append(f"console: {message.text}")

    page.on("request", lambda request: check_host(request.url))
    page.on("websocket", lambda websocket: check_host(websocket.url))
    page.on("console", check_message)
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation',"
        " (event) => console.error('policy violated: ' + event.violatedDirective));"
    )


@pytest.fixture
def start_talk(stand_in: StandIn) -> Callable[..., Talk]:
    """Begin a conversation on an open page and greet it; returns the server's side."""

    def start(page: Page, *, by: str = "start-typing", **hello: Any) -> Talk:
        page.get_by_test_id(by).click()
        talk = stand_in.next_talk()
        talk.hello(**hello)
        expect(page.get_by_test_id("chat")).to_have_attribute("data-state", "listening")
        return talk

    return start
