"""Starting rollbacks as processes, and interrupting them at a chosen entry of their journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.launcher.waiting import wait_until
from tests.servers import ROOT, clean_environment

LIMIT = 90.0


@dataclass(frozen=True)
class Process:
    """A rollback that runs."""

    pid: int
    folder: Path
    zygote: Zygote

    def wait_until_paused(self) -> bool:
        """Wait until it has stopped itself; False if it ended without coming to that entry."""
        wait_until(lambda: self._state() in {"T", "Z"}, LIMIT, "the rollback pauses")
        return self._state() == "T"

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self) -> int:
        """Its exit code; minus the signal's number if one ended it."""
        wait_until(lambda: self._state() == "Z", LIMIT, "the rollback ends")
        return int(self.zygote.ask({"wait": self.pid})["code"])

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


class Zygote:
    """The process that forks rollbacks (`tests.rollbacks.zygote`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def start(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        pause: tuple[str, str] | None = None,
        steps: Path | None = None,
    ) -> Process:
        """Run the rollback with `arguments`; its output goes into `folder`. `pause` is an event and a step."""
        for name in ("output", "errors"):
            (folder / name).write_text("")
        asked = {
            "arguments": list(arguments),
            "environment": clean_environment(**environment),
            "output": str(folder / "output"),
            "errors": str(folder / "errors"),
            "pause": pause,
            "steps": str(steps) if steps else None,
        }
        return Process(int(self.ask(asked)["pid"]), folder, self)


@contextmanager
def running_zygote() -> Iterator[Zygote]:
    """A zygote for the length of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rollbacks.zygote"],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Zygote(process)
        assert process.stdin is not None
        process.stdin.close()
