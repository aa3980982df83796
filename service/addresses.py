"""Where a host is: its addresses, looked up at most every `KEPT_SECONDS`.

The key decisions:

* an address written as such is not looked up at all, and what a name server said is kept for a while. Under gevent
  every lookup goes through a pool of ten threads, also that of an address: 0.2 ms of CPU for each conversation, and a
  slow name server holds up all of them (docs/performance.md);
* a lookup cannot be given a bound: the C library asks again after 5 s, and again. So it runs in a thread of its own,
  whoever waits does so for as long as they have, and the next one who asks waits for the same lookup. A datagram that
  is lost (which NAT does to the two questions of one lookup, https://github.com/kubernetes/kubernetes/issues/56903)
  then costs a repetition, and not the conversation.
"""

from __future__ import annotations

import copy
import socket
import threading
import time
from typing import Any

import structlog

log = structlog.get_logger(__name__)

KEPT_SECONDS = 30.0
"""Below the TTL that is usual for a service behind a load balancer (60 s), so nobody is followed for long."""

SLOW_SECONDS = 1.0
"""What is worth a line in the log: it explains connections that came late or not at all."""

MAX_HOSTS = 64

Place = tuple[socket.AddressFamily, Any]
"""A family and what `socket.connect` takes for it."""

_kept: dict[tuple[str, int], tuple[float, list[Place]]] = {}
_under_way: dict[tuple[str, int], _Lookup] = {}
_lock = threading.Lock()  # guards what is under way


def look_up(host: str, port: int, *, seconds: float) -> list[Place]:
    """The places at which `host` can be reached over TCP, in the order of preference; waits `seconds` at most.

    Raises:
        TimeoutError: no name server has answered by then; who asks again soon waits for the same answer.
        OSError: it is not known (`socket.gaierror`).
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        if _is_address(family, host):
            return [(family, (host, port))]
    known = _kept.get((host, port))
    if known is not None and time.monotonic() < known[0]:
        return known[1]
    with _lock:
        lookup = _under_way.get((host, port))
        is_new = lookup is None
        if lookup is None:
            lookup = _under_way[host, port] = _Lookup(host, port)
    if is_new:
        lookup.start()
    return lookup.wait(seconds)


def forget(host: str, port: int) -> None:
    """Look it up again the next time: nobody answers where it was."""
    _kept.pop((host, port), None)


class _Lookup:
    """One question to the name servers."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._is_over = threading.Event()
        self._places: list[Place] = []
        self._failure: Exception | None = None

    def start(self) -> None:
        """Ask; if that cannot be done, whoever waits is told so."""
        try:
            threading.Thread(target=self._run, name="name lookup", daemon=True).start()
        except RuntimeError as exc:  # no thread is to be had now
            self._end(OSError(str(exc)))

    def wait(self, seconds: float) -> list[Place]:
        """The answer; raises as `look_up`."""
        if not self._is_over.wait(seconds):
            raise TimeoutError("no name server has answered in time")
        if self._failure is not None:
            raise copy.copy(self._failure)  # each who waits adds a traceback to what is raised
        return self._places

    def _run(self) -> None:
        begun = time.monotonic()
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._places = [(family, address) for family, _, _, _, address in found]
        except Exception as exc:  # noqa: BLE001 (whoever waits is told, whatever it is: a name may be no name at all)
            failure = exc
        else:
            if len(_kept) >= MAX_HOSTS:
                _kept.clear()
            _kept[self._host, self._port] = (time.monotonic() + KEPT_SECONDS, self._places)
        self._end(failure)
        if (taken := time.monotonic() - begun) > SLOW_SECONDS:
            log.warning("a name server was slow", host=self._host, seconds=round(taken, 1), is_known=failure is None)

    def _end(self, failure: Exception | None) -> None:
        self._failure = failure
        _under_way.pop((self._host, self._port), None)
        self._is_over.set()


def _is_address(family: socket.AddressFamily, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True
