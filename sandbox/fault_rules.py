"""Fault rules as JSON: read and checked strictly, so that a misspelt rule is an error and not a test that passes.

The key decision: pydantic describes the JSON; `sandbox.faults` knows only the frozen values made from it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from sandbox.errors import CODES, SchemaError
from sandbox.faults import Fault, Fired, Rule

MAX_RULES = 200
MAX_HANG_SECONDS = 300.0
_FAULT_FIELDS = (
    "latency", "status", "code", "body", "hang", "drop_after_bytes", "drop_after_frames", "close_code",
    "close_reason", "garbage", "silence", "truncate", "turn", "after_characters",
)  # fmt: skip
_WHAT_HAPPENS = set(_FAULT_FIELDS) - {"close_reason", "code", "body", "turn", "after_characters"}
_CONVERSATION = "agents.conversation"


class RuleModel(BaseModel):
    """One rule, as it stands in the JSON list."""

    model_config = ConfigDict(extra="forbid", strict=True)

    route: str = Field(min_length=1, max_length=200)
    nth: int | None = Field(None, ge=1)
    probability: float | None = Field(None, ge=0, le=1)
    times: int | None = Field(None, ge=1)
    user: str | None = Field(None, min_length=1, max_length=200)

    latency: float | None = Field(None, ge=0, le=60)
    status: int | None = Field(None, ge=400, le=599)
    code: str | None = None
    body: Any = None
    hang: float | None = Field(None, ge=0, le=MAX_HANG_SECONDS)
    drop_after_bytes: int | None = Field(None, ge=0)
    drop_after_frames: int | None = Field(None, ge=0)
    close_code: int | None = Field(None, ge=1000, le=4999)
    close_reason: str | None = None
    garbage: bool | None = None
    silence: bool | None = None
    truncate: float | None = Field(None, ge=0, lt=1)
    turn: int | None = Field(None, ge=1)
    after_characters: int | None = Field(None, ge=0)

    @field_validator("code")
    @classmethod
    def _known_code(cls, code: str | None) -> str | None:
        if code is not None and code not in CODES:
            raise ValueError(f"no such error code; known are {', '.join(sorted(CODES))}")
        return code

    @field_validator("close_code")
    @classmethod
    def _sendable(cls, code: int | None) -> int | None:
        if code in (1004, 1005, 1006, 1015):
            raise ValueError(f"{code} cannot be sent (RFC 6455, 7.4.1); use drop_after_frames for a lost connection")
        return code

    @field_validator("close_reason")
    @classmethod
    def _short_reason(cls, reason: str | None) -> str | None:
        if reason is not None and len(reason.encode()) > 123:  # RFC 6455, 5.5: 125 less the code
            raise ValueError("a close reason has at most 123 bytes")
        return reason

    @model_validator(mode="after")
    def _makes_sense(self) -> RuleModel:
        if self.nth is not None and self.probability is not None:
            raise ValueError("a rule has nth or probability, not both")
        if self.code is not None and self.status is None:
            self.status = CODES[self.code].status
        if self.body is not None and self.status is None:
            raise ValueError("a body needs a status")
        if self.close_reason is not None and self.close_code is None:
            raise ValueError("a close_reason needs a close_code")
        if not any(self._does_something(name) for name in _WHAT_HAPPENS):
            raise ValueError(f"nothing would happen: give one of {', '.join(sorted(_WHAT_HAPPENS))}")
        self._check_place()
        return self

    def _does_something(self, name: str) -> bool:
        # "Cut off after 0 frames" does something, and 0 == False.
        value = getattr(self, name)
        return value is not None and value is not False and (name, value) != ("latency", 0)

    def _check_place(self) -> None:
        if self.route != _CONVERSATION and (self.user is not None or self.turn is not None):
            raise ValueError(f"user and turn are for the route {_CONVERSATION}")
        if self.status is not None and (self.user is not None or self.turn is not None):
            raise ValueError("a status is answered before there is a user or a turn")
        if self.after_characters is None:
            return
        if self.turn is None:
            raise ValueError("after_characters needs a turn")
        if self.silence or self.truncate is not None:
            raise ValueError("silence and truncate concern a whole turn; after_characters does not go with them")


_RULES: TypeAdapter[list[RuleModel]] = TypeAdapter(Annotated[list[RuleModel], Field(max_length=MAX_RULES)])


def read_rules(document: Any) -> list[Rule]:
    """Read a JSON list of rules (one rule alone is taken for a list of one).

    Raises:
        SchemaError: what is wrong, where.
    """
    try:
        models = _RULES.validate_python([document] if isinstance(document, dict) else document)
    except ValidationError as exc:
        raise SchemaError(
            *({"loc": ["body", *e["loc"]], "msg": e["msg"], "type": e["type"]} for e in exc.errors(include_url=False))
        ) from None
    return [_rule(model) for model in models]


def show_rule(fired: Fired) -> dict[str, Any]:
    """Give a rule in force as JSON, with how often it was asked and struck."""
    rule = fired.rule
    when = {"nth": rule.nth, "probability": rule.probability, "times": rule.times, "user": rule.user}
    what = {name: getattr(rule.fault, name) for name in _FAULT_FIELDS}
    defaults = Fault()
    return {
        "route": rule.route,
        **{name: value for name, value in when.items() if value is not None},
        **{name: value for name, value in what.items() if value != getattr(defaults, name)},
        "matched": fired.matched,
        "fired": fired.fired,
    }


def _rule(model: RuleModel) -> Rule:
    given = {name: getattr(model, name) for name in _FAULT_FIELDS}
    fault = Fault(**{name: value for name, value in given.items() if value is not None})
    return Rule(model.route, fault, nth=model.nth, probability=model.probability, times=model.times, user=model.user)
