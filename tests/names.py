"""A name server of a test's own making: what one name is, for the real lookup's callers."""

from __future__ import annotations

import socket
import threading

import pytest

from service import addresses

HOST = "store.test"
"""The one name that it knows; everything else is looked up as ever."""


class Names:
    """`addresses` are those of `HOST` now; `asked`: how often somebody wanted to know."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses = ["127.0.0.1"]
        self.asked = 0
        self._may_answer = threading.Event()
        self._may_answer.set()
        real = socket.getaddrinfo

        def look_up(host: str, port: int, *arguments: object, **options: object) -> object:
            if host != HOST:
                return real(host, port, *arguments, **options)  # type: ignore[arg-type]
            self.asked += 1
            assert self._may_answer.wait(60)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

        monkeypatch.setattr(addresses, "_kept", {})
        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    def fall_silent(self) -> None:
        """Answer nobody from now on."""
        self._may_answer.clear()

    def answer(self) -> None:
        """Answer again, also whoever has asked meanwhile."""
        self._may_answer.set()
