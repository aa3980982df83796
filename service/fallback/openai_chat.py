"""The backup's answers from a language model behind an OpenAI-compatible endpoint (`POST /chat/completions`).

The key decision: the model gets the whole talk anew with each question, so there is no state to lose; and its answer is
made fit for a voice, whatever it was told: short, and without markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from service.fallback.faq_dialogue import Reply
from service.fallback.faq_words import detect_language
from service.fallback.openai_endpoint import EndpointError, OpenAiEndpoint
from service.fallback.sentences import split_sentences
from service.fallback.talk_history import PastTurn
from service.metrics import PartFailure

PATH = "/chat/completions"
MAX_TOKENS = 300
MAX_ANSWER_CHARACTERS = 1_200
MAX_TURNS = 24
_MOST_BYTES = 262_144
_ROLES = {"user": "user", "agent": "assistant"}
_MARKUP = re.compile(r"[*_`#]{2,}|^[#>*-]+\s+|`", re.MULTILINE)
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")


class OpenAiChat:
    """A dialogue; any number of conversations share one."""

    def __init__(self, endpoint: OpenAiEndpoint, *, model: str, system_prompt: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._system_prompt = system_prompt
        # OpenAI's newer models refuse the older name, which is all that most compatible servers know.
        self._limit_name = _LIMIT_NAMES[0]

    def reply(
        self,
        question: str,
        *,
        language: str | None = None,
        history: Sequence[PastTurn] = (),
        context: Sequence[str] = (),
    ) -> Reply:
        """Answer, see `service.fallback.local_agent_thinking.Dialogue`.

        Raises:
            EndpointError: there is no answer.
        """
        messages = [{"role": "system", "content": self._instruction(language, context)}]
        messages += [{"role": _ROLES[turn.speaker], "content": turn.text} for turn in history[-MAX_TURNS:]]
        text = _speakable(self._complete([*messages, {"role": "user", "content": question}]))
        if not text:
            raise EndpointError("the answer is empty", cause=PartFailure.BROKEN)
        return Reply(text, None, language or detect_language(question) or "", 1.0)

    def _instruction(self, language: str | None, context: Sequence[str]) -> str:
        parts = [self._system_prompt, *context]
        if language is not None:
            parts.append(f"The user's language is {language!r}.")
        return "\n\n".join(parts)

    def _complete(self, messages: list[dict[str, str]]) -> str:
        try:
            body = self._ask(messages)
        except EndpointError as exc:
            other = next(name for name in _LIMIT_NAMES if name != self._limit_name)
            if exc.status != 400 or not exc.mentions(other.encode()):
                raise
            self._limit_name = other
            body = self._ask(messages)
        try:
            content = orjson.loads(body)["choices"][0]["message"]["content"]
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
            content = None  # raised below: the cause would quote the answer
        if not isinstance(content, str):
            raise EndpointError("the answer makes no sense", cause=PartFailure.BROKEN)
        return content

    def _ask(self, messages: list[dict[str, str]]) -> bytes:
        document = {"model": self._model, "messages": messages, self._limit_name: MAX_TOKENS}
        return self._endpoint.post_json(PATH, document, most_bytes=_MOST_BYTES)


def _speakable(text: str) -> str:
    """The text without markup, on one line, and in whole sentences no longer than one listens."""
    plain = " ".join(_MARKUP.sub("", text).replace("{{", "{").split())
    if len(plain) <= MAX_ANSWER_CHARACTERS:
        return plain
    kept = ""
    for sentence in split_sentences(plain):
        if len(kept) + len(sentence) > MAX_ANSWER_CHARACTERS:
            break
        kept += sentence
    return kept.rstrip()
