"""What the agents' messages hold of memory while they are kept for a client that may come back."""

from __future__ import annotations

import ctypes

import orjson

from service.event_json import write_event

AUDIO = {"type": "audio", "audio_event": {"audio_base_64": "A" * 16_000, "event_id": 1}}


def held_bytes(data: bytes) -> int:
    """What the allocator has set aside for it."""
    usable_size = ctypes.CDLL(None).malloc_usable_size
    usable_size.restype, usable_size.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return int(usable_size(id(data)))


def test_a_message_holds_no_more_memory_than_it_is_long() -> None:
    message = write_event(AUDIO)

    assert orjson.loads(message) == AUDIO
    assert held_bytes(message) < 1.1 * len(message)


def test_the_trap_is_still_there() -> None:
    message = orjson.dumps(AUDIO)

    assert held_bytes(message) > 4 * len(message), "orjson no longer wastes memory: `write_event` need not copy"
