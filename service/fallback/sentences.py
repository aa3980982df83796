"""Cut text into sentences that can be spoken one after the other.

The key decision: the cut is lossless (white space stays at the end of its sentence), so that a sentence's place in
the text is the sum of the lengths before it.
"""

from __future__ import annotations

import re

MAX_SENTENCE_CHARACTERS = 200

# Followed by a name or a number, so what comes after them starts no sentence. Words that often end one ("no", "art")
# are not here: a needless pause is heard less than two sentences run into one.
_TITLES = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "sr", "sra", "srta", "dra", "dña", "ud", "uds", "gen", "col", "lt", "sgt", "rev"}
    | {"st", "fig", "tel", "tlf", "nº", "núm", "pág", "págs", "pp", "vol", "av", "avda", "ctra", "pza", "apdo"}
)
# May end a sentence or stand within it: the next letter's case decides.
_ABBREVIATIONS = frozenset({"etc", "vs", "inc", "ltd", "co", "corp", "jr", "aprox", "approx", "min", "max"})

_END = re.compile(
    r"""
    (?: [.!?…]+ ["'”’»)\]]* (?= \s | $ )    # the mark, and what closes with it
      | [。！？]+ ) \s*
    | \s* \n \s*                            # a new line ends what has no mark: titles and list items
    """,
    re.VERBOSE,
)
_LAST_WORD = re.compile(r"([^\s(¿¡\"'“«]+?)\.[\"'”’»)\]]*\s*$")
_CLAUSE = re.compile(r"[,;:–—)\]]\s+")


def split_sentences(text: str, *, max_characters: int = MAX_SENTENCE_CHARACTERS) -> list[str]:
    """Return the sentences of `text`, each with the white space that follows it; blank text has none.

    Joined, they are `text`. None is longer than `max_characters`: longer ones are cut after a clause, else between
    words, else anywhere.
    """
    if not text.strip():
        return []
    return [part for sentence in _sentences(text) for part in _bounded(sentence, max_characters)]


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    begin = 0
    for end in _END.finditer(text):
        candidate = text[begin : end.end()]
        if candidate.strip() and _ends_sentence(candidate, end.group(), text[end.end() : end.end() + 1]):
            found.append(candidate)
            begin = end.end()
    rest = text[begin:]
    if rest.strip() or not found:
        return [*found, rest]
    return [*found[:-1], found[-1] + rest]


def _ends_sentence(candidate: str, mark: str, following: str) -> bool:
    if not following or "\n" in mark or mark[0] in "。！？":
        return True
    goes_on = following.islower()
    if mark.startswith(("...", "…")):
        return not goes_on
    word = _LAST_WORD.search(candidate)
    if word is None:  # "!" or "?": "«¿Sí?», dijo" goes on in lower case
        return not goes_on
    name = word.group(1).lower()
    initial = len(name) == 1 and name.isalpha()
    list_number = name.isdigit() and candidate.strip() == f"{name}."
    if name in _TITLES or initial or list_number:
        return False
    return not (goes_on and (name in _ABBREVIATIONS or "." in name or name.isdigit()))


def _bounded(sentence: str, limit: int) -> list[str]:
    parts: list[str] = []
    while len(sentence) > limit:
        cut = _cut(sentence, limit)
        parts.append(sentence[:cut])
        sentence = sentence[cut:]
    return [*parts, sentence]


def _cut(sentence: str, limit: int) -> int:
    """Return where to cut: after the last clause in the second half of the allowed part, else after a word."""
    clauses = [match.end() for match in _CLAUSE.finditer(sentence, limit // 2, limit)]
    if clauses:
        return clauses[-1]
    space = sentence.rfind(" ", limit // 2, limit)
    return space + 1 if space >= 0 else limit
