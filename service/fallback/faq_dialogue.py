"""Answer questions from the operator's own file of questions and answers, in English and Spanish.

The key decision: better no answer than a wrong one. A question that no topic clearly accounts for gets the file's
honest "I don't know".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.fallback.faq_file import Faq, read_faq
from service.fallback.faq_index import FaqIndex, KnownQuestion
from service.fallback.faq_words import Language, detect_language
from service.fallback.talk_history import PastTurn, last_of_agent

THRESHOLD = 0.38
"""The least score of an answer. Set by measurement: 0.02 more costs 2 % of the right answers, 0.02 less lets 2 % more
of the off-topic questions through (`tests/data/faq-questions.yaml`)."""


@dataclass(frozen=True)
class Reply:
    """An answer. `topic` is None when it is an honest "I don't know"; `score` is 0 to 1."""

    text: str
    topic: str | None
    language: str
    score: float


class FaqDialogue:
    """Finds the topic a question is about; has no state, so any number of conversations share one."""

    def __init__(self, faq: Faq) -> None:
        self._faq = faq
        self._topics = {topic.id: topic for topic in faq.topics}
        self._index = FaqIndex(
            KnownQuestion(topic.id, language, question)
            for topic in faq.topics
            for language, questions in topic.questions.items()
            for question in questions
        )

    @classmethod
    def load(cls, path: Path) -> FaqDialogue:
        """Read a file like `sandbox/faq.yaml`.

        Raises:
            SettingsError: see `service.fallback.faq_file.read_faq`.
        """
        return cls(read_faq(path))

    def reply(
        self,
        question: str,
        *,
        language: str | None = None,
        history: Sequence[PastTurn] = (),
        context: Sequence[str] = (),  # noqa: ARG002 (a file of answers has no use for it)
    ) -> Reply:
        """Answer `question` in `language`, or in the question's own language when that is None.

        `history` is what was said before, oldest first: "repeat that" says the agent's last words again. A `language`
        other than English or Spanish is taken for None.
        """
        detected = detect_language(question)
        wanted = _known(language)
        match = self._index.best(question, language=detected)
        spoken = wanted or detected or (match.language if match else "en")
        if match is None or match.score < THRESHOLD:
            return Reply(self._faq.unknown[spoken], None, spoken, match.score if match else 0.0)
        topic = self._topics[match.topic]
        said = last_of_agent(history) if topic.answer_again else None
        return Reply(said or topic.answers[spoken], topic.id, spoken, match.score)


def _known(language: str | None) -> Language | None:
    base = (language or "").lower().partition("-")[0]
    return "en" if base == "en" else "es" if base == "es" else None
