"""How a local agent finds its answers: one question at a time, on a worker, because a dialogue may be an endpoint.

The key decision: a thought is given up by forgetting its number. Its reply may still come, and nobody takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from service.fallback.faq_dialogue import Reply
from service.fallback.local_agent_threads import Action, Worker
from service.fallback.talk_history import PastTurn

log = structlog.get_logger(__name__)


class Dialogue(Protocol):
    """What finds the answer to a question: `FaqDialogue`, or a language model's endpoint."""

    def reply(
        self,
        question: str,
        *,
        language: str | None = None,
        history: Sequence[PastTurn] = (),
        context: Sequence[str] = (),
    ) -> Reply:
        """Answer; `history` is what was said before, oldest first, and `context` what else there is to know."""


class Thinker:
    """Asks the dialogue. `post` runs an action on the agent's thread, where all but the asking itself happens.

    `on_reply(event_id, reply)` is called for the latest question's reply, `on_failed` when the dialogue broke.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        *,
        worker: Worker,
        post: Callable[[Action], bool],
        on_reply: Callable[[int, Reply], None],
        on_failed: Action,
    ) -> None:
        self._dialogue = dialogue
        self._worker = worker
        self._post = post
        self._on_reply = on_reply
        self._on_failed = on_failed
        self._event_id: int | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a reply is awaited."""
        return self._event_id is not None

    def think(
        self,
        event_id: int,
        question: str,
        *,
        language: str | None,
        history: Sequence[PastTurn],
        context: Sequence[str],
    ) -> None:
        """Find the answer to the question of turn `event_id`, and forget every earlier one."""
        self._event_id = event_id
        ask = partial(self._dialogue.reply, question, language=language, history=history, context=context)
        self._worker.submit(partial(self._ask, event_id, ask))

    def give_up(self) -> None:
        """Want no reply any more."""
        self._event_id = None

    def _ask(self, event_id: int, ask: Callable[[], Reply]) -> None:
        """Ask the dialogue, on the worker."""
        try:
            reply = ask()
        except Exception:  # a worker: whatever the dialogue's failure is, the client is told that there is no answer
            log.exception("the dialogue failed")
            self._post(self._on_failed)
            return
        self._post(partial(self._take, event_id, reply))

    def _take(self, event_id: int, reply: Reply) -> None:
        if event_id == self._event_id:
            self._event_id = None
            self._on_reply(event_id, reply)
