"""The first stage of every `make` command: a virtual environment in .venv with what that command needs.

    python3 scripts/bootstrap.py EXTRA[,EXTRA...] [ARGUMENT...]

Installs only when something changed since the last time (`.venv/installed.json`), then becomes the environment's
python with the arguments. The key decision: only the standard library is used here, and only syntax that Python 3.7
reads, so that a machine that lacks something gets a sentence about it instead of a traceback.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
LOG = VENV / "install.log"
SOURCES = ("setup.cfg", "pyproject.toml", "constraints.txt")
ATTEMPTS = 3
SILENCE_SECONDS = 15


def main() -> None:
    """Prepare the environment, then become its python."""
    _use_a_good_python()
    wanted = set(filter(None, sys.argv[1].split(",")))
    _prepare(wanted)
    if sys.argv[2:]:
        os.chdir(ROOT)
        os.execv(PYTHON, [str(PYTHON), *sys.argv[2:]])  # noqa: S606


def _use_a_good_python() -> None:
    """Go on in a Python from 3.11 to 3.13, if this is none and the machine has one."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other and subprocess.call([other, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other, str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606
    found = ".".join(map(str, sys.version_info[:2]))
    _fail(
        f"Vocero needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]}; this is Python {found}, and there is no other here.",
        "Install one (Debian 12, Ubuntu 24.04 or later: sudo apt-get install python3 python3-venv); then try again.",
    )


def _prepare(wanted: set[str]) -> None:
    """Make and fill the environment, unless it has what is wanted."""
    state, kept = _state(), _kept()
    have = set(kept.get("extras", []))
    usable = _is_usable()
    if usable and kept.get("state") == state and wanted <= have:
        return
    begun = time.monotonic()
    if not usable:
        have = set()
        _make()
    # What a former command installed stays: `make test` after `make run` adds to it.
    extras = sorted(wanted | have)
    _install(extras)
    STAMP.write_text(json.dumps({"state": state, "extras": extras}))
    _say(f"Installed in {time.monotonic() - begun:.0f} s.")


def _state() -> str:
    """A digest of everything that says what is to be installed, and where."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in SOURCES:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _kept() -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return kept


def _is_usable() -> bool:
    """Tell whether .venv is there, works, is of a good Python, and was not moved here from elsewhere."""
    check = f"import sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    try:
        at_home = str(VENV) in (VENV / "bin" / "activate").read_text()
        return at_home and subprocess.call([PYTHON, "-I", "-c", check], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _make() -> None:
    try:
        import ensurepip  # noqa: F401  # Debian leaves it out of python3
        import venv
    except ImportError:
        package = f"python3.{sys.version_info[1]}-venv"
        _fail(
            "This Python cannot make virtual environments: Debian and Ubuntu keep that part in a package of its own.",
            f"Install it (sudo apt-get install {package}); then try again.",
        )
    _say(f"Making .venv with Python {sys.version.split()[0]} ...")
    venv.EnvBuilder(clear=VENV.is_dir(), with_pip=True, symlinks=True).create(VENV)


def _install(extras: list[str]) -> None:
    named = f".[{','.join(extras)}]" if extras else "."
    local = ", with voice and ears (LOCAL=0 leaves them out)" if "local" in extras else ""
    _say(f"Installing {named}{local}; the first time takes some minutes ...")
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",  # a third of pip's time, for modules of which most are never imported
        "--progress-bar",
        "off",
    ]
    command += ["--constraint", "constraints.txt", "--editable", named]
    for attempt in range(1, ATTEMPTS + 1):
        if _run_showing_progress(command) == 0:
            return
        if attempt < ATTEMPTS:
            _say(f"  that failed (see {LOG}); attempt {attempt + 1} of {ATTEMPTS} ...")
            time.sleep(3 * attempt)
    end = "\n".join("  | " + line for line in LOG.read_text().splitlines()[-15:])
    _fail(f"Installing failed. The end of {LOG}:\n{end}")


def _run_showing_progress(command: list[str]) -> int:
    """Run pip; print a line for each download, and a sign of life in long silences. Everything goes to the log."""
    shown = time.monotonic()
    with LOG.open("w") as log:
        pip = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, bufsize=1
        )
        for line in pip.stdout or ():
            log.write(line)
            log.flush()
            text = _progress(line, time.monotonic() - shown)
            if text:
                shown = time.monotonic()
                _say("  " + text)
        return pip.wait()


def _progress(line: str, silence: float) -> str:
    """What a person should see of a line of pip's; empty for nothing."""
    words = line.split()
    if len(words) > 2 and words[0] == "Downloading" and not words[1].endswith(".metadata"):
        return " ".join(["downloading", words[1].rsplit("/", 1)[-1], *words[2:]])
    if line.startswith("Installing collected packages"):
        return f"unpacking {line.count(',') + 1} packages ..."
    if len(words) > 1 and words[0] == "Collecting" and silence > SILENCE_SECONDS:
        return f"still looking: {words[1]}"
    return ""


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(*lines: str) -> NoReturn:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
