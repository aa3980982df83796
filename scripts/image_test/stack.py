"""docker-compose.yml under podman: up, healthy, asked, down.

The key decision: podman's health checks hang on systemd's timers; where there is none, a thread of ours runs them until
a container is healthy, so that Compose's own ordering (`service_healthy`) is what is tested.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from scripts.image_test.commands import StepError, run, say
from scripts.image_test.images import ROOT, VARIABLES
from scripts.image_test.machine import Machine
from scripts.launcher.waiting import wait_until

PROJECT = "vocero-image-test"
# Grafana has no package anywhere here.
SERVICES = (
    "setup", "migrate", "service", "dashboard", "sandbox", "front", "valkey", "postgres", "vault", "prometheus",
    "alertmanager",
)  # fmt: skip
LONG_RUNNING = tuple(name for name in SERVICES if name not in {"setup", "migrate"})
UP_SECONDS = 600.0
_PAUSE_SECONDS = 0.5  # each question is a process of podman's
_SHOWN_LINES = 6
_LABEL = f"label=com.docker.compose.project={PROJECT}"


class Stack:
    """The stack in `machine`, on free ports of loopback; a context manager that takes it down with its volumes."""

    def __init__(self, machine: Machine, *, files: tuple[str, ...] = ("docker-compose.yml",), **variables: str) -> None:
        self._machine = machine
        self._files = [option for name in files for option in ("-f", name)]
        port, dashboard, grafana = (_free_port() for _ in range(3))
        self.url, self.dashboard_url = f"https://localhost:{port}", f"https://localhost:{dashboard}"
        self._environment = {
            **machine.environment,
            **VARIABLES,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "VOCERO_PUBLISH_PORT": str(port),
            "VOCERO_PUBLISH_DASHBOARD_PORT": str(dashboard),
            "VOCERO_PUBLISH_GRAFANA_PORT": str(grafana),
            "VOCERO_FRONT_NAME": "localhost",
            "VOCERO_FRONT_URL": self.url,
            "VOCERO_FRONT_DASHBOARD_NAME": "localhost",
            "VOCERO_FRONT_DASHBOARD_URL": self.dashboard_url,
            **variables,
        }
        self._over = threading.Event()
        self._healths = threading.Thread(target=self._run_health_checks, daemon=True)

    def __enter__(self) -> Stack:
        self._healths.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._healths.join(30)
        if kind is not None:
            self._keep_logs()
        self.compose("down", "--volumes", "--timeout", "5", limit=120)

    def _keep_logs(self) -> None:
        """What the containers said, for whoever looks for what went wrong."""
        path = self._machine.folder.with_suffix(".log")
        try:
            path.write_text(self.compose("logs", "--no-color", "--timestamps"))
        except StepError as exc:
            say(f"The containers' logs cannot be had: {exc}")
        else:
            say(f"The containers' logs are in {path}")

    # --- Compose

    def compose(self, *arguments: str, limit: float = 60.0) -> str:
        """Run `docker compose`."""
        command = ["docker", "compose", *self._files, *arguments]
        return run(command, limit=limit, environment=self._environment, folder=ROOT)

    def up(self, *options: str, services: tuple[str, ...] = SERVICES) -> float:
        """Bring services up and wait until the long-running ones are healthy; the result is the seconds it took."""
        begun = time.monotonic()
        try:
            self.compose("up", "-d", "--no-build", "--pull", "never", *options, *services, limit=UP_SECONDS)
        except StepError as exc:
            raise StepError(f"{exc}\n{self._states()}") from None
        wanted = set(services) & set(LONG_RUNNING)
        self.wait(lambda: wanted <= self.healthy(), f"{', '.join(sorted(wanted))} healthy", UP_SECONDS)
        return time.monotonic() - begun

    def one_shot(self, service: str, *arguments: str, limit: float = 60.0) -> str:
        """Run a service's command once; the result is what it printed."""
        return self.compose("run", "--rm", "-T", "--no-deps", service, *arguments, limit=limit)

    # --- Containers

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """What podman knows about each container of the stack, or of one service of it."""
        filters = ["--filter", _LABEL]
        if service is not None:
            filters += ["--filter", f"label=com.docker.compose.service={service}"]
        names = self._machine.podman("ps", "--all", "--quiet", *filters).split()
        found: list[dict[str, Any]] = json.loads(self._machine.podman("inspect", *names)) if names else []
        return found

    def container(self, service: str) -> str:
        """The id of a service's container; of one of them if there are several."""
        return str(self.containers(service)[0]["Id"])

    def execute(self, service: str, *command: str, user: str | None = None, limit: float = 60.0) -> str:
        """Run a command in a service's container."""
        as_user = () if user is None else ("--user", user)
        return self._machine.podman("exec", *as_user, self.container(service), *command, limit=limit)

    def healthy(self) -> set[str]:
        """The services all of whose containers are healthy."""
        states: dict[str, bool] = {}
        for each in self.containers():
            name = each["Config"]["Labels"]["com.docker.compose.service"]
            health = (each["State"].get("Health") or each["State"].get("Healthcheck") or {}).get("Status")
            states[name] = states.get(name, True) and health == "healthy"
        return {name for name, is_healthy in states.items() if is_healthy}

    def volume(self, name: str) -> Path:
        """Where a volume's files lie on this machine."""
        found = self._machine.podman("volume", "inspect", f"{PROJECT}_{name}", "--format", "{{.Mountpoint}}")
        return Path(found.strip())

    def signal(self, service: str, name: str) -> None:
        """Send a signal to the first process of a service's container."""
        self._machine.podman("kill", "--signal", name, self.container(service))

    def wait(self, until: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for a condition.

        Raises:
            StepError: it did not come about in time; with what the containers' states are.
        """
        try:
            wait_until(until, seconds, what, pause_seconds=_PAUSE_SECONDS)
        except TimeoutError as exc:
            raise StepError(f"{exc}\n{self._states()}") from None

    def _states(self) -> str:
        """Each container's state, and the last lines of those that are not as they should be."""
        lines, well = [], self.healthy()
        for each in self.containers():
            name, state = each["Name"], each["State"]
            lines.append(f"  {name}: {state['Status']}, exit code {state['ExitCode']}")
            if each["Config"]["Labels"]["com.docker.compose.service"] not in well and state["Status"] != "created":
                said = subprocess.run(
                    ["podman", "logs", "--tail", str(_SHOWN_LINES), each["Id"]],
                    env=self._environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                lines += [f"    | {line}" for line in (said.stdout + said.stderr).splitlines()]
        return "\n".join(lines)

    def _run_health_checks(self) -> None:
        """Ask those that are not known to be healthy: each question is two processes."""
        while not self._over.wait(1.0):
            asked = ["podman", "ps", "--format", "{{.ID}} {{.Status}}", "--filter", _LABEL]
            found = subprocess.run(asked, env=self._environment, capture_output=True, text=True, check=False)
            for line in found.stdout.splitlines():
                if "(healthy)" not in line:
                    subprocess.run(
                        ["podman", "healthcheck", "run", line.split()[0]],
                        env=self._environment,
                        capture_output=True,
                        check=False,
                    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
