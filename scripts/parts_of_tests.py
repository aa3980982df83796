"""`make parts`: get what the tests need and no wheel brings: Chromium, nginx, Prometheus' tools, JavaScript packages.

Debian's packages are installed only when root on Debian, JavaScript packages only when npm is there. What cannot be had
is named; its tests then skip with the reason, and fail when CI=true (`tests.parts`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.image_test.commands import StepError
from scripts.image_test.machine import compose_plugin

ROOT = Path(__file__).resolve().parent.parent
JAVASCRIPT = ROOT / "tests" / "browser" / "javascript"
# Debian 12 has no Docker Compose 2; where the whole suite must run, it is taken from a later Debian.
COMPOSE = ROOT / ".venv" / "compose" / "docker-compose"
APT_SECONDS = 600
NPM_SECONDS = 300
ATTEMPTS = 3
PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
# Program on the path -> Debian's package.
DEBIAN = {"chromium": "chromium", "npm": "npm"}
# Packages that would start a server on a machine with systemd: only where the whole suite must run.
DEBIAN_IN_CI = {"nginx": "nginx-light", "promtool": "prometheus", "amtool": "prometheus-alertmanager"}


def get_parts() -> None:
    """Install what is missing and can be installed here."""
    _debian_packages()
    _compose()
    _javascript_packages()


def _debian_packages() -> None:
    wanted = DEBIAN | (DEBIAN_IN_CI if os.environ.get("CI") == "true" else {})
    missing = [package for program, package in wanted.items() if not shutil.which(program, path=PLACES)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"Missing, and tests that need it will skip: {', '.join(missing)}", flush=True)
        return
    print(f"Installing Debian's {', '.join(missing)} ...", flush=True)
    # In runlevel 1, Debian's scripts start no server.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    _try("apt-get", ["apt-get", "update", "-qq"], APT_SECONDS, quiet)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    _try("apt-get", install, APT_SECONDS, quiet)


def _compose() -> None:
    if os.environ.get("CI") != "true" or COMPOSE.exists() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    try:
        with tempfile.TemporaryDirectory() as work:
            compose_plugin(COMPOSE.parent, Path(work))
    except StepError as exc:
        print(f"  {exc}", flush=True)


def _javascript_packages() -> None:
    """Install what the lock file says, when it changed since the last time."""
    lock, kept = JAVASCRIPT / "package-lock.json", JAVASCRIPT / "node_modules" / ".vocero-lock.json"
    if not lock.exists() or not shutil.which("npm"):
        return
    if kept.exists() and kept.read_bytes() == lock.read_bytes():
        return
    print("Installing JavaScript packages ...", flush=True)
    if _try("npm", ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], NPM_SECONDS, dict(os.environ)):
        shutil.copyfile(lock, kept)


def _try(name: str, command: list[str], limit: float, environment: dict[str, str]) -> bool:
    folder = JAVASCRIPT if name == "npm" else ROOT
    for attempt in range(1, ATTEMPTS + 1):
        try:
            subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, timeout=limit, check=True)
        except (OSError, subprocess.SubprocessError) as exc:
            print(f"  {name} failed (attempt {attempt} of {ATTEMPTS}): {exc}", flush=True)
        else:
            return True
    return False


if __name__ == "__main__":
    get_parts()
