"""The limiter as a worker has it: patched by gevent, with waiters that are killed."""

from __future__ import annotations

import subprocess
import sys

from tests.integration.account_limiter.conftest import OwnValkey
from tests.servers import ROOT, clean_environment


def test_killed_greenlets_leave_the_queue_and_hold_nothing(own_valkey: OwnValkey) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.account_limiter.greenlets", own_valkey.url],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    granted, held, lost, waiting = map(int, done.stdout.split())
    assert (granted, held, lost, waiting) == (20, 0, 0, 0)
