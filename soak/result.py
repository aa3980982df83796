"""What a suite says at its end, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN_FAILURES = 20


class MissingPartError(Exception):
    """Something that a suite needs is not on this machine; the message says what to install."""


@dataclass(frozen=True)
class Result:
    """What came of a suite: `rows` are its table, the first one the head; it passed if there are no `failures`.

    `skipped` says why it did not run at all.
    """

    suite: str
    seconds: float
    rows: Sequence[Sequence[str]] = ()
    failures: Sequence[str] = field(default=())
    skipped: str = ""

    @property
    def verdict(self) -> str:
        """One word."""
        return "FAILED" if self.failures else "skipped" if self.skipped else "passed"

    def lines(self) -> list[str]:
        """The table and what went wrong."""
        shown = [f"  - {failure}" for failure in self.failures[:SHOWN_FAILURES]]
        if len(self.failures) > SHOWN_FAILURES:
            shown.append(f"  - and {len(self.failures) - SHOWN_FAILURES} more")
        return [*(table(self.rows) if self.rows else []), *shown]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows`, the first of them the head, as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def summary(results: Sequence[Result]) -> list[str]:
    """A line for each suite."""
    rows = [("suite", "verdict", "took")]
    rows += [(result.suite, result.verdict, f"{result.seconds:.0f} s") for result in results]
    return table(rows)
