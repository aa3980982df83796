"""What must be true of the running stack. Each check is a function that raises StepError, with what it found."""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from scripts.image_test.commands import StepError, run
from scripts.image_test.images import ROOT, VARIABLES
from scripts.image_test.machine import Machine
from scripts.image_test.stack import LONG_RUNNING, Stack
from scripts.smoking.http_checks import Http, Place, tls_context
from scripts.smoking.report import Report
from scripts.smoking.talk import Talk

SMOKE_SECONDS = 90
GRACE_SECONDS = 40.0
OURS = ("service", "dashboard", "sandbox")
NODES = 3
ROUNDS = 60
_FEWEST_SECRET = 16
_WRITES = "for place in / /app /opt/venv /etc /usr/bin; do if touch $place/x 2>/dev/null; then echo $place; fi; done"


def conversation(stack: Stack, authority: Path) -> str:
    """One real conversation through the front, over TLS."""
    command = [sys.executable, "-m", "scripts.smoke", stack.url, "--typed", "--ca-file", str(authority)]
    try:
        return run(command, limit=SMOKE_SECONDS, folder=ROOT).strip().splitlines()[-1]
    except StepError as exc:
        raise StepError(f"{exc}\n{_complaints(stack)}") from None


def _complaints(stack: Stack) -> str:
    """What the service has complained of last: a client is told less than why."""
    lines = stack.compose("logs", "--no-color", "--timestamps", "service").splitlines()
    return "\n".join([line for line in lines if '"level": "warning"' in line or '"level": "error"' in line][-20:])


def rights(stack: Stack) -> str:
    """No container is root, has a right, may get one, or can write to its own file system."""
    for service in LONG_RUNNING:
        status = dict(
            line.split(":\t", 1)
            for line in stack.execute(service, "cat", "/proc/1/status").splitlines()
            if ":\t" in line
        )
        if "0" in status["Uid"].split():
            raise StepError(f"{service} runs as root")
        held = {name: status[name] for name in ("CapEff", "CapPrm", "CapBnd") if int(status[name], 16)}
        if held or status["NoNewPrivs"] != "1":
            raise StepError(f"{service}: rights {held}, NoNewPrivs {status['NoNewPrivs']}")
        written = stack.execute(service, "sh", "-c", _WRITES).split()
        if written:
            raise StepError(f"{service} can write to {written}")
    return f"{len(LONG_RUNNING)} containers without root, rights and writes"


def published(stack: Stack) -> str:
    """Only the front has ports on this machine, and on loopback."""
    found = {}
    for each in stack.containers():
        for ports in (each["NetworkSettings"]["Ports"] or {}).values():
            for port in ports or []:
                found[port["HostPort"]] = (each["Config"]["Labels"]["com.docker.compose.service"], port["HostIp"])
    wrong = {port: place for port, place in found.items() if place != ("front", "127.0.0.1")}
    if wrong or len(found) != 2:
        raise StepError(f"published: {found}")
    return f"ports {', '.join(sorted(found))} of the front, on 127.0.0.1"


def secrets_stay(stack: Stack, machine: Machine) -> str:
    """No secret is in what `inspect` shows, in an image's history, in a list of processes, or in a log."""
    secrets = _secrets(stack)
    shown = {"inspect of containers": json.dumps(stack.containers())}
    for image in sorted(set(VARIABLES.values())):
        shown[f"inspect of {image}"] = machine.podman("image", "inspect", image)
        shown[f"history of {image}"] = machine.podman("history", "--no-trunc", image)
    script = "for list in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$list; done 2>/dev/null; true"
    for each in stack.containers():
        if each["State"]["Running"]:
            shown[f"processes of {each['Name']}"] = machine.podman("exec", each["Id"], "sh", "-c", script)
    shown["logs"] = stack.compose("logs", "--no-color", limit=120)
    for place, text in shown.items():
        for name, secret in secrets.items():
            if secret in text:
                raise StepError(f"{name} can be read in: {place}")
    return f"{len(secrets)} secrets looked for in {len(shown)} places"


def monitored(stack: Stack, nodes: int) -> str:
    """Prometheus reaches every node, has read every rule, and Alertmanager has its configuration."""

    def ask(path: str) -> dict[str, object]:
        asked = ("wget", "-q", "-O", "-", f"http://127.0.0.1:9090/api/v1/{path}")
        data: dict[str, object] = json.loads(stack.execute("prometheus", *asked))["data"]
        return data

    def up() -> int:
        targets: list[dict[str, str]] = ask("targets")["activeTargets"]  # type: ignore[assignment]
        return sum(target["health"] == "up" for target in targets)

    stack.wait(lambda: up() == nodes + 2, f"{nodes + 2} targets up (nodes, Prometheus, Alertmanager)", 90)
    groups: list[dict[str, list[dict[str, str]]]] = ask("rules")["groups"]  # type: ignore[assignment]
    rules = [rule for group in groups for rule in group["rules"]]
    stack.wait(lambda: bool(ask("alertmanagers")["activeAlertmanagers"]), "an Alertmanager", 30)
    if not rules or any(rule["health"] == "err" for rule in rules):
        raise StepError(f"{len(rules)} rules, some of which cannot be evaluated")
    return f"{nodes} nodes scraped, {len(rules)} rules read"


