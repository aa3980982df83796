"""What the dashboard says, in English and in Spanish.

The key decision: words stand in one file for each page and language, and are looked up by a key of which the file's
name is the first part: `pool.title` is `title` in `words/en/pool.yaml`. A key that a language lacks is looked up in
English, and one that nobody knows is shown as it is: a page on call is better with an odd word than not at all. A test
requires that neither ever happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español"}
"""By tag, as each calls itself; the first is what whoever speaks none of them gets."""

DEFAULT_LANGUAGE = "en"

_FOLDER = Path(__file__).parent

# The base loader takes everything as text: a key `on` or `no` is no truth value here. In C it takes a tenth of the
# time.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def translate(key: str, language: str, /, **values: Any) -> str:
    """Say it in this language. With `count`, `key.one` or `key.other` is taken where the two exist."""
    text = _find(key, language, values.get("count"))
    if text is None:
        return key
    try:
        return text.format(**values) if values else text
    except (KeyError, IndexError, ValueError):
        return text  # a place that nobody filled: shown as it is, and found by the tests


def words_of(names: Iterable[str], language: str) -> dict[str, str]:
    """Everything that the scripts of these pages may say: the keys `NAME.js.*`."""
    prefixes = tuple(f"{name}.js." for name in names)
    chosen = {key: text for key, text in all_words(DEFAULT_LANGUAGE).items() if key.startswith(prefixes)}
    return chosen | {key: text for key, text in all_words(language).items() if key in chosen}


@cache
def all_words(language: str) -> Mapping[str, str]:
    """Read each file of a language, once."""
    found: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.yaml")):
        for key, text in (yaml.load(path.read_text("utf-8"), Loader=_LOADER) or {}).items():  # noqa: S506
            found[f"{path.stem}.{key}"] = text
    return found


def _find(key: str, language: str, count: Any) -> str | None:
    for words in (all_words(language if language in LANGUAGES else DEFAULT_LANGUAGE), all_words(DEFAULT_LANGUAGE)):
        # Both languages have these two forms, and in both only one itself is "one".
        if count is not None and (text := words.get(f"{key}.{'one' if count == 1 else 'other'}")) is not None:
            return text
        if (text := words.get(key)) is not None:
            return text
    return None
