"""What a person sees while a rollback runs, on standard error: a line for each step, and what is being waited for.

On a terminal the last line is written over; in a file or a container's log every line stands, and what is being waited
for comes every five seconds at most. A terminal that is gone disturbs nobody.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from scripts.reversal.journal import Entry
from scripts.reversal.report import describe

TELL_SECONDS = 5.0
WIDTH = 110


class Progress:
    """Shows the entries of a journal (`observe`) and what a step tells in between (`tell`)."""

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        self._names = list(names)
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._step = ""
        self._told_at = 0.0
        self._is_open = False

    def observe(self, entry: Entry) -> None:
        """Show an entry."""
        if entry.event == "begun" and entry.step:
            self._step = entry.step
            self._told_at = time.monotonic()
            if self._is_terminal:
                self._show(f"{self._place()}  ...", is_last=False)
        elif entry.event == "done":
            self._show(f"{self._place()}  ok   {entry.data['seconds']:7.2f} s  {describe(entry.data)}".rstrip())
        elif entry.event == "failed":
            self._show(f"{self._place()}  FAILED  {entry.data['reason']}" if self._step else str(entry.data["reason"]))
        elif entry.event == "turned":
            self._names, self._step = [], self._step
            self._show(f"Going back: {entry.data['reason']}")
        elif entry.event == "stopped":
            self._show(f"{self._place()}  STOPPED  {entry.data['reason']}")
        elif entry.event == "noted":
            self._show(f"         note: {entry.data['text']}")

    def tell(self, text: str) -> None:
        """Show what is being waited for."""
        if self._is_terminal:
            self._show(f"{self._place()}  ...  {text}", is_last=False)
        elif time.monotonic() - self._told_at > TELL_SECONDS:
            self._told_at = time.monotonic()
            self._show(f"{self._place()}  ...  {text}")

    def _place(self) -> str:
        number = f"{self._names.index(self._step) + 1:>2}/{len(self._names)}" if self._step in self._names else "     "
        return f"{number}  {self._step:<13}"

    def _show(self, line: str, *, is_last: bool = True) -> None:
        try:
            if self._is_terminal:
                self._stream.write("\r\x1b[2K")
                line = line if is_last else line[:WIDTH]
            self._stream.write(line + ("\n" if is_last else ""))
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody looks any more