def scaled(stack: Stack, authority: Path) -> str:
    """Three containers of the service all get requests."""
    stack.up("--scale", f"service={NODES}", "--no-recreate", "--no-deps", services=("service",))
    stack.wait(lambda: len(stack.containers("service")) == NODES, f"{NODES} containers", 60)
    addresses = {
        network["IPAddress"]
        for each in stack.containers("service")
        for name, network in each["NetworkSettings"]["Networks"].items()
        if name.endswith("_front")
    }
    context = ssl.create_default_context(cafile=str(authority))

    def answering() -> set[str]:
        for _ in range(ROUNDS):
            with urlopen(f"{stack.url}/version", context=context, timeout=10) as answer:  # noqa: S310 (our own)
                answer.read()
        return {address for address in addresses if f'"node":"{address}:8000"' in _front_log(stack)}

    stack.wait(lambda: answering() == addresses, f"requests at {addresses}", 60)
    return f"{NODES} containers answer, and no request failed"


def drained(stack: Stack, authority: Path) -> str:
    """SIGTERM with a conversation under way: it is told to come back, and the container ends with 0 in its time."""
    place = Place(stack.url, str(authority), None)
    report = Report(tell=lambda _: None, ends_at=time.monotonic() + SMOKE_SECONDS)
    http = Http(place, report)
    talk = Talk(place, http.page_ticket()[0], report, tls_context(str(authority)))
    try:
        talk.open()
        begun = time.monotonic()
        stack.compose("stop", "--timeout", f"{GRACE_SECONDS:.0f}", "service", limit=GRACE_SECONDS + 20)
        seconds = time.monotonic() - begun
    finally:
        talk.close()
        http.close()
    codes = {each["State"]["ExitCode"] for each in stack.containers("service")}
    if codes != {0} or seconds > GRACE_SECONDS:
        raise StepError(f"the service ended with {codes} after {seconds:.1f} s")
    return f"exit code 0 after {seconds:.1f} s, with a conversation open"


def setup_again(stack: Stack) -> str:
    """Setup, run again, changes nothing."""
    before = _digests(stack)
    said = stack.one_shot("setup")
    if "Nothing to do" not in said or _digests(stack) != before:
        raise StepError(f"setup, run again: {said}")
    return f"{len(before)} files as they were"


def data_is_kept(stack: Stack, authority: Path) -> str:
    """Everything is taken down but its volumes, and comes up with its data."""
    before, users = _conversations(stack), stack.volume("kept").joinpath("admin_password").read_text()
    if before < 1:
        raise StepError("no conversation is in the database")
    stack.compose("down", "--timeout", f"{GRACE_SECONDS:.0f}", limit=180)
    stack.up()
    after = _conversations(stack)
    if after != before or stack.volume("kept").joinpath("admin_password").read_text() != users:
        raise StepError(f"{before} conversations before, {after} after")
    conversation(stack, authority)
    return f"{before} conversations are still there, and another was held"


def nothing_denied(stack: Stack) -> str:
    """Valkey has refused no command and no key to its users."""
    password = stack.volume("secrets-valkey").joinpath("valkey_ops_password").read_text()
    script = (
        "REDISCLI_AUTH=$(cat /run/secrets/valkey_ops_password) valkey-cli --no-auth-warning --user vocero_ops acl log"
    )
    said = stack.execute("valkey", "sh", "-c", script).strip()
    if said:
        raise StepError(f"Valkey denied:\n{said}".replace(password, "***"))
    return "Valkey's ACL log is empty"


def _front_log(stack: Stack) -> str:
    return stack.compose("logs", "--no-color", "front")


def _conversations(stack: Stack) -> int:
    asked = ("psql", "-h", "/tmp", "-U", "postgres", "-d", "vocero", "-tAc", "SELECT count(*) FROM conversations")  # noqa: S108 (its socket in the stand-in)
    return int(stack.execute("postgres", *asked))


def _secrets(stack: Stack) -> dict[str, str]:
    folder = stack.volume("kept")
    secret = {
        path.name: path.read_text()
        for path in sorted(folder.iterdir())
        if not path.name.endswith(("_certificate", "_authority", "_agent_id"))
    }
    # A PEM's first lines are those of every PEM; its second line is a secret of its own.
    found = {name: (text.splitlines()[1] if "PRIVATE KEY" in text else text) for name, text in secret.items()}
    if len(found) < 8 or any(len(text) < _FEWEST_SECRET for text in found.values()):
        raise StepError(f"the store has {sorted(found)}")
    return found


def _digests(stack: Stack) -> dict[str, str]:
    names = ("vocero", "owner", "valkey", "postgres", "vault", "front", "grafana", "alertmanager")
    folders = [stack.volume("kept"), *(stack.volume(f"secrets-{name}") for name in names)]
    return {
        str(path): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mtime_ns} {path.stat().st_uid}"
        for folder in folders
        for path in folder.iterdir()
    }
