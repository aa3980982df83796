"""A process that has imported the rollback and forks one for each that is asked for: half a second less for each.

What it forks is a process of its own, with its own signals, files and exit code, which runs `scripts.rollback.main`. It
can be told to stop itself (SIGSTOP) as soon as a certain entry stands in the journal: so a test may break the world at
exactly that moment, and then let it go on.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from scripts.reversal.journal import Entry
from scripts.rollback import main


def serve() -> None:
    """Read requests, a line of JSON each, until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _wait(asked["wait"]) if "wait" in asked else _fork(asked)
        print(json.dumps(answer), flush=True)


def _fork(asked: dict[str, Any]) -> dict[str, int]:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    code = 70
    try:
        code = _run(asked)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(asked: dict[str, Any]) -> int:
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, name in ((0, os.devnull), (1, asked["output"]), (2, asked["errors"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), number)
    wanted = asked["pause"]

    def pause(entry: Entry) -> None:
        if wanted is not None and [entry.event, entry.step] == wanted:
            os.kill(os.getpid(), signal.SIGSTOP)

    steps = Path(asked["steps"]) if asked["steps"] else None
    return main(asked["arguments"], steps=steps, watch=(pause,))


def _wait(pid: int) -> dict[str, int]:
    return {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


if __name__ == "__main__":
    serve()
