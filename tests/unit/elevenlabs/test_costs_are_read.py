"""What is read out of a conversation's details, whatever stands in them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from service.elevenlabs.past_conversations import CallCost, read_cost
from service.errors import UpstreamProtocolError

METADATA = {
    "call_duration_secs": 61,
    "cost": 345,
    "charging": {"llm_price": 0.0012, "tts_usage": {"total_characters": 812, "total_audio_output_seconds": 40.5}},
}


def read(status: object = "done", **metadata: Any) -> CallCost | None:
    return read_cost(orjson.dumps({"status": status, "metadata": METADATA | metadata}))


def test_credits_characters_and_seconds_are_read() -> None:
    assert read() == CallCost(credits=345, characters=812, call_seconds=61)
    assert read("failed") == CallCost(credits=345, characters=812, call_seconds=61)


@pytest.mark.parametrize("status", ["initiated", "in-progress", "processing"])
def test_what_is_not_over_has_no_cost_yet(status: str) -> None:
    assert read(status) is None


def test_a_status_that_is_new_or_missing_counts_as_over() -> None:
    assert read("archived") == read() == read(None)


@pytest.mark.parametrize("value", [None, "345", True, -1, [], {}, 1e300])
def test_a_number_that_is_none_is_not_known(value: object) -> None:
    assert read(cost=value, call_duration_secs=value) == CallCost(characters=812)


def test_a_fraction_is_rounded() -> None:
    assert read(cost=344.6) == CallCost(345, 812, 61)


@pytest.mark.parametrize("charging", [None, [], "x", {}, {"tts_usage": None}, {"tts_usage": {"total_characters": ""}}])
def test_charging_may_be_missing_or_other(charging: object) -> None:
    assert read(charging=charging) == CallCost(credits=345, call_seconds=61)


@pytest.mark.parametrize(
    "document", [b"", b"<html>", b"[]", b"null", b"{}", b'{"metadata": []}', b'{"status": "done", "metadata": null}']
)
def test_what_are_no_details_is_an_answer_that_makes_no_sense(document: bytes) -> None:
    with pytest.raises(UpstreamProtocolError) as caught:
        read_cost(document)
    assert caught.value.__cause__ is None
