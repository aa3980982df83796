"""Where in a text a voice has come to, given the characters that it says it has spoken, or only the time it took.

The key decision: the answer is always the begin of a word, and a word counts as spoken only when its last letter was.
A word that was cut in the middle is spoken again whole, however much of it was out: who hears "Thurs- Thursday"
understands, who hears "Thurs- at noon" does not, and of "four-" and "fourteen" only one is true. Never is a word that
was whole said twice, never one left out.

The characters of an alignment need not be those of the text: white space differs, marks and tags are dropped, and a
number may be written out. So letters and digits alone are compared, and where they differ both sides are followed to
the next place where they agree.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # written without spaces: each is taken for a word
_WORD = re.compile(rf"[{_IDEOGRAPHS}][^\w\s]*|[^\s—–{_IDEOGRAPHS}]+[—–]*|[—–]+")
_TAG = re.compile(r"<[^<>]{1,200}>|\[[^\[\]]{1,60}\]")  # "<break time='1s'/>", "[laughs]": heard, but no words
_ANCHOR_LETTERS = 8
_SHORTEST_ANCHOR = 3
_ANCHOR_WORDS = 12
_ANCHOR_REACH = 120
_FOREIGN_LETTERS = 60
_COVERING_SHARE = 0.7

_WEIGHTS = {",": 3.0, ";": 3.0, ":": 3.0, ".": 5.0, "!": 5.0, "?": 5.0, "\n": 5.0, "…": 5.0}
_DIGIT_WEIGHT = 5.0
_IDEOGRAPH_WEIGHT = 3.0
_IS_IDEOGRAPH = re.compile(rf"[{_IDEOGRAPHS}]")


class Reach(NamedTuple):
    """How far a voice has come: `position` is the index in the text at which the rest begins.

    `is_certain`: the characters led there; else they ended where text and characters differ, and the place before the
    difference is given. `covers_rest`: nothing is left to be spoken, or what was spoken behind a difference is enough
    to be all of it.
    """

    position: int
    is_certain: bool
    covers_rest: bool = False


def weight_of(text: str) -> float:
    """How long the text takes to say, in letters: a digit takes as long as five, a comma is a pause of three."""
    return sum(_weight(character) for character in text)


def has_words(text: str) -> bool:
    """Whether there is anything in it to be spoken; tags are not."""
    return any(character.isalnum() for character in _TAG.sub("", text))


def are_versions(text: str, other: str) -> bool:
    """Whether one of the two is the begin of the other."""
    return text.startswith(other) or other.startswith(text)


def rest_from(text: str, end: int) -> int:
    """The index of the first word that is not wholly in `text[:end]`; the text's length if all are."""
    # Ideographs apart, no word spans white space: the one that is cut begins behind the last space.
    begin = max(text.rfind(" ", 0, end), text.rfind("\n", 0, end)) + 1
    tags = [tag.span() for tag in _TAG.finditer(text)]
    for word in _WORD.finditer(text, begin):
        letters = word.group().rstrip()
        while letters and not letters[-1].isalnum():
            letters = letters[:-1]
        is_unspoken = letters and word.start() + len(letters) > end
        if is_unspoken and not any(first <= word.start() and word.end() <= last for first, last in tags):
            return word.start()
    return len(text)


def reach_by_weight(text: str, weight: float) -> Reach:
    """Where a voice has come that has spoken so much of the text (see `weight_of`)."""
    for index, character in enumerate(text):
        weight -= _weight(character)
        if weight < 0:
            return Reach(rest_from(text, index), is_certain=False)
    return Reach(len(text), is_certain=False, covers_rest=True)


def reach_by_characters(text: str, spoken: str) -> Reach:
    """Where a voice has come that has spoken these characters of the text."""
    if text.startswith(spoken):
        return _certain(text, len(spoken))
    return _Comparison(text, spoken).reach()


def _certain(text: str, end: int) -> Reach:
    position = rest_from(text, end)
    if has_words(text[position:]):
        return Reach(position, is_certain=True)
    return Reach(len(text), is_certain=True, covers_rest=True)  # tags and marks at the end are nothing to speak


def _weight(character: str) -> float:
    if character.isdigit():
        return _DIGIT_WEIGHT
    if _IS_IDEOGRAPH.match(character):
        return _IDEOGRAPH_WEIGHT
    return _WEIGHTS.get(character, 1.0)


