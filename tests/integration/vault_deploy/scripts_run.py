"""The scripts of `deploy/vault` as an operator runs them: `sh`, an environment of its own, the real `bao`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.openbao import RunningOpenBao, program
from tests.servers import ROOT

SCRIPTS = ROOT / "deploy" / "vault"
SETUP, BOOTSTRAP = SCRIPTS / "setup-approle.sh", SCRIPTS / "bootstrap-development.sh"
SECONDS = 60.0


def environment(openbao: RunningOpenBao, **more: str) -> dict[str, str]:
    """Logged in as root, with `bao` on the path; a variable that is "" is as good as unset."""
    plain = {
        "PATH": f"{program().parent}:/usr/bin:/bin",
        "HOME": str(openbao.folder),
        "VAULT_ADDR": openbao.url,
        "VAULT_TOKEN": openbao.root_token,
    }
    return {**plain, **more}


def run(script: Path, *arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; `variables` is all of its environment."""
    command = ["/bin/sh", str(script), *arguments]
    return subprocess.run(
        command, check=False, env=variables, input=given, capture_output=True, text=True, timeout=SECONDS
    )


def run_well(script: Path, *arguments: str, given: str = "", **variables: str) -> dict[str, str]:
    """Run it, which must succeed; the result is the settings that it printed."""
    done = run(script, *arguments, given=given, **variables)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a script which failed has written."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    return line
