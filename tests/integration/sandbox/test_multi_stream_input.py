"""The socket `multi-stream-input`: several contexts over one connection."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.integration.sandbox.account import SECONDS, SENTENCE, Account, hear, say
from tests.integration.sandbox.heard import LOUD, listen_pcm

PATH = "multi-stream-input"


def _close_code(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def _until_final(socket: ClientConnection, *names: str) -> dict[str, list[dict[str, Any]]]:
    """Give each context's frames up to its final one."""
    frames: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    missing = set(names)
    while missing:
        frame = hear(socket)
        if frame.get("isFinal"):
            assert set(frame) == {"isFinal", "contextId"}
            missing.remove(frame["contextId"])
        else:
            frames[frame["contextId"]].append(frame)
    return frames


def test_two_contexts_are_spoken_side_by_side(account: Account) -> None:
    with account.socket(PATH) as socket:
        for name, text in (("one", SENTENCE), ("two", "Thank you very much for waiting. ")):
            say(socket, text=" ", context_id=name)
            say(socket, text=text, context_id=name, flush=True)
            say(socket, context_id=name, close_context=True)
        frames = _until_final(socket, "one", "two")
    heard = {name: listen_pcm(b"".join(base64.b64decode(f["audio"]) for f in parts)) for name, parts in frames.items()}
    assert all(each.level > LOUD for each in heard.values())
    assert heard["one"].seconds > heard["two"].seconds > 1


def test_without_a_name_it_is_the_default_context(account: Account) -> None:
    with account.socket(PATH) as socket:
        say(socket, text=" ")
        say(socket, text="Hello. ", flush=True)
        assert hear(socket)["contextId"] == "default"


def test_a_sixth_context_ends_the_socket_with_the_words_of_elevenlabs(account: Account) -> None:
    with account.socket(PATH) as socket:
        for number in range(6):
            say(socket, text=" ", context_id=f"context-{number}")
        frame = hear(socket)
        code = _close_code(socket)
    assert frame == {
        "message": "Maximum simultaneous contexts per WebSocket connection exceeded (5). "
        "Please close an existing context before opening a new one.",
        "error": "max_active_conversations",
        "code": 1008,
    }
    assert code == 1008


def test_a_closed_context_makes_room_once_its_final_frame_is_out(account: Account) -> None:
    with account.socket(PATH) as socket:
        for number in range(5):
            say(socket, text=" ", context_id=f"context-{number}")
        for number in range(5, 12):
            say(socket, context_id=f"context-{number - 5}", close_context=True)
            assert hear(socket) == {"isFinal": True, "contextId": f"context-{number - 5}"}
            say(socket, text=" ", context_id=f"context-{number}")
        say(socket, text="Still open. ", context_id="context-11", flush=True)
        assert hear(socket)["contextId"] == "context-11"


def test_a_context_that_is_still_speaking_keeps_its_place(paced: Account) -> None:
    with paced.socket(PATH) as socket:
        say(socket, text=" ", context_id="long")
        say(socket, text=SENTENCE * 3, context_id="long", flush=True)
        say(socket, context_id="long", close_context=True)
        for number in range(5):
            say(socket, text=" ", context_id=f"context-{number}")
        errors = []
        while not errors:
            frame = hear(socket)
            assert not frame.get("isFinal")
            errors += [frame["error"]] if "error" in frame else []
    assert errors == ["max_active_conversations"]


def test_close_context_drops_what_was_not_flushed(account: Account) -> None:
    with account.socket(PATH) as socket:
        say(socket, text=" ", context_id="one")
        say(socket, text="Never to be heard. ", context_id="one")
        say(socket, context_id="one", close_context=True)
        assert hear(socket) == {"isFinal": True, "contextId": "one"}
    assert account.stats()["spoken"] == []


def test_close_socket_lets_what_was_flushed_be_spoken(account: Account) -> None:
    with account.socket(PATH) as socket:
        say(socket, text=" ", context_id="one")
        say(socket, text=SENTENCE, context_id="one", flush=True)
        say(socket, close_socket=True)
        frames = _until_final(socket, "one")
        assert _close_code(socket) == 1000
    assert listen_pcm(b"".join(base64.b64decode(frame["audio"]) for frame in frames["one"])).seconds > 2.5


def test_close_socket_without_contexts_closes_at_once(account: Account) -> None:
    with account.socket(PATH) as socket:
        say(socket, close_socket=True)
        assert _close_code(socket) == 1000


def test_a_context_nobody_writes_to_is_closed_and_then_the_socket(account: Account) -> None:
    with account.socket(PATH, inactivity_timeout="0.3") as socket:
        say(socket, text=" ", context_id="one")
        assert hear(socket) == {"isFinal": True, "contextId": "one"}
        assert hear(socket)["error"] == "input_timeout_exceeded"
        assert _close_code(socket) == 1008


def test_an_empty_text_keeps_a_context_alive(account: Account) -> None:
    with account.socket(PATH, inactivity_timeout="0.8") as socket:
        say(socket, text=" ", context_id="kept")
        for _ in range(4):
            with pytest.raises(TimeoutError):
                socket.recv(0.3)
            say(socket, text="", context_id="kept")
        say(socket, text="Still here. ", context_id="kept", flush=True)
        assert hear(socket)["audio"]


def test_a_flush_for_an_unknown_context_silently_creates_one(account: Account) -> None:
    with account.socket(PATH) as socket:
        say(socket, context_id="new", flush=True)
        say(socket, text="Hello. ", context_id="new", flush=True)
        assert hear(socket)["contextId"] == "new"


def test_settings_of_a_context_cannot_change(account: Account) -> None:
    with account.socket(PATH) as socket:
        say(socket, text=" ", context_id="one", voice_settings={"speed": 1.0})
        say(socket, text="Hello. ", context_id="one", voice_settings={"speed": 1.1})
        assert hear(socket)["error"] == "invalid_message"
        assert _close_code(socket) == 1008
