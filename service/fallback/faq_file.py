"""Read and check a FAQ file: topics with questions and answers in each language, and the honest "I don't know".

The key decision: a file with a mistake is refused whole at start, with the topic's name, because an operator writes it
and nobody else would notice a question without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from service.errors import SettingsError
from service.fallback.faq_words import LANGUAGES, Language


@dataclass(frozen=True)
class Topic:
    """One subject. `answer_again` marks the one that says the agent's last answer once more."""

    id: str
    questions: Mapping[Language, tuple[str, ...]]
    answers: Mapping[Language, str]
    answer_again: bool = False


@dataclass(frozen=True)
class Faq:
    """A whole file."""

    topics: tuple[Topic, ...]
    unknown: Mapping[Language, str]


def read_faq(path: Path) -> Faq:
    """Read the file at `path`; see `sandbox/faq.yaml` for the shape.

    Raises:
        SettingsError: the file is missing, is not YAML, or a topic is incomplete; the message says which.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(f"The FAQ file {path} cannot be read ({exc.strerror or exc}).") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"The FAQ file {path.name} cannot be read (it is not UTF-8).") from exc
    except yaml.YAMLError as exc:  # its own text has several lines, and quotes the file
        mark = getattr(exc, "problem_mark", None)
        where = "it" if mark is None else f"line {mark.line + 1}"
        raise SettingsError(f"The FAQ file {path.name} cannot be read ({where} is not YAML).") from exc
    if not isinstance(document, dict) or not isinstance(document.get("topics"), list):
        raise SettingsError(f"The FAQ file {path.name} needs a list called topics.")
    topics = tuple(_topic(entry) for entry in document["topics"])
    if len({topic.id for topic in topics}) < len(topics):
        raise SettingsError(f"The FAQ file {path.name} has two topics of one id.")
    return Faq(topics, _sentences(document.get("unknown"), "unknown"))


def _topic(entry: Any) -> Topic:
    name = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise SettingsError(f"A topic of the FAQ file has no id: {str(entry)[:60]}")
    asked = entry.get("questions")
    questions: dict[Language, tuple[str, ...]] = {}
    for language in LANGUAGES:
        found = _mapping(asked, name).get(language)
        if not isinstance(found, list) or not found or not all(isinstance(question, str) for question in found):
            raise SettingsError(f"FAQ topic {name!r} needs a list of questions in {language!r}.")
        questions[language] = tuple(found)
    answers = _sentences(entry.get("answers"), name)
    return Topic(name, questions, answers, answer_again=entry.get("answer_again") is True)


def _sentences(found: Any, name: str) -> dict[Language, str]:
    texts = {language: _mapping(found, name).get(language) for language in LANGUAGES}
    if not all(isinstance(text, str) and text.strip() for text in texts.values()):
        raise SettingsError(f"FAQ topic {name!r} needs a text in each of {', '.join(LANGUAGES)}.")
    return {language: " ".join(str(text).split()) for language, text in texts.items()}


def _mapping(found: Any, name: str) -> dict[Any, Any]:
    if not isinstance(found, dict):
        raise SettingsError(f"FAQ topic {name!r} needs its texts by language.")
    return found
