"""The way to the provider and back in a real browser, for which the provider is another site than we are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, expect
from werkzeug.serving import make_server

from tests.browser.conftest import FLAGS
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.oidc.provider import Provider, QuietRequests

LONG_AGO = 3600


@pytest.fixture
def address(joined: Dashboard) -> Iterator[str]:
    """Serve the dashboard; `localhost` is another site than the provider's `127.0.0.1`."""
    server = make_server("localhost", 0, joined.app, threaded=True, request_handler=QuietRequests)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(chromium: Path, playwright_driver: Playwright) -> Iterator[Page]:
    browser = playwright_driver.chromium.launch(executable_path=chromium, args=FLAGS)
    yield browser.new_page(locale="en-GB")
    browser.close()


def test_an_admin_signs_in_by_the_provider_and_shows_the_password_there_when_it_is_needed(
    page: Page, address: str, provider: Provider
) -> None:
    provider.person["groups"] = ["vocero-admins"]
    provider.shows_a_page = True  # else the browser takes the whole way for one that began with us
    provider.auth_time = int(time.time()) - LONG_AGO
    page.goto(f"{address}/users")
    page.get_by_test_id("sign-in-by-provider").click()
    page.get_by_test_id("it-is-me").click()
    expect(page).to_have_url(f"{address}/users")  # the session's cookie, which other sites never have shown, was shown
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    page.get_by_test_id("new-user-open").click()
    page.get_by_test_id("new-name").fill("luis")
    page.get_by_test_id("new-submit").click()
    page.get_by_test_id("confirm-submit").click()
    expect(page.get_by_test_id("confirm-form")).to_contain_text("Not yet.")
    with page.expect_popup() as opened:
        page.get_by_test_id("confirm-elsewhere").click()
    opened.value.get_by_test_id("it-is-me").click()
    expect(opened.value.get_by_test_id("confirmed")).to_be_visible()
    opened.value.close()
    page.get_by_test_id("confirm-submit").click()
    expect(page.get_by_role("dialog", name="Password made")).to_be_visible()
