"""The page for everybody: screen readers, keyboards, small screens, dark rooms, quiet eyes, Spanish."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.browser.page_stand_in import StandIn, Talk

STATES = [
    "idle",
    "connecting",
    "listening",
    "thinking",
    "speaking",
    "backup",
    "hold",
    "reconnecting",
    "outage",
    "returned",
    "discontinuity",
    "refused",
    "elsewhere",
    "ended",
    "failed",
]
# What the page's own state is then, where it is called otherwise.
STATES_OF = {
    "backup": "speaking",
    "hold": "listening",
    "outage": "reconnecting",
    "returned": "speaking",
    "discontinuity": "speaking",
    "refused": "failed",
    "elsewhere": "failed",
}
PHONE = {"width": 320, "height": 640}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnung"

# Visible boxes that one presses, by name, with their width and height; a label is its radio button's box.
TARGETS = """() => [...document.querySelectorAll('button, textarea, input')]
    .map((element) => [element.dataset.testid || element.name || element.ariaLabel, element.getBoundingClientRect()])
    .filter(([, box]) => box.width > 0)
    .map(([name, box]) => [name, box.width, box.height])"""


def state(page: Page, name: str) -> None:
    expect(page.get_by_test_id("chat")).to_have_attribute("data-state", name)


def bring_into(page: Page, stand_in: StandIn, name: str) -> None:
    """Bring the page into the state as a conversation would."""
    if name == "failed":
        stand_in.ticket_answers.append((503, {"detail": {"message": "No line.", "request_id": "req_1"}}))
    if name != "idle":
        page.get_by_test_id("start-speaking").click()
    if name not in {"idle", "failed"}:
        talk = stand_in.next_talk()
        if name != "connecting":
            lead_to(page, talk, name)
            lead_through_an_outage(page, stand_in, talk, name)
    state(page, STATES_OF.get(name, name))


def lead_to(page: Page, talk: Talk, name: str) -> None:
    talk.hello()
    state(page, "listening")
    talk.transcribe(f"Do you know {LONG_WORD}?", 1)
    state(page, "thinking")
    if name == "thinking":
        return
    talk.say("Yes. It is a very long word, and saying it takes a while.", 2, seconds=25, aligned=True)
    state(page, "speaking")
    expect(page.get_by_test_id("turn-agent")).to_be_visible()
    if name == "backup":
        talk.change_agent("local")
        expect(page.get_by_test_id("backup-badge")).to_be_visible()
    if name in {"listening", "hold"}:
        talk.interrupt(2)
    if name == "hold":
        page.get_by_role("radio", name="Hold to talk").check()
        expect(page.get_by_test_id("hold")).to_be_visible()
    if name == "reconnecting":
        page.evaluate("Math.random = () => 60")  # stay in this state
        talk.drop()
    if name == "ended":
        page.get_by_test_id("end").click()


def lead_through_an_outage(page: Page, stand_in: StandIn, talk: Talk, name: str) -> None:
    if name == "elsewhere":
        talk.close(4409, "resumed elsewhere")
    if name not in {"outage", "returned", "discontinuity", "refused"}:
        return
    talk.give_token("conv_1.a")
    talk.send("ping", ping_event={"event_id": 99, "ping_ms": None})
    talk.expect("pong")  # the token has arrived: what is cut takes along what is still on its way
    page.evaluate("Math.random = () => 3")  # the first try comes when the loss has been noticed
    talk.drop()
    state(page, "reconnecting")
    expect(page.get_by_test_id("outage")).to_be_visible()
    if name == "outage":
        return
    second = stand_in.next_talk()
    second.expect("conversation_resume")
    if name == "refused":
        second.close(1008, "resume_token_expired")
        return
    second.resume("conv_1.b", received=0)
    if name == "discontinuity":
        second.miss(("user", f"Do you know {LONG_WORD}?"), ("agent", "Yes. It is a very long word."))
    second.voice(2, 20)
    expect(page.get_by_test_id("returned")).to_be_visible()


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_for_everybody(open_page: Callable[..., Page], stand_in: StandIn, name: str) -> None:
    """By day and by night axe finds nothing to mend, and it fits a phone; in one page: opening it costs most."""
    page = open_page(color_scheme="light")
    bring_into(page, stand_in, name)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        results = Axe().run(page, options=RULES)
        assert results.violations_count == 0, f"{scheme}: {results.generate_report()}"
    page.set_viewport_size(PHONE)
    check_phone(page)


@pytest.mark.parametrize("name", ["speaking", "failed"])
def test_in_spanish_too_a_phone_of_320_pixels_scrolls_only_downwards_and_every_target_can_be_hit(
    open_page: Callable[..., Page], stand_in: StandIn, name: str
) -> None:
    page = open_page(viewport=PHONE, locale="es-ES")
    bring_into(page, stand_in, name)
    check_phone(page)


def check_phone(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    small = [target for target in page.evaluate(TARGETS) if min(target[1:]) < 24]
    assert small == []


@pytest.mark.parametrize("name", ["idle", "speaking", "failed"])
def test_at_200_percent_zoom_nothing_is_cut_off_sideways(
    open_page: Callable[..., Page], stand_in: StandIn, name: str
) -> None:
    # Zoom halves the room in CSS pixels and doubles the pixels behind each.
    page = open_page(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    bring_into(page, stand_in, name)
    assert page.evaluate("document.documentElement.scrollWidth") == 640


def test_a_whole_conversation_is_possible_with_the_keyboard_alone(
    open_page: Callable[..., Page], stand_in: StandIn
) -> None:
    page = open_page()
    tab_to(page, "start-typing")
    page.keyboard.press("Enter")
    talk = stand_in.next_talk()
    expect(page.get_by_test_id("message")).to_be_focused()
    page.keyboard.type("Good morning")
    page.keyboard.press("Enter")
    talk.hello()  # only now is it connected: what was said before is not lost
    assert talk.expect("user_message")["text"] == "Good morning"
    talk.say("Good morning.", 2)
    expect(page.get_by_role("button", name="Good answer")).to_be_visible()
    tab_to(page, "end")
    page.keyboard.press("Space")
    state(page, "ended")
    expect(page.get_by_test_id("start-speaking")).to_be_focused()
    page.keyboard.press("Enter")
    stand_in.next_talk().hello()
    state(page, "listening")


def tab_to(page: Page, test_id: str) -> None:
    """Press Tab until the part has the focus, and require that the focus can be seen on the way."""
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "(() => { const element = document.activeElement;"
            " if (element === document.body) return 'past the last part';"
            " const seen = element.matches('[type=radio]') ? element.nextElementSibling : element;"
            " return getComputedStyle(seen).outlineStyle; })()"
        )
        assert outline != "none"
        if page.evaluate("document.activeElement.dataset.testid") == test_id:
            return
    raise AssertionError(f"{test_id} cannot be reached with Tab")


def test_the_page_speaks_spanish_to_who_asks_for_it(
    open_page: Callable[..., Page], start_talk: Callable[..., Talk]
) -> None:
    page = open_page(locale="es-MX")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page).to_have_title("Vocero: habla con el agente")
    expect(page.get_by_role("button", name="Empezar a hablar")).to_be_visible()
    expect(page.get_by_test_id("sandbox-banner")).to_contain_text("no ElevenLabs")
    start_talk(page)
    expect(page.get_by_test_id("state-label")).to_have_text("Te toca escribir")
    expect(page.get_by_role("textbox", name="Tu mensaje")).to_be_visible()
    expect(page.get_by_role("slider", name="Volumen")).to_be_visible()


def test_other_languages_get_english(open_page: Callable[..., Page]) -> None:
    page = open_page(locale="de-DE")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("button", name="Start talking")).to_be_visible()


def test_with_reduced_motion_the_orb_stands_still_while_the_meter_shows_the_voice(
    open_page: Callable[..., Page], stand_in: StandIn
) -> None:
    page = open_page(reduced_motion="reduce")
    bring_into(page, stand_in, "speaking")
    expect(page.get_by_test_id("output-meter")).not_to_have_attribute("aria-valuenow", "0")
    drawings = [page.evaluate("document.querySelector('canvas').toDataURL()") for _ in range(3)]
    assert len(set(drawings)) == 1


def test_without_reduced_motion_the_orb_moves(open_page: Callable[..., Page]) -> None:
    page = open_page(reduced_motion="no-preference")
    before = page.evaluate("document.querySelector('canvas').toDataURL()")
    page.wait_for_function("before => document.querySelector('canvas').toDataURL() !== before", arg=before)


def test_failures_interrupt_a_screen_reader_and_captions_wait_their_turn(open_page: Callable[..., Page]) -> None:
    page = open_page()
    expect(page.get_by_test_id("failure")).to_have_attribute("role", "alert")
    expect(page.get_by_test_id("announcer")).to_have_attribute("aria-live", "polite")
    expect(page.get_by_test_id("caption")).to_have_attribute("aria-hidden", "true")
