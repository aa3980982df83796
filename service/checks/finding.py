"""What a check finds, and how checks are run: all at once, none for longer than it may."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.errors import ConfigurationError


class State(StrEnum):
    """How it stands with a dependency."""

    OK = "ok"
    WARNING = "warning"  # it works; somebody should look at it before it does not
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One line: of `what`, what was seen, and what to do about it."""

    what: str
    state: State
    said: str
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]


def ok(what: str, said: str) -> Finding:
    """All is well."""
    return Finding(what, State.OK, said)


def warning(what: str, said: str, remedy: str = "") -> Finding:
    """It works, but."""
    return Finding(what, State.WARNING, said, remedy)


def failed(what: str, said: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(what, State.FAILED, said, remedy)


def clock_finding(what: str, seconds: float) -> Finding:
    """That `what`'s clock is so many seconds ahead of ours (behind it, if negative)."""
    size = abs(seconds)
    words = f"{size:.0f} s" if size < 120 else f"{size / 60:.0f} min" if size < 7200 else f"{size / 3600:.1f} h"
    said = f"its clock and this machine's differ: it is {words} {'ahead' if seconds > 0 else 'behind'}"
    remedy = "set the clock that is wrong (chrony, systemd-timesyncd)"
    return failed(what, said, remedy) if size > 300 else warning(what, said, remedy)


def worst(findings: Iterable[Finding]) -> State:
    """The worst state of all."""
    return max((finding.state for finding in findings), key=list(State).index, default=State.OK)


def run_all(checks: Mapping[str, Check], *, seconds: float) -> list[Finding]:
    """What each check found, in their order; one that takes longer than `seconds` has failed, and is left behind.

    In threads that the process does not wait for: looking a name up cannot be given a bound.
    """
    done: queue.SimpleQueue[tuple[str, list[Finding]]] = queue.SimpleQueue()
    for name, check in checks.items():
        threading.Thread(target=_run, args=(name, check, done), name=f"check {name}", daemon=True).start()
    found: dict[str, list[Finding]] = {}
    until = time.monotonic() + seconds
    while len(found) < len(checks) and (left := until - time.monotonic()) > 0:
        try:
            name, findings = done.get(timeout=left)
        except queue.Empty:
            break
        found[name] = findings
    late = f"no answer within {seconds:g} s"
    return [finding for name in checks for finding in found.get(name, [failed(name, late)])]


def _run(name: str, check: Check, done: queue.SimpleQueue[tuple[str, list[Finding]]]) -> None:
    findings: list[Finding] = []
    try:
        for finding in check():  # one by one: what was found before a failure stays
            findings.append(finding)  # noqa: PERF402 (the same)
    except ConfigurationError as exc:
        findings.append(failed(name, str(exc).rstrip(".")))
    except Exception as exc:  # noqa: BLE001 (the edge of a health probe; the text of a library's may hold a secret)
        findings.append(failed(name, f"the check itself failed ({type(exc).__name__})"))
    done.put((name, findings))
