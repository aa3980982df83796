"""Workers killed and stopped at random moments, and what must be in the database when all is drained."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scripts.launcher.waiting import wait_until
from service.conversation.ledger import Ledger
from service.conversation.ledger_stream import INDEX_KEY
from service.storage import Conversations, open_database
from service.storage.conversation_records import Utterance
from service.storage.record_writer import RecordWriter
from tests.ledgers.stores import connect, connect_patiently
from tests.ledgers.talks import whole
from tests.ledgers.worker import LEASE_SECONDS, UTTERANCES
from tests.servers import ROOT, clean_environment

LIMIT = 60.0


@dataclass
class Verdict:
    """What came of it: `appended` entries of so many conversations had been taken by Redis; what was not right."""

    conversations: int = 0
    appended: int = 0
    wrong: list[str] = field(default_factory=list)


class Zygote:
    """Makes workers quickly; `start(seed, file)` gives a process id."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, seed: int, path: Path) -> int:
        """Start a worker that writes to `path`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seed} {path}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def running_zygote(redis_url: str, database_url: str) -> Iterator[Zygote]:
    """A process that makes workers; they all end with it."""
    command = [sys.executable, "-m", "tests.ledgers.worker", redis_url, database_url]
    process = subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Zygote(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def kill_at_random(redis_url: str, database_url: str, folder: Path, *, kills: int, seed: int) -> Verdict:
    """Kill that many workers, two of which run at a time, and stop some for longer than their lease lasts."""
    chance = random.Random(seed)
    running: list[int] = []
    with running_zygote(redis_url, database_url) as zygote:
        for number in range(kills + 2):
            running.append(zygote.start(seed * 1_000_000 + number, folder / f"{seed}-{number}.txt"))
            if len(running) < 2:
                continue
            time.sleep(chance.uniform(0.02, 0.4))  # the moment at which it dies is what is tried
            victim = running.pop(chance.randrange(2))
            if chance.random() < 0.2:
                os.kill(victim, signal.SIGSTOP)
                time.sleep(LEASE_SECONDS * 1.2)
                os.kill(victim, signal.SIGCONT)
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return judge(redis_url, database_url, folder)


def judge(redis_url: str, database_url: str, folder: Path) -> Verdict:
    """Drain what is left, and compare the database with what Redis had taken."""
    appended: dict[str, int] = {}
    for path in folder.glob("*.txt"):
        for line in path.read_text().splitlines():
            name, _, sequence = line.partition(" ")
            appended[name] = max(appended.get(name, 0), int(sequence))
    database = open_database(database_url, busy_seconds=5.0)
    conversations = Conversations(database)
    with connect(redis_url) as store, connect_patiently(redis_url) as looking:
        ledger = Ledger(store, conversations, RecordWriter(conversations), lease_seconds=LEASE_SECONDS)
        ledger.start()
        try:
            wait_until(lambda: looking.zcard(INDEX_KEY) == 0, LIMIT, "everything in the database")
        finally:
            ledger.close()
    verdict = Verdict(len(appended), sum(appended.values()))
    for name, sequence in appended.items():
        wrong = _judge_one(conversations, name, sequence)
        if wrong:
            verdict.wrong.append(f"{name}: {wrong}")
    database.close()
    return verdict


def _judge_one(conversations: Conversations, name: str, appended: int) -> str:
    """What is wrong with a conversation of which Redis had taken that many entries; more than those may be there."""
    found = conversations.get(name)
    if found is None:
        return "it is not there"
    records = whole(name, UTTERANCES)
    least = {record.sequence: record for record in records[:appended] if isinstance(record, Utterance)}
    most: dict[int, list[Utterance]] = {}
    for record in records:
        if isinstance(record, Utterance):
            most.setdefault(record.sequence, []).append(record)
    there = {one.sequence: one for one in found.utterances}
    missing = [sequence for sequence in least if sequence not in there]
    if missing:
        return f"without utterances {missing}"
    for sequence, one in there.items():
        versions = most.get(sequence, [])
        if one not in versions or (sequence in least and versions.index(one) < versions.index(least[sequence])):
            return f"utterance {sequence} is another one"
    if appended == len(records) and (found.summary != records[-1] or found.legs != (records[-2],)):
        return "its end is not there"
    return ""
