"""Where a host is: its addresses, looked up at most every `KEPT_SECONDS`.

The key decision: an address written as such is not looked up at all, and what a name server said is kept for a
while. Under gevent every lookup goes through a pool of ten threads, also that of an address: 0.2 ms of CPU for each
conversation, and a slow name server holds up all of them (docs/performance.md).
"""

from __future__ import annotations

import socket
import time
from typing import Any

KEPT_SECONDS = 30.0
"""Below the TTL that is usual for a service behind a load balancer (60 s), so nobody is followed for long."""

MAX_HOSTS = 64

Place = tuple[socket.AddressFamily, Any]
"""A family and what `socket.connect` takes for it."""

_kept: dict[tuple[str, int], tuple[float, list[Place]]] = {}


def look_up(host: str, port: int) -> list[Place]:
    """The places at which `host` can be reached over TCP, in the order of preference.

    Raises:
        OSError: it is not known (`socket.gaierror`).
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        if _is_address(family, host):
            return [(family, (host, port))]
    known = _kept.get((host, port))
    if known is not None and time.monotonic() < known[0]:
        return known[1]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places: list[Place] = [(family, address) for family, _, _, _, address in found]
    if len(_kept) >= MAX_HOSTS:
        _kept.clear()
    _kept[host, port] = (time.monotonic() + KEPT_SECONDS, places)
    return places


def forget(host: str, port: int) -> None:
    """Look it up again the next time: nobody answers where it was."""
    _kept.pop((host, port), None)


def _is_address(family: socket.AddressFamily, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True
