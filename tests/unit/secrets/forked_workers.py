"""Processes that share a `NodeMemory` as gunicorn's workers do: made by the master, inherited by fork.

A program of its own, because a test's process has threads, and forking those is asking for trouble:
`python -m tests.unit.secrets.forked_workers SCENARIO` prints what came of it as JSON.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault import node_memory
from service.vault.node_memory import NodeMemory
from service.vault.unwrapped import UnwrappedSecretIds

WORKERS = 8
SECRET_ID = "canary-of-the-secret-id-77ab"
WRAPPING_TOKEN = Secret("hvs.canary_of_the_wrapping_token_c0de")
LIMIT_SECONDS = 20.0


class Channel:
    """A pipe of lines; whoever waits for one waits at most `LIMIT_SECONDS`."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._rest = b""

    def say(self, word: str) -> None:
        os.write(self._writer, word.encode() + b"\n")

    def hear(self) -> str:
        while b"\n" not in self._rest:
            readable, _, _ = select.select([self._reader], [], [], LIMIT_SECONDS)
            assert readable, "nobody said anything"
            self._rest += os.read(self._reader, 65_536)
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


class Gate:
    """What all who wait at it pass at the same moment."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def wait(self) -> None:
        os.close(self._writer)
        readable, _, _ = select.select([self._reader], [], [], LIMIT_SECONDS)
        assert readable, "the gate stayed shut"

    def open_for_all(self) -> None:
        os.close(self._writer)


def fork(work: Callable[[], Any]) -> int:
    """Run `work` in a child; what it returns must be heard through a channel."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(int(LIMIT_SECONDS))
        work()
        status = 0
    finally:
        os._exit(status)


def reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def all_at_once() -> dict[str, Any]:
    """Eight workers want the secret id at the same moment."""
    kept, heard, start = UnwrappedSecretIds(NodeMemory()), Channel(), Gate()
    came, unwrapped = Channel(), Channel()

    def unwrap(_: Secret) -> Secret:
        unwrapped.say(str(os.getpid()))
        for _ in range(WORKERS):  # Vault's answer takes its time, in which the others come
            came.hear()
        return Secret(SECRET_ID)

    def work() -> None:
        start.wait()
        came.say("came")
        heard.say(kept.secret_id(WRAPPING_TOKEN, unwrap).reveal())

    workers = [fork(work) for _ in range(WORKERS)]
    start.open_for_all()
    found = [heard.hear() for _ in workers]
    codes = [reap(pid) for pid in workers]
    unwrapped.say("end")
    who = []
    while (word := unwrapped.hear()) != "end":
        who.append(int(word))
    return {"found": found, "codes": codes, "unwrapped": len(who)}


def killed() -> dict[str, Any]:
    """A worker is killed while it has the memory; another one waits for it."""
    kept, inside, heard = UnwrappedSecretIds(NodeMemory()), Channel(), Channel()

    def stay(_: Secret) -> Secret:
        inside.say("in")
        return Secret(Channel().hear())  # which nobody speaks into

    first = fork(lambda: kept.secret_id(WRAPPING_TOKEN, stay))
    inside.hear()

    def work() -> None:
        heard.say("waits")
        heard.say(kept.secret_id(WRAPPING_TOKEN, lambda _: Secret(SECRET_ID)).reveal())

    second = fork(work)
    heard.hear()
    os.kill(first, signal.SIGKILL)
    return {"found": heard.hear(), "codes": [reap(first), reap(second)]}


def later() -> dict[str, Any]:
    """A worker that is forked when the one which unwrapped is long gone."""
    kept, heard = UnwrappedSecretIds(NodeMemory()), Channel()

    def unwrap(_: Secret) -> Secret:
        heard.say("unwrapped")
        return Secret(SECRET_ID)

    def work() -> None:
        heard.say(kept.secret_id(WRAPPING_TOKEN, unwrap).reveal())

    codes = [reap(fork(work)) for _ in range(3)]
    return {"heard": [heard.hear() for _ in range(4)], "codes": codes}


def refused() -> dict[str, Any]:
    """What one worker was refused no other asks for; a new wrapping token is tried."""
    kept, heard = UnwrappedSecretIds(NodeMemory()), Channel()

    def refuse(token: Secret) -> Secret:
        heard.say("asked")
        raise SecretsSourceError("Somebody else has used it.", cause=FailureCause.WRAP_USED)

    def work() -> None:
        try:
            kept.secret_id(WRAPPING_TOKEN, refuse)
        except SecretsSourceError as exc:
            heard.say(f"{exc.cause}: {exc}")

    codes = [reap(fork(work)) for _ in range(3)]
    codes.append(reap(fork(lambda: heard.say(kept.secret_id(Secret("new"), lambda _: Secret("s2")).reveal()))))
    return {"heard": [heard.hear() for _ in range(5)], "codes": codes}


def shared_by_the_master() -> dict[str, Any]:
    """As gunicorn's configuration does it, before and after."""
    alone = node_memory.node_memory() is not node_memory.node_memory()
    node_memory.share_with_children()
    ours = node_memory.node_memory()
    node_memory.share_with_children()
    heard = Channel()

    def write() -> None:
        with node_memory.node_memory().held(1.0):
            node_memory.node_memory().write(b"from a worker")

    reap(fork(write))

    def read() -> None:
        with node_memory.node_memory().held(1.0):
            heard.say(node_memory.node_memory().read().decode())

    reap(fork(read))
    return {"alone": alone, "same": node_memory.node_memory() is ours, "found": heard.hear()}


def nowhere_else() -> dict[str, Any]:
    """Where the secret id is not: on a disk, in the environment, in a program that is started."""
    memory = NodeMemory()
    kept = UnwrappedSecretIds(memory)
    kept.secret_id(WRAPPING_TOKEN, lambda _: Secret(SECRET_ID))
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    listing = ["ls", "-l", "/proc/self/fd"]
    started = subprocess.run(listing, check=True, capture_output=True, text=True, close_fds=False, timeout=20).stdout
    return {
        "memory": [link for link in links if "memfd" in link],
        "inherited": "memfd" in started,
        "environment": SECRET_ID in repr(os.environ) or SECRET_ID in Path("/proc/self/environ").read_text(),
        "files": [str(path) for path in Path.cwd().iterdir()],
        "wrapping token kept": WRAPPING_TOKEN.reveal().encode() in memory.read(),
    }


def taken() -> dict[str, Any]:
    """Another process has the memory, for longer than somebody waits."""
    memory, inside, leave, left = NodeMemory(), Channel(), Channel(), Channel()

    def work() -> None:
        with memory.held(1.0):
            inside.say("in")
            leave.hear()
        left.say("out")

    other = fork(work)
    inside.hear()
    got_it = _is_free(memory)
    leave.say("leave")
    left.hear()
    afterwards = _is_free(memory)
    reap(other)
    return {"got_it": got_it, "afterwards": afterwards}


def _is_free(memory: NodeMemory) -> bool:
    try:
        with memory.held(0.1):
            return True
    except TimeoutError:
        return False


SCENARIOS = [all_at_once, killed, taken, later, refused, shared_by_the_master, nowhere_else]

if __name__ == "__main__":
    scenario = next(one for one in SCENARIOS if one.__name__ == sys.argv[1])
    print(json.dumps(scenario()))
