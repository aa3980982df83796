"""Guess the language of a text: the multilingual models speak a text as it is written, without being told.

The key decision: only the two languages that everything here has, by letters that only one has and by its commonest
words. That is right for whole sentences; a single word that both have follows the voice.
"""

from __future__ import annotations

import re

_SPANISH_LETTERS = re.compile(r"[¿¡ñáéíóú]", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
_SPANISH = frozenset(
    [
        "el",
        "la",
        "los",
        "las",
        "de",
        "que",
        "y",
        "en",
        "un",
        "una",
        "es",
        "por",
        "para",
        "con",
        "no",
        "su",
        "al",
        "lo",
        "como",
        "más",
        "hola",
        "gracias",
    ]
)
_ENGLISH = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "you",
        "that",
        "it",
        "for",
        "on",
        "are",
        "with",
        "as",
        "be",
        "at",
        "have",
        "this",
        "hello",
        "thanks",
        "we",
    ]
)


def guess_language(text: str, *, otherwise: str) -> str:
    """Give "en" or "es", or `otherwise` where the text does not tell."""
    words = [word.casefold() for word in _WORD.findall(text[:2000])]
    spanish = sum(word in _SPANISH for word in words) + 2 * len(_SPANISH_LETTERS.findall(text[:2000]))
    english = sum(word in _ENGLISH for word in words)
    if spanish == english:
        return otherwise
    return "es" if spanish > english else "en"
