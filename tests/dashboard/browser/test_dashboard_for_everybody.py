"""The dashboard for everybody: screen readers, keyboards, small screens, dark rooms, Spanish."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.dashboard.browser.conftest import DashboardPage, RunningDashboard, ready, show
from tests.dashboard.dashboards import PASSWORD

PATHS = (
    "/", "/pool", "/fallback", "/conversations", "/conversations/talk_03", "/secrets", "/keys", "/users", "/audit",
    "/account",
)  # fmt: skip
# What does not come up is not worked out, which is most of what axe costs.
FAULTS_ALONE = {"resultTypes": ["violations"], "selectors": False}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, **FAULTS_ALONE}
# Each part that has colours of its own is on one of these.
COLOURFUL = ("/", "/fallback", "/conversations/talk_03", "/audit", "help")
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    **FAULTS_ALONE,
}

OPEN_ALL = "document.querySelectorAll('main details').forEach((details) => (details.open = true))"
# Visible things that one presses, by name, with their smaller side. What stands in a line of text may be smaller.
TARGETS = """() => [...document.querySelectorAll('button, input, select, textarea, summary, nav a')]
    .map((element) => [element.dataset.testid || element.name || element.textContent, element.getBoundingClientRect(),
                       element.labels?.[0]?.getBoundingClientRect()])
    .filter(([, box]) => box.width > 0)
    .map(([name, box, label]) => [name, Math.max(Math.min(box.width, box.height),
                                                 label ? Math.min(label.width, label.height) : 0)])"""


def test_axe_finds_nothing_to_mend_on_any_page_in_either_theme(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    page = dashboard_page(color_scheme="light")
    faults: list[tuple[str, str, str, list[str]]] = []
    for path in (*PATHS, "help"):
        if path == "help":
            page.get_by_test_id("open-help").click()
        else:
            show(page, f"{running_dashboard.url}{path}")
            page.evaluate(OPEN_ALL)  # what can be opened is to be read too
        for scheme, rules in (("light", RULES), ("dark", COLOURS))[: 2 if path in COLOURFUL else 1]:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = Axe().run(page, options=rules).response["violations"]
            faults += [(path, scheme, each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]
    assert faults == []


def test_small_screens_and_large_letters_scroll_only_downwards_and_every_target_can_be_hit(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    # Spanish has the longer words.
    page = dashboard_page(locale="es-ES", viewport={"width": 375, "height": 740})
    for path in PATHS:
        page.set_viewport_size({"width": 375, "height": 740})
        show(page, f"{running_dashboard.url}{path}")
        page.evaluate(OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, path
        assert [target for target in page.evaluate(TARGETS) if target[1] < 24] == [], path
        # A window of 1280 pixels at 200 % has room for 640 of CSS's.
        page.set_viewport_size({"width": 640, "height": 400})
        assert page.evaluate("document.documentElement.scrollWidth") <= 640, path
    page.get_by_test_id("menu").click()
    page.get_by_test_id("go-pool").click()
    expect(page).to_have_url(f"{running_dashboard.url}/pool")


def test_signing_in_and_looking_around_is_possible_with_the_keyboard_alone(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    page = dashboard_page(None, "/pool")
    expect(page).to_have_url(f"{running_dashboard.url}/login?next=%2Fpool")
    expect(page.get_by_test_id("name")).to_be_focused()
    page.keyboard.type("operator")
    tab_to(page, "password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{running_dashboard.url}/pool")
    ready(page)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Bring the page up to date now")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page).to_have_url(f"{running_dashboard.url}/conversations")
    ready(page)
    page.keyboard.press("/")
    expect(page.locator("[data-search]").first).to_be_focused()
    page.keyboard.type("g f")  # it is typed, and leads nowhere
    expect(page).to_have_url(f"{running_dashboard.url}/conversations")


def test_language_and_theme_are_chosen_at_the_foot_and_stay(
    dashboard_page: DashboardPage, running_dashboard: RunningDashboard
) -> None:
    page = dashboard_page("viewer", color_scheme="light")
    page.get_by_test_id("language-es").click()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    ready(page)
    page.get_by_test_id("theme").select_option("dark")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    show(page, f"{running_dashboard.url}/pool")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    assert page.evaluate(background) == dark == "rgb(13, 20, 18)"


def tab_to(page: Page, test_id: str) -> None:
    """Press Tab until the part has the focus, and require that the focus can be seen on the way."""
    for _ in range(25):
        page.keyboard.press("Tab")
        seen = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert seen != "none", page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("document.activeElement.dataset.testid") == test_id:
            return
    raise AssertionError(f"{test_id} cannot be reached by Tab")
