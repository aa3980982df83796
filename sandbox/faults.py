"""Faults on demand: which request goes wrong, and how. HTTP routes, speech sockets and agents all ask here.

The key decision: a rule counts the requests that match it and decides by that count (or by its own seeded dice), never
by the time, so the same requests in the same order go wrong in the same way on every run.

A rule that has a `status` refuses: it is asked at the door (`refusal`), for a socket before the upgrade. All other
rules are asked by whoever serves the request (`next`). Each rule is so asked once for each request.
"""

from __future__ import annotations

import fnmatch
import random
import threading
from dataclasses import dataclass
from typing import Any

from sandbox.stats import Stats


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. Unset fields leave it alone; several may be set at once.

    | field | HTTP answer | socket |
    |---|---|---|
    | latency (seconds) | before the answer | before the first frame |
    | status, code, body | the answer | the answer to the upgrade |
    | hang (seconds) | nothing comes for so long, then the connection is cut | the same |
    | drop_after_bytes | cut after so many bytes of the body | cut after so many bytes of audio |
    | drop_after_frames | cut after so many lines or chunks | cut after so many frames |
    | close_code, close_reason | - | closed with these, after `drop_after_frames` (at once without it) |
    | garbage | the body is noise of the same length | frames are no JSON |
    | silence | the audio has the right length and holds nothing | the same |
    | truncate (share kept, 0-1) | the audio ends early and in order | the same |

    In a conversation, `turn` is where: the fault begins in the agent's `turn`-th answer (1: its greeting), before its
    text; with `after_characters` behind the text, when so many of its characters have been spoken. What is dropped
    "after so many frames" is counted from there, and silence or an early end concern that answer alone.
    """

    latency: float = 0.0
    status: int | None = None
    code: str | None = None
    body: Any = None
    hang: float | None = None
    drop_after_bytes: int | None = None
    drop_after_frames: int | None = None
    close_code: int | None = None
    close_reason: str = ""
    garbage: bool = False
    silence: bool = False
    truncate: float | None = None
    turn: int | None = None
    after_characters: int | None = None


@dataclass(frozen=True)
class Rule:
    """A fault and when it happens: on routes like `route`, for the `nth` match, or by `probability`, or always.

    With `user` it happens only to conversations whose initiation has that user id.
    """

    route: str
    fault: Fault
    nth: int | None = None
    probability: float | None = None
    times: int | None = None
    user: str | None = None


@dataclass
class _Armed:
    rule: Rule
    dice: random.Random
    matched: int = 0
    fired: int = 0

    def strikes(self) -> bool:
        """Count one match and say whether the fault happens this time."""
        self.matched += 1
        # "The third request" is one request; `times` makes it the third and those after it.
        times = self.rule.times or (1 if self.rule.nth is not None else None)
        if times is not None and self.fired >= times:
            return False
        if self.rule.nth is not None and self.matched < self.rule.nth:
            return False
        # The dice are thrown for every match, so that an earlier rule's outcome does not shift later ones.
        if self.rule.probability is not None and self.dice.random() >= self.rule.probability:
            return False
        self.fired += 1
        return True


@dataclass(frozen=True)
class Fired:
    """A rule and how often it was asked and struck."""

    rule: Rule
    matched: int
    fired: int


class Faults:
    """The rules in force. Rules are tried in order; the first that strikes is the one."""

    def __init__(self, stats: Stats, *, seed: int = 0) -> None:
        self._stats = stats
        self._seed = seed
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._added = 0

    def add(self, rules: list[Rule]) -> None:
        """Put rules in force behind those that are there."""
        with self._lock:
            for rule in rules:
                self._added += 1
                self._armed.append(_Armed(rule, random.Random(self._seed * 1_000_003 + self._added)))  # noqa: S311

    def clear(self) -> None:
        """Take all rules out of force; the dice begin anew."""
        with self._lock:
            self._armed.clear()
            self._added = 0

    def rules(self) -> list[Fired]:
        """Give the rules in force with their counts."""
        with self._lock:
            return [Fired(armed.rule, armed.matched, armed.fired) for armed in self._armed]

    def refusal(self, route: str) -> Fault | None:
        """Ask at the door whether this request is refused with a status."""
        return self._ask(route, refusals=True)

    def next(self, route: str) -> Fault | None:
        """Ask what goes wrong while this request is served."""
        return self._ask(route, refusals=False)

    def next_of_user(self, route: str, user: str) -> Fault | None:
        """Ask what goes wrong with the conversation of this user; only rules with a `user` are asked."""
        return self._ask(route, refusals=False, user=user)

    def _ask(self, route: str, *, refusals: bool, user: str | None = None) -> Fault | None:
        with self._lock:
            for armed in self._armed:
                if (armed.rule.fault.status is not None) is not refusals or armed.rule.user != user:
                    continue
                if fnmatch.fnmatchcase(route, armed.rule.route) and armed.strikes():
                    break
            else:
                return None
        self._stats.fault_fired(route)
        return armed.rule.fault
