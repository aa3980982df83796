"""The story of an outage that people take into their own hands: force the fallback, see it obeyed, go back."""

from __future__ import annotations

import io
import wave
from contextlib import closing

from playwright.sync_api import Page, expect

from service.orders import OrderKind
from service.orders.taker import Deed, Done, OrderTaker
from service.storage import Capability, OverrideMode
from tests.dashboard.browser.conftest import DashboardPage, RunningDashboard
from tests.dashboard.browser.scene import report_all


def order(page: Page) -> None:
    page.get_by_test_id("order-submit-conversation").click()
    page.get_by_test_id("confirm-yes").click()


def test_an_operator_forces_the_fallback_sees_all_workers_obey_and_goes_back(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    behind = running_dashboard.behind
    report_all(behind, modes={"conversation": 0})
    page = dashboard_page("operator", "/fallback")
    mode, obey = page.get_by_test_id("mode-conversation"), page.get_by_test_id("obey-conversation")
    reason = page.get_by_test_id("reason-conversation")

    page.get_by_test_id("switch-conversation").locator("summary").focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("mode-conversation-auto").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    preview = page.get_by_test_id("preview-conversation")
    expect(preview).to_contain_text("of them move to Backup at their next turn.")
    reason.fill("ElevenLabs is slow")
    page.get_by_test_id("duration-conversation").select_option("900")
    page.get_by_test_id("order-submit-conversation").click()
    expect(page.get_by_test_id("confirm")).to_contain_text("Fallback only for Conversations, 15 minutes.")
    page.get_by_test_id("confirm-yes").click()
    expect(mode).to_contain_text("Fallback only")
    expect(obey).to_contain_text("0 of 4 workers obey")
    report_all(behind, modes={"conversation": 1})
    expect(obey).to_contain_text("4 of 4 workers obey")
    expect(page.get_by_test_id("happened-ordered").first).to_contain_text("ElevenLabs is slow")

    page.get_by_test_id("back-conversation").click()
    reason.fill("it is well again")
    behind.parts.overrides.set(
        Capability.CONVERSATION, OverrideMode.FORCED_PRIMARY, reason="I have seen to it", author="zoe",
        expected_version=1,
    )  # fmt: skip
    order(page)
    expect(page.get_by_test_id("order-conversation").get_by_role("alert")).to_contain_text("zoe was faster")
    expect(reason).to_have_value("it is well again")
    expect(mode).to_contain_text("Primary only")
    order(page)
    expect(mode).to_contain_text("Automatic")


def test_what_a_provider_says_can_be_listened_to(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as silence:
        silence.setparams((1, 2, 16_000, 0, "NONE", ""))
        silence.writeframes(bytes(16_000))
    done = Done("spoken", details={"first_byte_seconds": 0.31}, sound=sound.getvalue())
    deeds = {OrderKind.CANARY: Deed(lambda _order: done)}
    page = dashboard_page("operator", "/fallback")
    # The worker with the fewest conversations is asked.
    with closing(OrderTaker(running_dashboard.behind.store, worker="madrid-1/1", deeds=deeds)) as taker:
        taker.start()
        page.get_by_test_id("canary-speech-elevenlabs").click()
        expect(page.get_by_test_id("canary")).to_contain_text("The first sound came after 0.31 s. (madrid-1/1)")
    player = page.get_by_test_id("canary-sound")
    expect(player).to_be_visible()
    assert player.evaluate("async (audio) => { audio.muted = true; await audio.play(); return audio.duration; }") == 0.5
