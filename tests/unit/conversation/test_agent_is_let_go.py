"""The agent's connection is on loan from a pool: a conversation lets it go even if its thread is killed."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from service.conversation.conversation import Conversation
from service.conversation.elevenlabs_legs import OpenLeg
from service.conversation.limits import Limits
from service.conversation.recording import Recording
from service.websocket import WebSocketConnection
from service.websocket.frames import TEXT, build_frame


class Killed(BaseException):
    """As gevent's GreenletExit."""


class OneLeg:
    """Nobody could speak in this leg's place."""

    has_backup = False

    def speaks(self, _agent_id: str) -> bool:
        return False

    def __init__(self, leg: OpenLeg) -> None:
        self._leg = leg

    def open(self, *_: Any, **__: Any) -> OpenLeg:
        return self._leg


class DyingLoop:
    """A loop in whose first call the conversation's thread is killed."""

    def io(self, *_: Any) -> Any:
        raise Killed

    def timer(self, *_: Any) -> Any:
        raise Killed


def test_a_thread_that_is_killed_lets_the_agents_connection_go() -> None:
    (client, page), (agent, elevenlabs) = socket.socketpair(), socket.socketpair()
    with page, elevenlabs:
        leg = OpenLeg(provider="elevenlabs", socket=WebSocketConnection(agent, is_client=True))
        ended: list[int] = []
        kept: list[object] = []
        leg.socket.on_end = lambda: ended.append(1)
        conversation = Conversation(
            WebSocketConnection(client, is_client=False),
            agent_id="agent_one",
            legs=OneLeg(leg),  # type: ignore[arg-type]
            limits=Limits(first_frame_seconds=5, idle_seconds=5, messages_per_second=0),
            loop=DyingLoop(),  # type: ignore[arg-type]
            recording=Recording(kept.append, agent_id="agent_one"),
        )
        first = json.dumps({"type": "conversation_initiation_client_data"}).encode()
        page.sendall(build_frame(TEXT, first, mask=True))
        with pytest.raises(Killed):
            conversation.run()
        assert ended == [1]
        assert kept == [], "it never was open"
        client.close()
