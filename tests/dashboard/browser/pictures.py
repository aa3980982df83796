"""`python -m tests.dashboard.browser.pictures FOLDER`: pictures of every page, in both themes and two widths.

They are made of the same dashboard that the tests meet, to be looked at by whoever changes a page. `--docs` makes the
two that the documentation has.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from migrations import runner
from scripts.launcher import probes
from scripts.launcher import valkey as embedded_valkey
from scripts.launcher.child import Child
from service.storage import AdminRole, Capability, OverrideMode
from tests.browser.conftest import FLAGS
from tests.dashboard.browser.conftest import RunningDashboard, run_dashboard, show
from tests.dashboard.browser.scene import report_all
from tests.parts import require_program
from tests.servers import ROOT, clean_environment

PAGES = {
    "overview": "/", "pool": "/pool", "fallback": "/fallback", "conversations": "/conversations",
    "conversation": "/conversations/talk_03", "secrets": "/secrets", "keys": "/keys", "users": "/users",
    "audit": "/audit", "account": "/account", "nowhere": "/nowhere", "login": "/login",
}  # fmt: skip
WIDTHS = {1280: 900, 375: 740}
HEIGHT_IN_DOCS = 800
IN_DOCS = {"overview": "light", "fallback": "dark"}


def main() -> None:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images" / "dashboard")
    parser.add_argument("--docs", action="store_true", help="only the two that the documentation has")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chromium = require_program("chromium", "chromium-browser", "google-chrome", remedy="apt-get install chromium")
    with _dashboard() as running, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        if options.docs:
            for name, theme in IN_DOCS.items():
                _take(browser, running, options.folder / f"{name}-{theme}.png", name, theme, 1280, whole=False)
        else:
            for name in options.pages:
                for theme in ("light", "dark"):
                    for width in WIDTHS:
                        _take(browser, running, options.folder / f"{name}-{theme}-{width}.png", name, theme, width)
        browser.close()


@contextmanager
def _dashboard() -> Iterator[RunningDashboard]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runner.upgrade(f"sqlite:///{folder}/empty.db")
        socket = embedded_valkey.socket_path(folder)
        command = embedded_valkey.server_command(folder, socket)
        log = folder / "valkey.log"
        store = Child("Valkey", command, environment=clean_environment(), log_path=log, folder=folder)
        store.start()
        try:
            store.wait_until_ready(lambda: probes.accepts(str(socket)), 30.0)
            running = run_dashboard(folder / "empty.db", folder, embedded_valkey.redis_url(socket))
            running.behind.parts.overrides.set(
                Capability.CONVERSATION, OverrideMode.FORCED_FALLBACK, reason="ElevenLabs reports errors in Europe",
                author="operator", expected_version=0, seconds=900,
            )  # fmt: skip
            report_all(running.behind, modes={"conversation": 1, "speech": 0})
            try:
                yield running
            finally:
                running.child.stop()
                running.behind.close()
        finally:
            store.stop()


def _take(
    browser: Browser, running: RunningDashboard, path: Path, name: str, theme: str, width: int, *, whole: bool = True
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width] if whole else HEIGHT_IN_DOCS},
        color_scheme="dark" if theme == "dark" else "light", locale="en-GB",
        timezone_id="Europe/Madrid", reduced_motion="reduce",
    )  # fmt: skip
    if name != "login":
        running.sign_in(context, AdminRole.ADMIN)
    page = context.new_page()
    show(page, f"{running.url}{PAGES[name]}")
    if page.locator("[data-live]").count():
        page.wait_for_selector('#live-mark[data-state="live"]')
    if page.locator("[data-chart]").count():
        page.wait_for_selector(".chart canvas")
    page.screenshot(path=path, full_page=whole)
    context.close()


if __name__ == "__main__":
    main()
