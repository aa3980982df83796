"""ElevenLabs dies while the page speaks: a backup finishes the sentence and goes on, until ElevenLabs is back."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests import servers
from tests.parts import require_module
from tests.system.pages import answer_about, ask, begin, expect_whole, wait_until_heard

# Somebody steps in, and everything that waits before ElevenLabs is believed again waits for a moment only.
SHORT = {
    "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
    "VOCERO_BREAKER_OPEN_SECONDS": "1",
    "VOCERO_BREAKER_PROBE_SECONDS": "0.5",
    "VOCERO_BREAKER_DWELL_SECONDS": "1",
    "VOCERO_BREAKER_RAMP_SECONDS": "0",
    "VOCERO_BREAKER_FLAP_SECONDS": "0",
    "VOCERO_LEG_OPENING_SECONDS": "2",
}


@pytest.fixture(autouse=True)
def _patience() -> None:
    require_module("espeakng_loader", "local")  # users must not hear tones, so without a voice nobody steps in
    expect.set_options(timeout=60_000)


def test_the_backup_finishes_the_sentence_goes_on_and_gives_the_talk_back(
    start_sandbox, start_service, open_page, tmp_path
):
    sandbox = start_sandbox()
    service = start_service(ELEVENLABS_BASE_URL=sandbox.url, **SHORT)
    page = open_page(service.url)
    begin(page)

    answer = ask(page, "What are your opening hours?")
    wait_until_heard(page)
    expect(page.get_by_test_id("caption-spoken")).not_to_be_empty()
    sandbox.child.kill()
    notice = page.get_by_test_id("turn-notice")
    expect(notice).to_have_text(re.compile("Our usual voice is not available; another one goes on."))
    expect(page.get_by_test_id("backup-badge")).to_be_visible()
    expect(page.get_by_test_id("announcer")).to_contain_text("another one goes on")
    wait_until_heard(page)
    assert [violation["id"] for violation in Axe().run(page).response["violations"]] == []
    expect_whole(answer, answer_about("opening-hours"))

    expect_whole(
        ask(page, "What happened?"),
        "Our usual assistant cannot be reached right now, so I have stepped in with a simpler voice. "
        "I can only help with a few things until it is back.",
    )
    expect(page.get_by_test_id("chat")).to_have_attribute("data-voice", "backup")

    again = servers.start_sandbox(tmp_path, "--port", str(sandbox.port))
    try:
        expect(notice.last).to_have_text(re.compile("The usual voice is back."))
        expect(page.get_by_test_id("backup-badge")).to_be_hidden()
        expect_whole(ask(page, "Where is the shop?"), answer_about("address"))
        expect(page.get_by_test_id("turn-user")).to_have_count(3)
        expect(notice).to_have_count(2)
        page.get_by_test_id("end").click()
        expect(page.get_by_test_id("chat")).to_have_attribute("data-state", "ended")
    finally:
        again.child.stop()
