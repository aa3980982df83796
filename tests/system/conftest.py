"""A real Chromium whose microphone plays a recording, in front of the real service and sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright

from tests.browser.conftest import FLAGS
from tests.parts import require_module

DATA = Path(__file__).parent.parent / "data"
OpenPage = Callable[..., Page]


@pytest.fixture
def ears() -> None:
    """Needed where the sandbox must understand speech."""
    require_module("faster_whisper", "local")


@pytest.fixture
def open_page(chromium: Path, playwright_driver: Playwright) -> Iterator[OpenPage]:
    """`open_page(url, recording=...)`: a page whose microphone plays the recording once."""
    with ExitStack() as stack:

        def open_(url: str, *, recording: str | None = None, **options: object) -> Page:
            flags = [*FLAGS, "--autoplay-policy=no-user-gesture-required"]
            if recording is not None:
                flags.append(f"--use-file-for-fake-audio-capture={DATA / recording}%noloop")
            browser = playwright_driver.chromium.launch(executable_path=chromium, args=flags)
            stack.callback(browser.close)
            context = browser.new_context(**{"locale": "en-GB", "permissions": ["microphone"], **options})
            page = context.new_page()
            page.goto(url)
            return page

        yield open_
