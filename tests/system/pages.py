"""What the tests of the page do and see on it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from playwright.sync_api import Locator, Page, expect

from sandbox import agents

AUDIBLE = re.compile(r"0\.(0[5-9]|[1-9]).*|1.*")
"""At least 0.05 of full scale; a voice peaks at about 0.5, silence at 0."""

FAQ = Path(agents.__file__).with_name("faq.yaml")


def answer_about(topic: str) -> str:
    """What the sandbox's agent says about a topic of its FAQ, in English."""
    topics = yaml.safe_load(FAQ.read_text())["topics"]
    answer: str = next(each["answers"]["en"] for each in topics if each["id"] == topic)
    return answer


def ask(page: Page, question: str) -> Locator:
    """Write a question; the result is the place of its answer."""
    page.get_by_test_id("message").fill(question)
    page.get_by_test_id("message").press("Enter")
    asked = page.get_by_test_id("turn-user").filter(has_text=question).last
    expect(asked).to_be_visible()
    return asked.locator("xpath=following-sibling::*[@data-testid='turn-agent'][1]")


def begin(page: Page) -> None:
    """Begin a talk by keyboard, and hear the greeting to its end."""
    page.get_by_test_id("start-typing").click()
    expect(page.get_by_test_id("turn-agent").first).to_have_attribute("data-state", "done")


def wait_until_heard(page: Page) -> None:
    """The level that the speaker measures in what it plays, not in what it was given."""
    expect(page.get_by_test_id("chat")).to_have_attribute("data-output-level", AUDIBLE)


def expect_whole(answer: Locator, text: str) -> None:
    """The answer has been heard to its end, and these are its words."""
    expect(answer).to_have_attribute("data-state", "done")
    expect(answer.locator(".words")).to_have_text(text)
