"""The client's half of the opening handshake (RFC 6455, section 4.1), without I/O.

The key decision: one regular expression says what a 101 may look like, down to each byte, so what is read from it
needs no further care; `websockets`, whose rules these are and which judges them in the tests, takes three times as
long (docs/performance.md). We offer no extension, so none may be agreed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.errors import HandshakeError

DEFAULT_PORTS = {"ws": 80, "wss": 443}
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_SWITCHING = re.compile(rb"HTTP/1\.1 101 %b\r\n(?:%b:%b\r\n)*\r\n" % (_TEXT, _TOKEN, _TEXT))
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r]")
_FIELD = re.compile(rb"\r\n(%b):(%b)" % (_TOKEN, _TEXT))
_VISIBLE = re.compile(r"[!-~]+")
_FIELD_NAME = re.compile(_TOKEN.decode())
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")


@dataclass(frozen=True)
class SocketAddress:
    """A `ws:` or `wss:` URL in the parts that opening it takes; `target` is path and query."""

    is_secure: bool
    host: str
    port: int
    authority: str
    target: str


def parse_url(url: str) -> SocketAddress:
    """The parts of `url`.

    Raises:
        ValueError: it is none that can be opened (the message does not quote it: its query may hold a secret).
    """
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    default = DEFAULT_PORTS.get(parts.scheme)
    if default is None or not host or not _VISIBLE.fullmatch(url) or "@" in parts.netloc or parts.fragment:
        raise ValueError("not the URL of a WebSocket")
    authority = f"[{host}]" if ":" in host else host
    if port is not None and port != default:
        authority += f":{port}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return SocketAddress(parts.scheme == "wss", host, default if port is None else port, authority, target)


def new_key() -> bytes:
    """A `Sec-WebSocket-Key`: 16 random bytes in base64."""
    return base64.b64encode(os.urandom(16))


def accept_value(key: bytes) -> bytes:
    """What a server that understands WebSocket answers to `key` as `Sec-WebSocket-Accept`."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def build_request(
    address: SocketAddress, key: bytes, *, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
) -> bytes:
    """The request for an upgrade.

    Raises:
        ValueError: a header or a subprotocol that cannot be sent as it stands.
    """
    fields = dict(headers or {})
    if subprotocols:
        fields["Sec-WebSocket-Protocol"] = ", ".join(subprotocols)
    for name, value in fields.items():
        if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} cannot be sent")
    more = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return (
        f"GET {address.target} HTTP/1.1\r\nHost: {address.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
    ).encode()


def is_switching(head: bytes) -> bool:
    """Whether an answer's head says that the protocol is switched (properly or not)."""
    found = _STATUS.match(head)
    return found is not None and found[1] == b"101"


def read_switch(head: bytes, key: bytes, *, subprotocols: Sequence[str] = ()) -> str | None:
    """The subprotocol that a 101 has chosen, if any.

    Raises:
        HandshakeError: the 101 is not one that RFC 6455 lets a server give to our request.
    """
    if not _SWITCHING.fullmatch(head):
        raise HandshakeError(101, b"the answer's head is malformed")
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(head):
        lower = name.lower()
        # Two fields of a name are one with both values (RFC 9110, section 5.3).
        fields[lower] = fields[lower] + b"," + value if lower in fields else value
    if b"upgrade" not in _listed(fields, b"connection", lower=True):
        raise HandshakeError(101, b"no Connection: upgrade")
    if _listed(fields, b"upgrade", lower=True) != [b"websocket"]:
        raise HandshakeError(101, b"no Upgrade: websocket")
    if fields.get(b"sec-websocket-accept", b"").strip(b" \t") != accept_value(key):
        raise HandshakeError(101, b"the Sec-WebSocket-Accept is not the one for our key")
    if b"sec-websocket-extensions" in fields:
        raise HandshakeError(101, b"an extension that was not offered")
    if b"sec-websocket-protocol" not in fields:
        return None
    chosen = [name.decode("latin-1") for name in _listed(fields, b"sec-websocket-protocol")]
    if len(chosen) != 1 or chosen[0] not in subprotocols:
        raise HandshakeError(101, b"a subprotocol that was not offered")
    return chosen[0]


def _listed(fields: Mapping[bytes, bytes], name: bytes, *, lower: bool = False) -> list[bytes]:
    """The values of a field that is a list; empty ones do not count (RFC 9110, section 5.6.1)."""
    text = fields.get(name, b"")
    values = (value.strip(b" \t") for value in (text.lower() if lower else text).split(b","))
    return [value for value in values if value]


def read_refusal(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, names in lower case, of an answer that is no 101; 502 if it is not HTTP."""
    found = _STATUS.match(head)
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    return (int(found[1]) if found else 502), headers
