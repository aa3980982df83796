"""How the pages of conversations put into words what the records have as codes.

The key decision: a code that no word is known for is shown as it is. Records may be of a newer or older release, and
what somebody else's server gave as a code is nothing to guess at.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint

from dashboard.web.kinds import DEFECTS
from dashboard.web.looks import language
from dashboard.words import DEFAULT_LANGUAGE, all_words, translate
from service.storage import ConversationSummary
from service.storage.conversation_records import GOOD_END_CODES

_ENDING = re.compile(r"(client|agent|service) (\d{1,5})")


def install_words(blueprint: Blueprint) -> None:
    """Give the templates of this blueprint these functions."""
    blueprint.context_processor(
        lambda: {
            "provider_name": provider_name,
            "cause_in_words": cause_in_words,
            "defect_in_words": defect_in_words,
            "defect_kind": lambda defect: DEFECTS.get(defect, "warn"),
            "ending_in_words": ending_in_words,
            "is_bad_ending": is_bad_ending,
            "clock": clock,
        }
    )


def provider_name(provider: str) -> str:
    """What people call a provider."""
    return _known(f"provider.{provider}") or provider


def cause_in_words(cause: str | None) -> str:
    """Why a leg began or ended."""
    if not cause:
        return _said("cause.unknown")
    ending = _ENDING.fullmatch(cause)
    if ending is not None:
        return _ending(ending[1], int(ending[2]))
    return _known(f"cause.{cause}") or cause


def defect_in_words(defect: str) -> str:
    """What is wrong with the sound of an answer."""
    return _known(f"defect.{defect}") or defect


def ending_in_words(summary: ConversationSummary) -> str:
    """Who ended a conversation, and how."""
    return _ending(None if summary.ended_by is None else summary.ended_by.value, summary.end_code)


def is_bad_ending(summary: ConversationSummary) -> bool:
    """Whether the client's connection did not close as one that is done with."""
    return summary.end_code is not None and summary.end_code not in GOOD_END_CODES


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Seconds as minutes and seconds: 4:07, 4:07.3 or 1:00:03."""
    units = max(0, int(seconds * 10)) if tenths else max(0, int(seconds)) * 10
    minutes, rest = divmod(units, 600)
    hours, minutes = divmod(minutes, 60)
    behind = f"{rest // 10:02}.{rest % 10}" if tenths else f"{rest // 10:02}"
    return f"{hours}:{minutes:02}:{behind}" if hours else f"{minutes}:{behind}"


def _ending(by: str | None, code: int | None) -> str:
    who = _said(f"by.{by}") if by is not None else _said("by.unknown")
    if code is None:
        return who
    return _said("ending", who=who, how=_known(f"code.{code}") or _said("code.other"), code=code)


def _said(key: str, **values: Any) -> str:
    return translate(f"conversations.{key}", language(), **values)


def _known(key: str) -> str | None:
    return _said(key) if f"conversations.{key}" in all_words(DEFAULT_LANGUAGE) else None
