"""Workers that hold conversations and drain the ledger: `python -m tests.ledgers.worker REDIS_URL DATABASE_URL`.

The key decision: each writes down, in a file of its own and with one `write` a line, what Redis has taken of which
conversation. That is what must be in the database in the end, whatever happened to the worker since. For each line
`SEED FILE` on standard input a worker is forked, and its process id is the answer; with the end of the input all end.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from dataclasses import dataclass

import structlog

from service.conversation.ledger import Ledger
from service.storage import Conversations, open_database
from service.storage.record_writer import Record, RecordWriter
from tests.ledgers.stores import connect
from tests.ledgers.talks import whole

LEASE_SECONDS = 1.0
TALKS = 4
UTTERANCES = 30


def name_of(seed: int, number: int) -> str:
    """The id of a worker's conversation."""
    return f"s{seed}n{number}"


@dataclass
class _Talk:
    name: str
    records: list[Record]


def work(redis_url: str, database_url: str, seed: int, path: str) -> None:
    """Hold conversations, one behind the other in each of a few places, until somebody ends it."""
    chance = random.Random(seed)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    kept = Conversations(open_database(database_url))
    ledger = Ledger(connect(redis_url), kept, RecordWriter(kept), lease_seconds=LEASE_SECONDS)
    book = ledger._book
    was_sent = book.was_sent

    def tell(conversation_id: str, sequence: int) -> None:
        os.write(file, f"{conversation_id} {sequence}\n".encode())
        was_sent(conversation_id, sequence)

    book.was_sent = tell  # type: ignore[method-assign]
    ledger.start()
    talks: list[_Talk] = []
    number = 0
    while True:
        while len(talks) < TALKS:
            name = name_of(seed, number)
            talks.append(_Talk(name, whole(name, UTTERANCES)))
            number += 1
        talk = chance.choice(talks)
        ledger.note(talk.records.pop(0))
        if not talk.records:
            talks.remove(talk)
        time.sleep(chance.uniform(0.0, 0.004))  # the pace of many callers


def main(redis_url: str, database_url: str) -> None:
    """Fork a worker for each line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.setpgid(0, 0)
    for line in sys.stdin:
        seed, path = line.split()
        pid = os.fork()
        if pid == 0:
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for what is logged
            work(redis_url, database_url, int(seed), path)
        print(pid, flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
