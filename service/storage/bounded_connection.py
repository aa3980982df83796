"""psycopg's connection with an end to every wait.

The key decision: the limits of PostgreSQL itself (`statement_timeout`) need a server that works. One that is stopped,
swapped out or behind a network that swallows packets answers nothing, while its kernel still acknowledges what we send:
no time-out of TCP ever strikes. So we end the wait ourselves, and with it the connection, since nobody knows what the
server will make of the statement. The lookup of its name has no limit at all in the library, and has one here.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from service import addresses

R = TypeVar("R")

PORT = 5432


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for an answer `answer_seconds`, and then closes itself and raises OperationalError."""

    answer_seconds: float

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> Self:
        """As psycopg's; one host's name is looked up within `connect_timeout`, and kept for a while (`addresses`)."""
        host = str(parameters.get("host") or "")
        if not host or host.startswith("/") or "," in host or "hostaddr" in parameters:
            return super().connect(conninfo, **parameters)
        port = int(parameters.get("port") or PORT)
        try:
            return super().connect(conninfo, **{**parameters, **_places(host, port, parameters)})
        except psycopg.OperationalError:
            addresses.forget(host, port)
            raise

    def wait(self, gen: PQGen[R], interval: float = 0.1, timeout: float | None = None) -> R:
        """Wait for an answer; psycopg calls this for every one of them. `interval` is psycopg's."""
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.info.transaction_status is TransactionStatus.ACTIVE:  # its answer is still to come
                self.close()
            raise


def bounded(answer_seconds: float) -> type[BoundedConnection]:
    """The class of connections with this limit."""
    return type("BoundedConnection", (BoundedConnection,), {"answer_seconds": answer_seconds})


def _places(host: str, port: int, parameters: dict[str, Any]) -> dict[str, str]:
    """Where `host` is, as libpq wants it: an address for each time that the name is given."""
    try:
        places = addresses.look_up(host, port, seconds=float(parameters["connect_timeout"]))
    except OSError as exc:
        raise psycopg.OperationalError(f"failed to resolve host {host!r}: {exc}") from None
    return {"host": ",".join([host] * len(places)), "hostaddr": ",".join(str(place[0]) for _, place in places)}
