"""A real Prometheus and a real Alertmanager with our own configuration, on a faster clock, and who they tell.

The key decision: both run from the files of `deploy/`, of which only addresses and durations are changed here. What the
drill shows is then what operators get.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import yaml

from scripts.launcher import probes
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from tests import alerting
from tests.parts import require_program
from tests.servers import READY_SECONDS, clean_environment, free_port

SCRAPE_SECONDS = 1.0
EVALUATION_SECONDS = 1.0
REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Told:
    """One alert of one notification: at which receiver, when, and what."""

    receiver: str
    at: float
    name: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass
class Webhook:
    """Where Alertmanager posts to: `url`/RECEIVER. It keeps all it was told."""

    url: str
    told: list[Told] = field(default_factory=list)

    def first(self, name: str, status: str, **labels: str) -> Told | None:
        """The first time that it was told of such an alert."""
        return next(
            (
                each
                for each in list(self.told)
                if (each.name, each.status) == (name, status) and labels.items() <= each.labels.items()
            ),
            None,
        )

    def wait_for(self, name: str, status: str, limit: float, **labels: str) -> Told:
        """Wait until it was told."""
        wait_until(lambda: self.first(name, status, **labels) is not None, limit, f"{name} {labels}: {status}")
        found = self.first(name, status, **labels)
        assert found is not None
        return found


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Listen for Alertmanager's notifications."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in said["alerts"]:
                labels = alert["labels"]
                heard.told.append(
                    Told(
                        self.path.strip("/"),
                        time.time(),
                        labels["alertname"],
                        alert["status"],
                        labels,
                        alert["annotations"],
                    )
                )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard = Webhook(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join(REQUEST_SECONDS)


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs; `url` without a slash at its end."""

    url: str
    child: Child

    def ask(self, path: str, **parameters: str | float) -> Any:
        """What its API says."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=REQUEST_SECONDS)
        said = answer.json()
        assert said["status"] == "success", said
        return said["data"]

    def now(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def since(self, expression: str, begin: float, step: float = EVALUATION_SECONDS) -> list[dict[str, Any]]:
        """What an expression gave from `begin` (Unix seconds) until now."""
        found: list[dict[str, Any]] = self.ask(
            "query_range", query=expression, start=begin, end=time.time(), step=step
        )["result"]
        return found

    def firing_times(self, name: str, **labels: str) -> list[float]:
        """The times of the evaluations in which an alert fired."""
        conditions = ", ".join(f'{label}="{value}"' for label, value in {"alertname": name, **labels}.items())
        series = self.now(f'ALERTS{{{conditions}, alertstate="firing"}}[10m]')
        return sorted(float(at) for each in series for at, _ in each["values"])


@contextmanager
def prometheus(
    folder: Path, *targets: str, alertmanager: str, factor: float = 1.0, every_job: bool = False
) -> Iterator[Prometheus]:
    """Run Prometheus with our rules, all of their durations divided by `factor`; addresses are HOST:PORT.

    It watches the nodes at `targets`, and with `every_job` also itself and Alertmanager, as it is shipped.
    """
    program = require_program("prometheus", remedy="apt-get install prometheus")
    configuration = yaml.safe_load((alerting.PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] |= {
        "scrape_interval": _milliseconds(SCRAPE_SECONDS),
        "scrape_timeout": _milliseconds(SCRAPE_SECONDS),
        "evaluation_interval": _milliseconds(EVALUATION_SECONDS),
    }
    port = free_port()
    watched = {"vocero": list(targets), "prometheus": [f"127.0.0.1:{port}"], "alertmanager": [alertmanager]}
    configuration["scrape_configs"] = [
        {**job, "static_configs": [{"targets": watched[job["job_name"]]}]}
        for job in configuration["scrape_configs"]
        if every_job or job["job_name"] == "vocero"
    ]
    configuration["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    alerting.write_faster_rules(folder, factor)
    command = [
        program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=5s", "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    ]  # fmt: skip
    with _running("prometheus", command, folder, f"http://127.0.0.1:{port}/-/ready") as child:
        yield Prometheus(f"http://127.0.0.1:{port}", child)


@contextmanager
def alertmanager(folder: Path, *, tells: Webhook, factor: float) -> Iterator[str]:
    """Run Alertmanager with our routes and inhibitions, its waits divided by `factor`; the value is HOST:PORT."""
    program = require_program(
        "prometheus-alertmanager", "alertmanager", remedy="apt-get install prometheus-alertmanager"
    )
    text = alerting.ALERTMANAGER.read_text()
    text = re.sub(
        r"((?:group_wait|group_interval|repeat_interval): )(\w+)",
        lambda found: f"{found[1]}{_milliseconds(alerting.seconds(found[2]) / factor)}",
        text,
    )
    token = folder / "token"
    token.write_text("a token")
    text = re.sub(r"http://localhost:\d+", tells.url, text)
    text = re.sub(r"(credentials_file: ).+", rf"\g<1>{token}", text)
    (folder / "alertmanager.yml").write_text(text)
    address = f"127.0.0.1:{free_port()}"
    command = [
        program, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alertmanager",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with _running("alertmanager", command, folder, f"http://{address}/-/ready"):
        yield address


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


@contextmanager
def _running(name: str, command: list[object], folder: Path, ready: str) -> Iterator[Child]:
    child = Child(
        name,
        [str(part) for part in command],
        environment=clean_environment(),
        log_path=folder / f"{name}.log",
        folder=folder,
    )
    child.start()
    try:
        child.wait_until_ready(lambda: probes.answers(ready), READY_SECONDS)
        yield child
    finally:
        child.kill()
