"""PostgreSQL's own programs: pg_dump, pg_restore and psql, found, asked for their version, and run.

The key decisions: the password goes to them in their environment, never in an argument, which every user of the
machine can read; and they end with us, even by kill -9, so that no orphan holds locks in the way of `resume`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from psycopg import pq

from scripts.launcher.child import TIED
from scripts.reversal.databases.keeper import Tell
from scripts.reversal.failures import StepError
from service.variables import without_ours

NAMES = ("pg_dump", "pg_restore", "psql")
VERSION_SECONDS = 10.0
STILL_SECONDS = 300.0
"""So long a program may produce nothing before it counts as stuck."""

PAUSE_SECONDS = 0.1
CHUNK = 262_144
# What libpq has no variable for. TCP alone notices a server that vanished after hours.
_NETWORK = "--dbname=keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=10000"
_BEGIN = ("BEGIN", "SET LOCAL client_min_messages = warning")
_MAJOR = re.compile(r"\) (\d+)")


class PgPrograms:
    """The programs in `folder`, or on the path if that is None."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def find(self, name: str) -> str | None:
        """The program's path; None if it is not there."""
        return shutil.which(name, path=None if self._folder is None else str(self._folder))

    def refusals(self, server: int) -> list[str]:
        """Why they cannot be used with a server of major version `server`."""
        where = f"in {self._folder}" if self._folder is not None else "on the path"
        missing = [name for name in NAMES if self.find(name) is None]
        if missing:
            return [f"{', '.join(missing)} not found {where}: install PostgreSQL's client programs, or give --pg-bin."]
        versions = {name: self._major(name) for name in NAMES}
        old = [f"{name} is {version}" for name, version in versions.items() if version < server]
        said = f"{', '.join(old)}, the server {server}: give --pg-bin a folder with programs of {server}."
        return [said] if old else []

    def _major(self, name: str) -> int:
        try:
            said = subprocess.run(
                [self.find(name) or name, "--version"],
                capture_output=True,
                text=True,
                timeout=VERSION_SECONDS,
                check=False,
            ).stdout
        except (OSError, subprocess.SubprocessError):
            return 0
        found = _MAJOR.search(said)
        return int(found[1]) if found else 0

    def dump(self, arguments: Mapping[str, Any], schema: str, path: Path, tell: Tell) -> None:
        """Write the schema `schema` of the database that `arguments` (psycopg's) lead to into the file `path`."""
        kind = ["--format=custom", "--no-owner", "--lock-wait-timeout=5000"]
        options = [*kind, f"--schema={schema}", f"--file={path}", _NETWORK]
        with self._running("pg_dump", options, arguments) as process:
            _watch(process, path, tell)
            _, said = process.communicate()
        _check("pg_dump", process, said)

    def restore(
        self, path: Path, schema: str, arguments: Mapping[str, Any], *, first: Sequence[str], server: int, tell: Tell
    ) -> None:
        """Run the statements `first`, and then everything in the dump, in one transaction.

        The COMMIT is sent when pg_restore has ended well and not before, so whatever breaks in between, psql's
        session ends without it.
        """
        options = ["--no-owner", f"--schema={schema}", "--file=-", str(path)]
        into = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", _NETWORK]
        with (
            self._running("psql", into, arguments, stdin=subprocess.PIPE) as psql,
            self._running("pg_restore", options, {}, stdout=subprocess.PIPE) as reader,
        ):
            assert psql.stdin is not None and reader.stdout is not None  # noqa: S101 (for the types)
            try:
                psql.stdin.write(
                    "".join(
                        f"{line};\n" for line in ("BEGIN", "SET LOCAL client_min_messages = warning", *first)
                    ).encode()
                )
                _pump(reader.stdout, psql.stdin, server, tell)
                _check("pg_restore", reader, reader.communicate()[1])
                psql.stdin.write(b"COMMIT;\n")
            except BrokenPipeError:
                pass  # psql has stopped at an error, and says which
            _, said = psql.communicate()
        _check("psql", psql, said)

    @contextmanager
    def _running(
        self, name: str, options: Sequence[str], arguments: Mapping[str, Any], **streams: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        program = self.find(name)
        if program is None:
            raise StepError(f"{name} was not found.")
        process = subprocess.Popen(
            [sys.executable, "-IS", str(TIED), str(os.getpid()), program, *options],
            env=environment(arguments),
            process_group=0,  # a Ctrl-C is for us, who end it in order
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams},
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    _close(stream)


def environment(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Our environment, with psycopg's connection `arguments` as the variables that libpq reads."""
    variables = {
        option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar
    }
    given = {variables[name]: str(value) for name, value in arguments.items() if name in variables}
    return {**without_ours(os.environ), **given, "PGAPPNAME": "vocero rollback", "PGCONNECT_TIMEOUT": "10"}


def _watch(process: subprocess.Popen[bytes], path: Path, tell: Tell) -> None:
    """Wait for the end of a program that writes `path`."""
    size, changed = -1, time.monotonic()
    while process.poll() is None:
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            size, changed = now, time.monotonic()
            tell(f"{size:,} bytes")
        if time.monotonic() - changed > STILL_SECONDS:
            raise StepError(f"Nothing came from pg_dump for {STILL_SECONDS:g} s.")
        time.sleep(PAUSE_SECONDS)


def _pump(source: IO[bytes], target: IO[bytes], server: int, tell: Tell) -> None:
    """Carry the script over; a dump by newer programs sets what a server before 17 does not know."""
    moved = 0
    while chunk := source.read(CHUNK):
        if moved == 0 and server < 17:
            chunk = chunk.replace(b"SET transaction_timeout = 0;\n", b"", 1)
        target.write(chunk)
        moved += len(chunk)
        tell(f"{moved:,} bytes")


def _check(name: str, process: subprocess.Popen[bytes], said: bytes) -> None:
    if process.returncode:
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        told = next((line for line in lines if "ERROR" in line or "error" in line), lines[-1] if lines else "")
        raise StepError(f"{name} ended with code {process.returncode}: {told.strip() or 'it said nothing'}")


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return
