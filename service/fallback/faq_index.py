"""Find the topic that a question is about, by the words and letters it shares with known questions.

The key decision: the score is half likeness (cosine with the nearest known question) and half coverage (how much of
the question the topic's words account for). A word that no topic knows weighs most of all, which is what lets a
question about penguins be refused although it shares "tell me about" with many. Measured on the 208 questions of
`tests/data/faq-questions.yaml`: 94 % right and 95 % of the off-topic ones refused, at 1 ms a question; word embeddings
(wordllama 0.4) reached 64 % and 80 %, and were weak in Spanish.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from service.fallback.faq_words import Language, stem, weight, words

_BIGRAM_WEIGHT = 0.3
_LETTERS_WEIGHT = 1.0
_LETTERS = 4
_COVERAGE_SHARE = 0.5
_UNKNOWN_FACTOR = 1.3

Features = dict[str, float]


@dataclass(frozen=True)
class KnownQuestion:
    """One phrasing of a question about a topic."""

    topic: str
    language: Language
    text: str


@dataclass(frozen=True)
class Match:
    """A topic, how well it fits (0 to 1), and the language of the known question that fits best."""

    topic: str
    language: Language
    score: float


class FaqIndex:
    """Known questions, made ready to be compared with; has no state after that."""

    def __init__(self, questions: Iterable[KnownQuestion]) -> None:
        self._questions = tuple(questions)
        features = [_features(question.text) for question in self._questions]
        self._topics: dict[str, set[str]] = defaultdict(set)
        for question, found in zip(self._questions, features, strict=True):
            for name in found:
                self._topics[name].add(question.topic)
        self._count = len({question.topic for question in self._questions})
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for number, found in enumerate(features):
            for name, value in self._weighed(found).items():
                self._postings[name].append((number, value))

    def best(self, text: str, *, language: Language | None = None) -> Match | None:
        """Return the topic that fits best, None when nothing is shared. `language` bounds what is compared with."""
        asked = self._weighed(_features(text))
        likeness: dict[int, float] = defaultdict(float)
        for name, value in asked.items():
            for number, known in self._postings.get(name, ()):
                likeness[number] += value * known
        nearest: dict[str, tuple[float, Language]] = {}
        for number, value in likeness.items():
            question = self._questions[number]
            if language in (None, question.language) and value > nearest.get(question.topic, (0.0, "en"))[0]:
                nearest[question.topic] = (value, question.language)
        matches = [
            Match(topic, spoken, (1 - _COVERAGE_SHARE) * value + _COVERAGE_SHARE * self._coverage(asked, topic))
            for topic, (value, spoken) in nearest.items()
        ]
        return max(matches, key=lambda match: match.score, default=None)

    def _coverage(self, asked: Features, topic: str) -> float:
        return sum(value * value for name, value in asked.items() if topic in self._topics.get(name, ()))

    def _weighed(self, features: Features) -> Features:
        """Multiply by rarity among the topics, and bring to length 1."""
        weighed = {name: value * self._rarity(name) for name, value in features.items()}
        length = math.sqrt(sum(value * value for value in weighed.values())) or 1.0
        return {name: value / length for name, value in weighed.items()}

    def _rarity(self, name: str) -> float:
        topics = self._topics.get(name)
        if topics:
            return math.log(1 + self._count / len(topics))
        # A pair of words is mostly unknown even when both words are known: that says nothing.
        return 0.0 if name.startswith("pair ") else _UNKNOWN_FACTOR * math.log(1 + self._count)


def _features(text: str) -> Features:
    """Return stems, pairs of neighbouring stems, and (for words that say something) runs of four letters."""
    found: Features = {}
    stems = ["^"]
    for word in words(text):
        value, short = weight(word), stem(word)
        stems.append(short)
        found[f"word {short}"] = max(value, found.get(f"word {short}", 0.0))
        if value == 1.0:
            runs = _runs_of_letters(word)
            for run in runs:
                found[f"letters {run}"] = max(_LETTERS_WEIGHT / math.sqrt(len(runs)), found.get(f"letters {run}", 0.0))
    for first, second in zip(stems, [*stems[1:], "$"], strict=True):
        found[f"pair {first} {second}"] = _BIGRAM_WEIGHT
    return found


def _runs_of_letters(word: str) -> set[str]:
    marked = f"^{word}"
    return {marked[begin : begin + _LETTERS] for begin in range(max(1, len(marked) - _LETTERS + 1))}
