"""The agents of soaked conversations: `python -m soak.upstream --port N` stands where ElevenLabs would.

It signs URLs and answers the agents' socket; what an agent says and does comes with the client's `soak_plan`.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Mapping
from typing import Any

import orjson
from websockets.utils import accept_key

from soak.fates import Side
from soak.talk import RECEIVE_BYTES, TalkEnd
from soak.wire import Wire

SIGNED_URL_PATH = "/v1/convai/conversation/get-signed-url"
CONVERSATION_PATH = "/v1/convai/conversation"
_FORMATS = {"agent_output_audio_format": "pcm_16000", "user_input_audio_format": "pcm_16000"}


class Upstream:
    """The server at `port` of the loopback interface."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._loop = loop
        self._address = f"ws://127.0.0.1:{port}{CONVERSATION_PATH}?agent_id=agent_soak&conversation_signature=soak"
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        _HttpConnection(self._loop, sock, self._address)


class _HttpConnection:
    """A kept-alive connection until it is upgraded or ended; its wire's callbacks keep it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, address: str) -> None:
        self._loop = loop
        self._address = address
        self._data = b""
        self._wire = Wire(loop, sock, on_data=self._read, on_end=lambda: None)

    def _read(self, data: memoryview) -> None:
        self._data += data
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        self._data = rest  # neither a GET nor an upgrade has a body
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path = first.split(" ")[1].partition("?")[0]
        if path == SIGNED_URL_PATH:
            self._answer("200 OK", orjson.dumps({"signed_url": self._address}))
        elif path == CONVERSATION_PATH and "sec-websocket-key" in headers:
            self._upgrade(headers["sec-websocket-key"])
        else:
            self._answer("404 Not Found", b"")

    def _answer(self, status: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._wire.write(head.encode() + body)

    def _upgrade(self, key: str) -> None:
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
        )
        self._wire.write(answer.encode())
        _Agent(self._loop, self._wire, self._data)


class _Agent:
    """An agent on an upgraded connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: Wire, rest: bytes) -> None:
        self._wire = wire
        self._end = TalkEnd(loop, wire, is_client=False, on_event=self._handle, on_over=self._leave_if_alone)
        self._end.read(rest)

    def _handle(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "conversation_initiation_client_data":
            self._end.send_event(_metadata(event["dynamic_variables"]["seed"]))
        elif event["type"] == "soak_plan":
            side = Side(tuple((at, seconds) for at, seconds in event["stalls"]), event["leaves"], event["leaves_at"])
            if side.stalls or side.leaves:
                self._wire.hold_less(RECEIVE_BYTES)
            counts = {"to_say": event["down"], "to_hear": event["up"]}
            self._end.begin(event["seed"], **counts, side=side, large=event["large"])

    def _leave_if_alone(self, how: str) -> None:
        """Keep the connection after "all heard": it is for the service to end it."""
        if how.startswith(("closed", "lost")):
            self._end.close()


def _metadata(seed: str) -> Mapping[str, Any]:
    """With the conversation's seed in its id: the service's log then tells which one it was."""
    event = {"conversation_id": f"conv_soak_{seed}", **_FORMATS}
    return {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}


def main() -> None:
    """Serve until somebody ends the process."""
    parser = argparse.ArgumentParser(description="Agents that say and check numbered messages.")
    parser.add_argument("--port", type=int, required=True)
    loop = asyncio.new_event_loop()
    upstream = Upstream(loop, parser.parse_args().port)
    loop.run_forever()
    del upstream  # it has lived until here


if __name__ == "__main__":
    main()
