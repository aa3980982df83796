"""What nobody foresaw ends a speech socket, and does not leave its client waiting."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from service.elevenlabs.vocabulary import SpeechSocketRoute
from service.errors import ConnectionClosedError
from service.fallback.backup_speech import BackupSpeech
from service.speech_socket.speech_socket import SpeechPath, SpeechSocket
from service.websocket import WebSocketConnection

SECONDS = 10.0


class BrokenVoice:
    """A backup with a fault of ours in it."""

    can_speak = True

    def speak_pieces(self, *_: object, **__: object) -> Iterator[dict[str, Any]]:
        raise RuntimeError("a fault of ours")


def pair() -> tuple[WebSocketConnection, WebSocketConnection]:
    """The client's end and the server's."""
    ours, theirs = socket.socketpair()
    return WebSocketConnection(ours, is_client=True), WebSocketConnection(theirs, is_client=False)


def test_a_fault_of_ours_while_the_backup_takes_over_closes_the_clients_socket() -> None:
    (client, served), (upstream, elevenlabs) = pair(), pair()
    backup = BackupSpeech(
        speech=BrokenVoice(),  # type: ignore[arg-type]  # a voice that breaks is nowhere to be had
        goes_first=lambda _: False,
        takes_over=lambda _: True,
        primary_spoke=lambda _: None,
    )
    speech = SpeechSocket(
        served,
        SpeechPath(SpeechSocketRoute.STREAM_INPUT, "voice", ""),
        open_upstream=lambda: upstream,
        backup=backup,
        allow=lambda _: None,
        patience_seconds=SECONDS,
    )
    thread = threading.Thread(target=speech.run, args=(None,), daemon=True)
    thread.start()
    with closing(client), closing(served), closing(upstream):
        for text in (" ", "Hello there. ", ""):
            client.send_text(json.dumps({"text": text}))
        for _ in range(3):
            elevenlabs.receive(SECONDS)
        elevenlabs.abort()
        with pytest.raises(ConnectionClosedError) as closed:
            client.receive(SECONDS)
    assert closed.value.code == 1011
    thread.join(SECONDS)
    assert not thread.is_alive()
