"""Answer questions from the operator's own file of questions and answers, in English and Spanish.

API published first; the retrieval follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reply:
    """An answer. `topic` is None when it is an honest "I don't know"; `score` is 0 to 1."""

    text: str
    topic: str | None
    language: str
    score: float


class FaqDialogue:
    """Finds the topic a question is about; has no state, so any number of conversations share one."""

    @classmethod
    def load(cls, path: Path) -> FaqDialogue:
        """Read a file like `sandbox/faq.yaml`."""
        raise NotImplementedError(path)

    def reply(self, question: str, *, language: str | None = None, history: Sequence[str] = ()) -> Reply:
        """Answer `question`; `language` None means that it is detected.

        `history` is what the agent said before, oldest first: "repeat that" says the last of it again.
        """
        raise NotImplementedError(question, language, history)
