"""Collect text until there is enough to speak: the `chunk_length_schedule` of the speech sockets.

The key decision: a word that has not ended stays in the buffer, so that it is not spoken in two halves.
"""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_SCHEDULE = (120, 160, 250, 290)

TRIGGER_CHARACTERS = 50
"""What `try_trigger_generation` wants at least; ElevenLabs says only that there is a minimum."""


class TextBuffer:
    """The text of one context that is not yet spoken.

    The n-th generation waits for `schedule[n]` characters, later ones for the last number. With `auto` (the query's
    auto_mode) each message is spoken as it comes.
    """

    def __init__(self, schedule: Sequence[int] = DEFAULT_SCHEDULE, *, auto: bool = False) -> None:
        self._schedule = tuple(schedule)
        self._auto = auto
        self._generations = 0
        self._text = ""

    def add(self, text: str) -> None:
        """Put text behind what is there; a lone space only ends the last word."""
        if text.strip():
            self._text += text
        elif text and self._text and not self._text[-1].isspace():
            self._text += " "

    def due(self, *, trigger: bool = False) -> str:
        """Take out what shall be spoken now; "" if there is not enough yet."""
        if self._auto:
            return self.drain()
        wanted = self._schedule[min(self._generations, len(self._schedule) - 1)]
        if trigger:
            wanted = min(wanted, TRIGGER_CHARACTERS)
        if len(self._text) < wanted:
            return ""
        end = max((index + 1 for index, letter in enumerate(self._text) if letter.isspace()), default=0)
        return self._take(end)

    def drain(self) -> str:
        """Take out everything, as at a flush or at the end."""
        return self._take(len(self._text))

    def _take(self, end: int) -> str:
        taken, self._text = self._text[:end], self._text[end:]
        if not taken.strip():
            return ""
        self._generations += 1
        return taken
