"""What the dashboard says: the same keys in both languages, none that lacks, none that nobody asks for in vain."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from string import Formatter

import pytest
import yaml

from dashboard.web.figures import as_duration, as_instant, as_number
from dashboard.words import LANGUAGES, all_words, translate, words_of

DASHBOARD = Path(__file__).parents[3] / "dashboard"
OTHERS = [language for language in LANGUAGES if language != "en"]
_IN_TEMPLATE = re.compile(r"""\bt\(\s*["']([a-z_]+\.[\w.]+)["']\s*[,)]""")
_IN_SCRIPT = re.compile(r"""\bwords\(\s*["'`]([a-z_]+\.js\.[\w.]+)["'`]\s*[,)]""")
_IN_ATTRIBUTE = re.compile(r"""data-(?:confirm|done)=["']([\w.]+)["']""")
_IN_PYTHON = re.compile(r"""\b(?:translate|Said)\(\s*["']([a-z_]+\.[\w.]+)["']""")


def asked_for() -> set[str]:
    """Every key that is written out somewhere."""
    found: set[str] = set()
    for path in DASHBOARD.rglob("*"):
        if path.suffix in {".html", ".js", ".py"} and "vendor" not in path.parts:
            text = path.read_text()
            for pattern in (_IN_TEMPLATE, _IN_SCRIPT, _IN_ATTRIBUTE, _IN_PYTHON):
                found.update(pattern.findall(text))
    return found


def test_every_key_that_is_written_out_has_words() -> None:
    known = all_words("en")
    assert len(asked_for()) > 100
    assert {key for key in asked_for() if key not in known and f"{key}.other" not in known} == set()


@pytest.mark.parametrize("language", OTHERS)
def test_both_languages_have_the_same_keys_with_the_same_places_to_fill(language: str) -> None:
    def shapes(words: dict[str, str]) -> dict[str, set[str | None]]:
        return {key: {name for _, name, _, _ in Formatter().parse(text) if name} for key, text in words.items()}

    ours, theirs = shapes(dict(all_words("en"))), shapes(dict(all_words(language)))
    assert theirs.keys() == ours.keys()
    # In the singular a language may do without the number.
    assert {key for key in ours if ours[key] - {"count"} != theirs[key] - {"count"}} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_stands_twice_in_a_file_and_no_text_is_empty(language: str) -> None:
    for path in (DASHBOARD / "words" / language).glob("*.yaml"):
        tree = yaml.compose(path.read_text())
        keys = Counter(key.value for key, _ in tree.value)
        assert [key for key, count in keys.items() if count > 1] == [], path.name
        assert [key.value for key, text in tree.value if not str(text.value).strip()] == [], path.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_has_a_singular_has_a_plural(language: str) -> None:
    words = all_words(language)
    singular = {key.removesuffix(".one") for key in words if key.count(".") > 1 and key.endswith(".one")}
    assert {key for key in singular if f"{key}.other" not in words} == set()


def test_a_number_of_one_is_said_in_the_singular() -> None:
    assert translate("common.js.days", "es", count=1) == "1 día"
    assert translate("common.js.days", "es", count=2) == "2 días"


def test_a_language_that_we_do_not_have_is_english_and_an_unknown_key_is_shown_as_it_is() -> None:
    assert translate("common.close", "fr") == "Close"
    assert translate("common.no_such_key", "es") == "common.no_such_key"


def test_a_place_that_nobody_fills_does_not_break_the_page() -> None:
    assert translate("common.js.ago", "en", other="x") == "{time} ago"


def test_scripts_get_the_words_of_their_pages_and_no_others() -> None:
    given = words_of(["common"], "es")
    assert given["common.js.done"] == "Hecho."
    assert all(key.startswith("common.js.") for key in given)


@pytest.mark.parametrize(
    ("value", "digits", "english", "spanish"),
    [
        (1234567.891, 1, "1,234,567.9", "1.234.567,9"),
        (1234, 0, "1,234", "1234"),
        (0.5, 2, "0.50", "0,50"),
        (None, 0, "–", "–"),
        (float("nan"), 0, "–", "–"),
    ],
)
def test_numbers_are_written_as_the_reader_knows_them(
    value: float | None, digits: int, english: str, spanish: str
) -> None:
    assert (as_number(value, digits, "en"), as_number(value, digits, "es")) == (english, spanish)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.42 s"), (9.5, "9.5 s"), (9.99, "10 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"),
        (7500, "2 h 05 min"), (3 * 86_400 + 4 * 3600, "3 d 4 h"), (-5, "-5.0 s"), (None, "–"),
    ],
)  # fmt: skip
def test_lengths_of_time_have_the_units_that_a_glance_needs(seconds: float | None, text: str) -> None:
    assert as_duration(seconds, "en") == text


def test_a_time_that_no_calendar_has_is_none() -> None:
    assert as_instant(1e20) is None
    assert as_instant(None) is None
