"""psycopg's connection with an end to every wait.

The key decision: the limits of PostgreSQL itself (`statement_timeout`) need a server that works. One that is stopped,
swapped out or behind a network that swallows packets answers nothing, while its kernel still acknowledges what we send:
no time-out of TCP ever strikes. So we end the wait ourselves, and with it the connection, since nobody knows what the
server will make of the statement.
"""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

R = TypeVar("R")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for an answer `answer_seconds`, and then closes itself and raises OperationalError."""

    answer_seconds: float

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
