"""What was tried, how long it took, and what is to be done about the first thing that failed.

The key decision: a step either tells what it found or raises `SmokeError`, whose remedy is for whoever is in the
middle of a deployment. Nothing of either comes from a foreign error's text, which may quote a URL with its ticket.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST_WORDS = 200


class SmokeError(Exception):
    """A step failed: `reason` says what was seen, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Step:
    """One step that went well."""

    name: str
    seconds: float
    detail: str


@dataclass
class Report:
    """The steps so far; `tell` hears of each at once, and `figures` are the measured seconds by name.

    `patience`: by how much longer than usual a single wait may be.
    """

    tell: Callable[[str], None]
    ends_at: float
    patience: float = 1.0
    steps: list[Step] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    failed_step: str | None = None

    def left(self, most: float) -> float:
        """Seconds that may still be waited: `most`, and more with patience, or what is left of all.

        Raises:
            SmokeError: nothing is left.
        """
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise SmokeError("the time for all steps is up", "Give it more (--timeout), or look why it is so slow.")
        return min(most * self.patience, left)

    def run(self, name: str, step: Callable[[], tuple[T, str]]) -> T:
        """Do one step; it returns its result and what is worth telling."""
        begun = time.monotonic()
        self.failed_step = name  # until it has succeeded
        result, detail = step()
        done = Step(name, round(time.monotonic() - begun, 3), detail)
        self.failed_step = None
        self.steps.append(done)
        self.tell(f"ok    {done.name:<13} {done.seconds:7.3f} s  {done.detail}".rstrip())
        return result

    def as_dict(self, url: str, failure: SmokeError | None) -> dict[str, Any]:
        """Everything, for a program."""
        told: dict[str, Any] = {
            "ok": failure is None,
            "url": url,
            "steps": [{"name": step.name, "seconds": step.seconds, "detail": step.detail} for step in self.steps],
            "seconds": self.figures,
        }
        if failure is not None:
            told["failure"] = {"step": self.failed_step, "reason": failure.reason, "remedy": failure.remedy}
        return told


def words_of(text: object) -> str:
    """What a server said, as one line that a terminal can be shown."""
    line = " ".join(str(text).split())
    return "".join(letter for letter in line if letter.isprintable())[:LONGEST_WORDS]
