"""What a local agent must know of a conversation to go on with it in another provider's place.

The key decision: it is a value with nothing but words, numbers and formats in it. Whoever ends the broken leg works out
what was said and what was not; the local leg trusts it and asks nothing back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fallback.talk_history import PastTurn

DEFAULT_FORMAT = "pcm_16000"


@dataclass(frozen=True, kw_only=True)
class Splice:
    """A broken answer that is to be finished: `rest` is the end of `full_text` that was not spoken yet.

    `announce`: the client was never told the text. Else it has it, and only hears the rest. `unplayed_seconds` is how
    much sound of the answer's begin the client still has to play when the rest begins: what the user has heard, if
    they break in, counts from there.
    """

    rest: str
    full_text: str
    announce: bool = False
    unplayed_seconds: float = 0.0

    @property
    def spoken(self) -> str:
        """The begin of the answer, which was spoken already."""
        return self.full_text[: max(0, len(self.full_text) - len(self.rest))]

    @property
    def whole(self) -> str:
        """The answer as it will have been said in the end."""
        return self.spoken + self.rest


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How an agent begins that waits for no client's first event; its profile has the client's overrides in it.

    `variables` are for `{{name}}` in what it says. Of what there is to say the first counts: the `farewell` (then the
    conversation is over), the answer to `question`, the `splice`, the first message if it `greets`.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    greets: bool = False
    splice: Splice | None = None
    question: str | None = None
    farewell: str | None = None


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """A conversation as the local agent takes it over, or begins it.

    `language` is the tag that the user speaks ("en", "es-MX"), None to find out. The formats are those of the metadata
    that the client has got. `initiation` is the client's own first message, parsed. `history` is what was said before,
    oldest first, without `question` and without the answer that `rest` belongs to.

    `greets` is true on a first leg only: the agent says its first message. `rest` is said at once (see `Splice`, whose
    fields `full_text`, `announce` and `unplayed_seconds` are). `question` is what the user said last and got no answer
    to: it is answered at once, and goes before `rest`, because who asks has taken the turn. `farewell` is all that is
    said (`polite_refusal`), and then the agent ends the conversation. `first_event_id` is the id of the first turn
    here; the broken answer's own id is right for a rest.
    """

    agent_id: str
    conversation_id: str
    language: str | None = None
    output_format: str = DEFAULT_FORMAT
    input_format: str = DEFAULT_FORMAT
    text_only: bool = False
    history: tuple[PastTurn, ...] = ()
    initiation: Mapping[str, Any] = field(default_factory=dict)
    greets: bool = False
    rest: str | None = None
    full_text: str | None = None
    announce: bool = False
    unplayed_seconds: float = 0.0
    question: str | None = None
    farewell: str | None = None
    first_event_id: int = 1

    @property
    def splice(self) -> Splice | None:
        """The answer that is to be finished, if there is one."""
        if self.rest is None or not self.rest.strip():
            return None
        full_text = self.rest if self.full_text is None else self.full_text
        return Splice(
            rest=self.rest, full_text=full_text, announce=self.announce, unplayed_seconds=self.unplayed_seconds
        )
