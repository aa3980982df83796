"""Commands of others, each with a limit; what they print is shown only if they fail."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_SHOWN_LINES = 25


class StepError(Exception):
    """A step of the test failed; the message is the reason."""


def say(line: str) -> None:
    """A line of progress, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def run(
    command: Sequence[str | Path],
    *,
    limit: float,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
    folder: Path | None = None,
) -> str:
    """Run a command to its end; the result is its standard output.

    Raises:
        StepError: it failed, or took longer than `limit` seconds; with the end of what it said.
    """
    name = " ".join(str(part) for part in command[:4])
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            env=None if environment is None else dict(environment),
            input=given,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StepError(f"{name} ... took longer than {limit:g} s") from None
    except OSError as exc:
        raise StepError(f"{name}: {exc.strerror}") from None
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_SHOWN_LINES:])
        raise StepError(f"{name} ... ended with {done.returncode}:\n{said}")
    return done.stdout
