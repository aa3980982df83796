"""`make test`: get the parts that do not come as wheels, then run pytest.

Debian's packages are installed only when root on Debian, JavaScript packages only when npm is there. What cannot be had
is named; its tests then skip with the reason, and fail when CI=true (`tests.parts`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JAVASCRIPT = ROOT / "tests" / "browser" / "javascript"
APT_SECONDS = 600
NPM_SECONDS = 300
ATTEMPTS = 3
# Many tests wait, for a server's start or for speech at its own pace: four processes keep two cores busy.
PARALLEL = ("--numprocesses", "4", "--dist", "worksteal")
SLOWEST = ("--durations", "40", "--durations-min", "8")
PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
# Program on the path -> Debian's package.
DEBIAN = {"chromium": "chromium", "npm": "npm"}
# Packages that would start a server on a machine with systemd: only where the whole suite must run.
DEBIAN_IN_CI = {"nginx": "nginx-light", "promtool": "prometheus", "amtool": "prometheus-alertmanager"}


def main(arguments: list[str]) -> int:
    """Prepare and run; the result is pytest's exit code."""
    _debian_packages()
    _javascript_packages()
    command = [sys.executable, "-m", "pytest", *PARALLEL, *SLOWEST, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


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
    sys.exit(main(sys.argv[1:]))
