"""How many characters a request is for, how many of them were heard, and how a subscription is read."""

from __future__ import annotations

import pytest

from service.elevenlabs.speech_characters import SpeechOrder, characters_of, tell_accepted, tell_spoken
from service.elevenlabs.subscription import Quota, read_quota
from service.elevenlabs.transport import Query
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import UpstreamProtocolError
from service.keeping.quota import tell_quota
from tests.told import Told, now


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"text": "Hello."}', 6),
        ('{"text": "¡Señor 🙂!"}'.encode(), 9),
        (b'{"text": ""}', 0),
        (b'{"text": 5}', 0),
        (b'{"words": "Hello."}', 0),
        (b'["text"]', 0),
        (b"not JSON", 0),
    ],
)
def test_a_body_tells_how_much_it_asks_for(body: bytes, expected: int) -> None:
    assert characters_of(body) == expected


@pytest.mark.parametrize(
    ("query", "route", "bytes_of_a_second"),
    [
        ({"output_format": "pcm_16000"}, SpeechRoute.STREAM, 32_000),
        ("output_format=wav_8000", SpeechRoute.FULL, 16_000),
        ([("output_format", "ulaw_8000")], SpeechRoute.STREAM, 8_000),
        ("output_format=mp3_44100_64", SpeechRoute.STREAM, 8_000),
        ("enable_logging=false", SpeechRoute.STREAM, 16_000),
        ("output_format=of_tomorrow", SpeechRoute.STREAM, 16_000),
        ("output_format=pcm_16000", SpeechRoute.STREAM_WITH_TIMESTAMPS, 32_000 / 0.7),
    ],
)
def test_what_was_heard_of_half_an_answer_goes_by_the_length_of_its_sound(
    query: Query, route: SpeechRoute, bytes_of_a_second: float
) -> None:
    told = Told()
    tell_spoken(SpeechOrder(100, query, route), received=round(2 * bytes_of_a_second), is_whole=False)
    assert told.more("elevenlabs_characters_total") == {"heard": 30, "wasted": 70}


@pytest.mark.parametrize(
    ("received", "is_whole", "heard"), [(9_000, True, 100), (10**9, False, 100), (0, False, 0), (0, True, 0)]
)
def test_never_more_is_heard_than_was_asked_for(received: int, is_whole: bool, heard: int) -> None:
    told = Told()
    tell_spoken(SpeechOrder(100, "", SpeechRoute.STREAM), received=received, is_whole=is_whole)
    found = told.more("elevenlabs_characters_total")
    assert (found.get("heard", 0), found.get("wasted", 0)) == (heard, 100 - heard)


@pytest.mark.parametrize(
    ("cost", "billed"), [("12", 12), ("0", 0), ("", 0), ("-3", 0), ("1e9", 0), ("٣", 0), ("9" * 30, 0)]
)
def test_the_bill_is_what_the_head_says_if_it_is_a_number(cost: str, billed: int) -> None:
    told = Told()
    tell_accepted(SpeechOrder(5, "", SpeechRoute.STREAM), {"character-cost": cost})
    found = told.more("elevenlabs_characters_total")
    assert found.pop("sent") == 5
    assert found == ({"billed": billed} if billed else {})


def test_a_subscription_is_two_numbers() -> None:
    document = b'{"tier": "pro", "character_count": 17, "character_limit": 100, "next_invoice": null}'
    assert read_quota(document) == Quota(used=17, limit=100)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"null",
        b'{"character_count": 17}',
        b'{"character_count": "17", "character_limit": 100}',
        b'{"character_count": true, "character_limit": 100}',
        b'{"character_count": -1, "character_limit": 100}',
        b'{"character_count": 1, "character_limit": 1e300}',
    ],
)
def test_what_is_no_subscription_is_told_without_quoting_it(document: bytes) -> None:
    with pytest.raises(UpstreamProtocolError) as caught:
        read_quota(document)
    assert caught.value.__cause__ is None
    assert caught.value.code == "senseless_answer"


def test_a_reading_that_brought_nothing_changes_nothing() -> None:
    tell_quota({"used": 3, "limit": 9})
    try:
        for nothing in (None, {}, {"used": 5}):
            tell_quota(nothing)
            assert now("elevenlabs_quota_characters", kind="used") == 3
            assert now("elevenlabs_quota_characters", kind="limit") == 9
    finally:
        tell_quota({"used": 0, "limit": 0})
