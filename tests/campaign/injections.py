"""What breaks in a conversation, drawn from its number: the kind, and the place in the talk.

The key decision: a conversation's fate follows from its number alone, so a failure can be had again; the place is given
to the sandbox in answers and characters, so it does not depend on how fast anybody is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from service.elevenlabs.fault_rules import CLOSE_RULES, CloseRule
from tests.campaign.caller import Line, draw_lines

ROUTE = "agents.conversation"
CLOSED_EVERY = 4
"""Of so many conversations one is closed, so that 200 meet every row of the table."""

HANG_SECONDS = 60.0
LATE_SECONDS = 20.0
UNSENDABLE = frozenset({1004, 1005, 1006, 1015})
Rule = dict[str, Any]


@dataclass(frozen=True)
class Injection:
    """One conversation and what breaks in it.

    `rule` is the sandbox's; `needs_time`: nothing tells the service that it is broken but the time. `ends`: a close
    code that is passed on instead of being survived.
    """

    number: int
    kind: str
    rule: Rule
    lines: tuple[Line, ...]
    needs_time: bool = False
    ends: int | None = None

    @property
    def user_id(self) -> str:
        """Whose conversation it is."""
        return f"campaign-{self.number}"


def draw(number: int, answers: dict[str, str], *, greeting: str, kinds: Sequence[str] = ()) -> Injection:
    """The conversation of that number; `answers` are what its agent says to each question, after its `greeting`."""
    dice = random.Random(number)
    kind = dice.choice(kinds or [name for name in KINDS if name != "closed"])
    if not kinds and number % CLOSED_EVERY == 0:
        kind = "closed"
    lines = tuple(draw_lines(dice, answers, 2, barges=0.25))
    lengths = [len(greeting), *(len(line.answer or "") for line in lines)]
    found = KINDS[kind](_Dice(dice, lengths, number // CLOSED_EVERY))
    rule = {"route": ROUTE, "times": 1, **found.rule}
    if "code" not in rule:
        rule["user"] = f"campaign-{number}"
    return Injection(number, kind, rule, lines, found.needs_time, found.ends)


@dataclass(frozen=True)
class _Drawn:
    rule: Rule
    needs_time: bool = False
    ends: int | None = None


@dataclass(frozen=True)
class _Dice:
    """The dice of one conversation, how many characters each of its answers has, and which close it would have."""

    random: random.Random
    lengths: Sequence[int]
    close: int

    def place(self) -> Rule:
        """In one of the answers: before its text, between text and sound, or somewhere in it."""
        turn = self.random.choice((1, 2, 2, 3))
        if turn > 1 and self.random.random() < 0.2:
            return {"turn": turn}
        within = self.random.randrange(1, self.lengths[turn - 1])
        return {"turn": turn, "after_characters": self.random.choice((0, within, within, within))}


def _killed(dice: _Dice) -> _Drawn:
    return _Drawn({**dice.place(), "drop_after_frames": 0})


def _hung(dice: _Dice) -> _Drawn:
    return _Drawn({**dice.place(), "hang": HANG_SECONDS}, needs_time=True)


def _silenced(dice: _Dice) -> _Drawn:
    return _Drawn({"turn": dice.random.choice((2, 3)), "silence": True}, needs_time=True)


def _truncated(dice: _Dice) -> _Drawn:
    return _Drawn(
        {"turn": dice.random.choice((2, 3)), "truncate": round(dice.random.uniform(0.1, 0.8), 2)}, needs_time=True
    )


def _late(dice: _Dice) -> _Drawn:
    return _Drawn({"turn": dice.random.choice((2, 3)), "latency": LATE_SECONDS}, needs_time=True)


def _garbled(dice: _Dice) -> _Drawn:
    return _Drawn({**dice.place(), "garbage": True})


def _closed(dice: _Dice) -> _Drawn:
    rule, code = CLOSES[dice.close % len(CLOSES)]
    return _Drawn(
        {**dice.place(), "close_code": code, "close_reason": REASONS.get(rule.code, "")},
        ends=code if rule.code in PASSED_ON else None,
    )


def _refused(dice: _Dice) -> _Drawn:
    code = dice.random.choice(("system_busy", "quota_exceeded", "insufficient_credits", "internal_error",
                        "service_unavailable", "concurrent_limit_exceeded"))  # fmt: skip
    return _Drawn({"code": code})


KINDS: dict[str, Callable[[_Dice], _Drawn]] = {
    "killed": _killed,
    "hung": _hung,
    "silenced": _silenced,
    "truncated": _truncated,
    "late": _late,
    "garbled": _garbled,
    "closed": _closed,
    "refused": _refused,
}

REASONS = {
    "quota_exceeded": "This request exceeds your quota",
    "concurrent_limit_exceeded": "too many concurrent connections",
    "system_busy": "system_busy",
    "invalid_api_key": "invalid_api_key",
    "safety_violation": "safety",
    "agent_misconfigured": "the agent is misconfigured",
    "first_message_override_refused": "override of first_message is not allowed",
    "override_error": "override error",
    "missing_dynamic_variable": "missing dynamic_variable",
    "agent_not_found": "The AI agent you are trying to reach does not exist.",
}
"""Reasons by which a row of the table is chosen whose own word for it is none."""

PASSED_ON = frozenset(
    {
        "safety_violation", "agent_misconfigured", "first_message_override_refused", "override_error",
        "missing_dynamic_variable", "missing_fields", "value_error", "invalid_message", "contract_violation",
        "unsupported_data", "message_too_big", "agent_not_found", "conversation_refused",
    }
)  # fmt: skip
"""Rows that are about the client or the agent: another provider would be asked for the same."""


def _codes(rule: CloseRule) -> list[int]:
    codes = {1002, 1008} if rule.codes is None else set(rule.codes)
    if rule.codes is None and rule.pattern is None:
        codes = {4000}
    return sorted(codes - UNSENDABLE)


def _reason(rule: CloseRule) -> str:
    return REASONS.get(rule.code, rule.code if rule.pattern is not None else "")


CLOSES = [(rule, code) for rule in CLOSE_RULES for code in _codes(rule)]
"""Every row of the table with each of its codes."""

REASONS.update({rule.code: _reason(rule) for rule, _ in CLOSES})
