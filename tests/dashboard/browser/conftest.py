"""A real dashboard in front of a real Chromium, and what must hold in every test: nothing foreign, nothing refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect

from scripts.launcher import probes
from scripts.launcher.child import Child
from service.storage import AdminRole
from tests.browser.conftest import FLAGS
from tests.conftest import NewRedis
from tests.dashboard.browser.scene import set_scene
from tests.dashboard.dashboards import Dashboard, open_dashboard
from tests.servers import ROOT, clean_environment, free_port, start_until_ready

READY_SECONDS = 60.0
# Chromium calls these errors although a test provoked them on purpose.
PROVOKED = ("Failed to load resource",)

DashboardPage = Callable[..., Page]


@dataclass(frozen=True)
class RunningDashboard:
    """The process that browsers meet; `behind` is the same application here, over the same stores."""

    url: str
    behind: Dashboard
    child: Child

    def sign_in(self, context: BrowserContext, role: AdminRole) -> str:
        """Sign a browser in as the user of this role, without the way through the sign-in page; returns the session."""
        parts = self.behind.parts
        cookie, session = parts.sessions.begin(self.behind.user(role), address="127.0.0.1", agent="a test's Chromium")
        context.add_cookies([{"name": parts.cookies.session_name, "value": cookie, "url": self.url}])
        return session.id


def run_dashboard(database: Path, folder: Path, redis_url: str) -> RunningDashboard:
    """Start one over a copy of a migrated database, with the scene in it."""
    behind = open_dashboard(database, folder, redis_url)
    set_scene(behind)
    port = free_port()
    environment = clean_environment(
        VOCERO_DASHBOARD_PORT=str(port),
        VOCERO_REDIS_URL=redis_url,
        VOCERO_DATABASE_URL=f"sqlite:///{folder / 'dashboard.db'}",
    )
    child = Child(
        "dashboard",
        [sys.executable, "-m", "gunicorn", "-c", "dashboard/gunicorn_conf.py", "dashboard.wsgi:app"],
        environment=environment,
        log_path=folder / "dashboard.log",
        folder=ROOT,
    )
    running = RunningDashboard(f"http://127.0.0.1:{port}", behind, child)
    try:
        start_until_ready(child, lambda: probes.answers(f"{running.url}/livez"), READY_SECONDS)
    except BaseException:  # nothing is left running, whatever happened
        behind.close()
        raise
    return running


@pytest.fixture(scope="module")
def browser(chromium: Path, playwright_driver: Playwright) -> Iterator[Browser]:
    """Start Chromium once for a module; every test gets a context of its own."""
    running = playwright_driver.chromium.launch(executable_path=chromium, args=FLAGS)
    yield running
    running.close()


@pytest.fixture(scope="module")
def running_dashboard(
    migrated_database: Path, tmp_path_factory: pytest.TempPathFactory, new_redis: NewRedis
) -> Iterator[RunningDashboard]:
    """The dashboard, with an outage to look at; the tests of a module share it."""
    redis_url = new_redis()
    running = run_dashboard(migrated_database, tmp_path_factory.mktemp("dashboard"), redis_url)
    yield running
    running.child.stop()
    running.behind.close()


@pytest.fixture
def dashboard_page(browser: Browser, running_dashboard: RunningDashboard) -> Iterator[DashboardPage]:
    """Open a page as somebody of a role: `dashboard_page("viewer", "/pool", color_scheme="dark")`; None: signed out."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_(role: str | None = "admin", path: str = "/", **options: Any) -> Page:
        given = {"locale": "en-GB", "timezone_id": "Europe/Madrid", "reduced_motion": "reduce", **options}
        context = browser.new_context(**given)
        contexts.append(context)
        if role is not None:
            running_dashboard.sign_in(context, AdminRole(role))
        page = context.new_page()
        watch(page, running_dashboard.url, complaints)
        show(page, f"{running_dashboard.url}{path}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def show(page: Page, url: str) -> None:
    """Go there, and wait until it listens."""
    page.goto(url)
    ready(page)


def ready(page: Page) -> None:
    """Wait until the page's scripts have begun."""
    expect(page.locator("html")).to_have_attribute("data-ready", "true")


def watch(page: Page, url: str, complaints: list[str]) -> None:
    """Note each request to another host, each violation of the policy, and whatever the console complains about."""
    own_host = urlsplit(url).netloc

    def check_host(asked: str) -> None:
        if not asked.startswith(("data:", "blob:")) and urlsplit(asked).netloc != own_host:
            complaints.append(f"request to another host: {asked}")

    def check_message(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(PROVOKED):
            complaints.append(f"console: {message.text}")

    page.on("request", lambda request: check_host(request.url))
    page.on("console", check_message)
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation',"
        " (event) => console.error('policy violated: ' + event.violatedDirective));"
    )
