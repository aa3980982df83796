"""What became of the characters of a speech request: sent, billed, heard, wasted.

The key decision: what a client has received is taken for heard, though it may not have played it. Of an answer that
was not read to its end nobody says where in the text it was; it is estimated from how long the sound is that arrived,
at the pace of usual speech. An estimate is enough to see whether much is paid for and not heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs

import orjson

from service.elevenlabs.transport import Query
from service.elevenlabs.vocabulary import DEFAULT_OUTPUT_FORMAT, SpeechRoute
from service.metrics_elevenlabs import characters_billed, characters_heard, characters_sent, characters_wasted

CHARACTERS_A_SECOND = 15.0
_USUAL_BYTES_A_SECOND = 16_000.0  # mp3 with 128 kbit/s
_JSON_SHARE = 0.7
"""Of the bytes of an answer with timestamps, what is audio: base64 takes a third more, and there are the times."""

_LARGEST_COUNT = 10**9


class SpeechOrder(NamedTuple):
    """What was asked for, as far as it says how much."""

    characters: int
    query: Query
    route: SpeechRoute


def characters_of(body: bytes) -> int:
    """How many characters a request's body asks for; 0 if it makes no sense, which ElevenLabs will say."""
    try:
        text = orjson.loads(body)["text"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 0
    return len(text) if isinstance(text, str) else 0


def tell_accepted(order: SpeechOrder, headers: Mapping[str, str]) -> None:
    """Count what ElevenLabs begins to speak, and what it bills for that by its answer's head."""
    characters_sent(order.characters)
    cost = headers.get("character-cost", "")
    if cost.isascii() and cost.isdigit() and int(cost) < _LARGEST_COUNT:
        characters_billed(int(cost))


def tell_spoken(order: SpeechOrder, *, received: int, is_whole: bool) -> None:
    """Count what was heard of it, by the bytes `received`, and what was not."""
    heard = order.characters
    if not is_whole or not received:
        seconds = received / _bytes_a_second(order)
        heard = min(heard, round(seconds * CHARACTERS_A_SECOND))
    if heard:
        characters_heard(heard)
    if heard < order.characters:
        characters_wasted(order.characters - heard)


def _bytes_a_second(order: SpeechOrder) -> float:
    """Of the answer; `mp3_44100_128` has its kilobits in the name, of the others the rate and the codec say it."""
    codec, *numbers = _format_of(order.query).split("_")
    rate = _USUAL_BYTES_A_SECOND
    if numbers and all(number.isascii() and number.isdigit() and len(number) < 7 for number in numbers):
        samples, kilobits = int(numbers[0]), int(numbers[-1])
        if len(numbers) == 2:
            rate = kilobits * 125.0
        elif codec in {"pcm", "wav"}:
            rate = samples * 2.0
        elif codec in {"ulaw", "alaw"}:
            rate = float(samples)
    return max(1.0, rate) / (_JSON_SHARE if order.route.is_json else 1.0)


def _format_of(query: Query) -> str:
    if isinstance(query, str):
        return parse_qs(query).get("output_format", [DEFAULT_OUTPUT_FORMAT])[0]
    return dict(query).get("output_format", DEFAULT_OUTPUT_FORMAT)
