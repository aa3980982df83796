"""What a side of a soaked conversation says: message number N of conversation S, and nothing else, decides each byte.

The key decision: no checksum. The listener makes the same message from the number that is due and compares all of it,
which costs a memcmp; so a byte that was changed, lost, doubled or moved to another conversation is found at once.

The messages are those of the Agents protocol: audio, which the service peeks at, and in each turn the events that it
parses. Most audio is short, so that many frames go through; one in twenty has a real size.
"""

from __future__ import annotations

import base64
import random

TURN = 500
"""Messages in a turn of the conversation, which begins and ends with events."""

_POOL_BYTES = 120_000
_POOL = base64.b64encode(random.Random(0).randbytes(_POOL_BYTES))
_LARGEST = 65_536
_OFFSETS = len(_POOL) - _LARGEST
_STEP = 7919  # a prime: neighbours differ, and so do conversations
_SMALL = (120, 132, 148, 172, 200, 236, 280, 332, 128, 140, 160, 186, 218, 258, 304, 360, 400, 156, 192)
_LARGE = (65_536, 16_384, 32_768)
_SIZES_UP = (*_SMALL, 10_668)  # 250 ms of 16 kHz PCM, what the Python SDK sends
_SIZES_DOWN = (*_SMALL, 4096, *_SMALL, 16_384, *_SMALL, 8192)


class WrongMessageError(Exception):
    """A message came that is not the one that was due."""


class Script:
    """The messages of one direction of conversation `seed`, from number 1 on; `large`: all audio is long."""

    __slots__ = ("_is_agent", "_seed", "_sizes")

    def __init__(self, seed: int, *, is_agent: bool, large: bool = False) -> None:
        self._seed = seed
        self._is_agent = is_agent
        self._sizes = _LARGE if large else _SIZES_DOWN if is_agent else _SIZES_UP

    def message(self, number: int) -> bytes:
        """Message `number`."""
        place = number % TURN
        if place < 2 or place == TURN - 1:
            return self._event(number, place)
        mix = number * _STEP + self._seed
        start = mix % _OFFSETS
        sizes = self._sizes
        audio = _POOL[start : start + sizes[mix % len(sizes)]]
        if self._is_agent:
            head = b'{"audio_event":{"audio_base_64":"%010d%06d' % (number, self._seed)
            return b'%b%b","event_id":%d},"type":"audio"}' % (head, audio, self._turn(number))
        return b'{"user_audio_chunk":"%010d%06d%b"}' % (number, self._seed, audio)

    def check(self, number: int, message: bytes) -> None:
        """Make sure that `message` is number `number`.

        Raises:
            WrongMessageError: it is not; the error says at which byte it differs.
        """
        due = self.message(number)
        if message == due:
            return
        pairs = zip(message, due, strict=False)
        where = next(
            (place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(message), len(due))
        )
        raise WrongMessageError(
            f"message {number} of conversation {self._seed} ({'down' if self._is_agent else 'up'}) differs from byte "
            f"{where} on: {len(message)} bytes came, {len(due)} were due, and it begins with {message[:64]!r}"
        )

    def _event(self, number: int, place: int) -> bytes:
        if not self._is_agent:
            return b'{"text":"%d of %d","type":"contextual_update"}' % (number, self._seed)
        turn = self._turn(number)
        if place == 0:
            name, field, kind = b"user_transcription_event", b"user_transcript", b"user_transcript"
        elif place == 1:
            name, field, kind = b"agent_response_event", b"agent_response", b"agent_response"
        else:
            return b'{"interruption_event":{"event_id":%d,"reason":"%d"},"type":"interruption"}' % (turn, number)
        text = b"%d of %d" % (number, self._seed)
        return b'{"%b":{"%b":"%b","event_id":%d},"type":"%b"}' % (name, field, text, turn, kind)

    def _turn(self, number: int) -> int:
        """Event ids rise from turn to turn: what follows an interruption has a higher one, and is passed on."""
        return number // TURN + 1