class _Letters:
    """The letters and digits of a text alone, without those of its tags, and where in the text each stands."""

    def __init__(self, text: str) -> None:
        places: list[int] = []
        letters: list[str] = []
        text = _TAG.sub(lambda tag: " " * len(tag.group()), text)
        for index, character in enumerate(text):
            for letter in unicodedata.normalize("NFKD", character).casefold():
                if letter.isalnum():
                    letters.append(letter)
                    places.append(index)
        self.letters = "".join(letters)
        self.places = places


class _Comparison:
    """Follows a text and what was spoken of it side by side."""

    def __init__(self, text: str, spoken: str) -> None:
        self._text = text
        known = _Letters(text)
        self._known, self._places = known.letters, known.places
        self._spoken = _Letters(spoken).letters
        self._word_starts = self._starts_of_words()

    def reach(self) -> Reach:
        at, spoken_at = 0, 0
        while True:
            common = _common_prefix(self._known, at, self._spoken, spoken_at)
            at, spoken_at = at + common, spoken_at + common
            if spoken_at == len(self._spoken):
                return _certain(self._text, self._index(at))
            if at == len(self._known):
                return Reach(len(self._text), is_certain=True, covers_rest=True)
            found = self._next_agreement(at, spoken_at)
            if found is None:
                return self._reach_before(at, len(self._spoken) - spoken_at)
            at, spoken_at = found

    def _index(self, at: int) -> int:
        """Where in the text the first `at` letters end."""
        return self._places[at - 1] + 1 if at else 0

    def _starts_of_words(self) -> list[int]:
        starts = {word.start() for word in _WORD.finditer(self._text)}
        found: list[int] = []
        word_is_new = False
        last = -1
        for at, place in enumerate(self._places):
            word_is_new = word_is_new or any(index in starts for index in range(last + 1, place + 1))
            if word_is_new:
                found.append(at)
            word_is_new = False
            last = place
        return found

    def _next_agreement(self, at: int, spoken_at: int) -> tuple[int, int] | None:
        """The nearest two places from which on both agree for some letters."""
        best: tuple[int, int] | None = None
        ahead = [start for start in self._word_starts if start >= at]
        for start, end in zip(ahead[:_ANCHOR_WORDS], [*ahead[1:], len(self._known)], strict=False):
            place = self._place_of(start, end, spoken_at)
            if place >= 0 and (best is None or start - at + place - spoken_at < best[0] - at + best[1] - spoken_at):
                best = (start, place)
        return best

    def _place_of(self, start: int, end: int, spoken_at: int) -> int:
        """Where the word from `start` to `end` was spoken, told by the letters it begins with, or by its own alone."""
        for letters in (_ANCHOR_LETTERS, min(end - start, _ANCHOR_LETTERS)):
            anchor = self._known[start : start + letters]
            if len(anchor) < _SHORTEST_ANCHOR:
                continue
            place = self._spoken.find(anchor, spoken_at, spoken_at + _ANCHOR_REACH)
            if place < 0:
                place = self._end_that_begins(anchor, spoken_at)
            if place >= 0:
                return place
        return -1

    def _end_that_begins(self, anchor: str, spoken_at: int) -> int:
        """Where the end of what was spoken is the begin of the anchor; -1 if it is not."""
        for length in range(len(anchor) - 1, _SHORTEST_ANCHOR - 1, -1):
            place = len(self._spoken) - length
            if place >= spoken_at and self._spoken.endswith(anchor[:length]):
                return place
        return -1

    def _reach_before(self, at: int, unknown_letters: int) -> Reach:
        position = rest_from(self._text, self._index(at))
        is_foreign = unknown_letters > _FOREIGN_LETTERS and at < unknown_letters
        weight_left = sum(_weight(self._known[index]) for index in range(at, len(self._known)))
        return Reach(
            0 if is_foreign else position,
            is_certain=False,
            covers_rest=unknown_letters >= _COVERING_SHARE * weight_left,
        )


def _common_prefix(one: str, begin: int, other: str, other_begin: int) -> int:
    most = min(len(one) - begin, len(other) - other_begin)
    low = 0
    step = 64
    while low < most:
        size = min(step, most - low)
        if one[begin + low : begin + low + size] == other[other_begin + low : other_begin + low + size]:
            low += size
            continue
        if size == 1:
            break
        step = max(1, size // 2)
    return low
