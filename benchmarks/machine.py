"""On what was measured: a number without this is worth little."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("gevent", "gunicorn", "flask", "flask-sock", "websockets", "requests", "orjson")
_COMMAND_SECONDS = 10


def description() -> dict[str, str]:
    """Machine, system and versions, each in a line."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "machine": f"{os.cpu_count()} cores, {model.group(1) if model else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "priority": _priority(),
    }


def servers() -> dict[str, str]:
    """The versions of the servers that are compared with, as far as they are installed."""
    found = {"nginx": _version_of("nginx", "-v"), "haproxy": _version_of("haproxy", "-v")}
    packages = [f"simple-websocket {version('simple-websocket')}"]
    return {"servers": ", ".join([f"{name} {text}" for name, text in found.items() if text] + packages)}


def _version_of(server: str, option: str) -> str | None:
    program = find_server(server)
    if program is None:
        return None
    done = subprocess.run([program, option], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    number = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return number.group() if number else None


def find_server(name: str) -> str | None:
    """The path of a server's program; Debian has them where a user's PATH often does not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _priority() -> str:
    """How the scheduler treats us and our children: a real-time policy keeps a busy machine out of the numbers."""
    policy = os.sched_getscheduler(0)
    if policy == os.SCHED_OTHER:
        return f"normal, nice {os.nice(0)}"
    names = {os.SCHED_FIFO: "SCHED_FIFO", os.SCHED_RR: "SCHED_RR"}
    return f"{names.get(policy, policy)} {os.sched_getparam(0).sched_priority}"


def commit() -> str:
    """The commit that was measured, with a `+` if the service's code differs from it; `unknown` without git."""
    found = _git("rev-parse", "--short", "HEAD")
    if found is None:
        return "unknown"
    return found + ("" if _git("diff", "--quiet", "HEAD", "--", "service", "setup.cfg") is not None else "+")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
