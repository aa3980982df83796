"""Traps of the libraries that only show when something goes wrong inside a handler."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from service.websocket import SERVER_OPTIONS, WithoutCompression
from tests.integration.conversation.scripted_agent import LIMIT


def test_the_library_neither_reads_nor_offers_compression_behind_our_back():
    """simple-websocket's reader thread is what reads without bound."""
    thread = SERVER_OPTIONS["thread_class"](target=lambda: pytest.fail("it reads"))
    assert thread.start() is None
    seen = {}
    app = WithoutCompression(lambda environ, _: seen.update(environ) or [])
    app({"HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate", "PATH_INFO": "/"}, lambda *_: None)
    assert seen == {"PATH_INFO": "/"}


def test_a_handler_that_raises_closes_with_a_code_and_writes_no_http_page_into_the_socket(
    start_scripted, database_url, tmp_path
):
    """gunicorn answers an exception with an HTTP 500, also on a connection that is a WebSocket by then."""
    database = tmp_path / "vocero.db"
    shutil.copy(database_url.removeprefix("sqlite:///"), database)
    service = start_scripted(VOCERO_DATABASE_URL=f"sqlite:///{database}")
    break_database(database)
    with socket.create_connection(("127.0.0.1", service.port), timeout=LIMIT) as raw:
        raw.sendall(
            b"GET /v1/convai/conversation?agent_id=agent_demo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"xi-api-key: %b\r\n\r\n" % (service.port, service.api_key.encode())
        )
        stream = b""
        while piece := raw.recv(65_536):
            stream += piece
    head, _, frames = stream.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Internal error." in frames
    assert b"\x88" in frames
    assert (1011).to_bytes(2, "big") in frames
    assert b"HTTP/1.1" not in frames
    assert service.api_key not in service.log()


def break_database(database: Path) -> None:
    """What is left is no database: an error that nobody foresaw."""
    for file in database.parent.glob("vocero.db-*"):
        file.unlink()
    database.write_bytes(b"x" * 8192)
