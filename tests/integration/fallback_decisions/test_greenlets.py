"""In a worker patched by gevent nothing that decides holds up the others, whatever hangs."""

from __future__ import annotations

import subprocess
import sys

from service.storage import Database
from tests.integration.fallback_decisions.conftest import OwnValkey
from tests.servers import ROOT, clean_environment


def test_a_redis_and_a_probe_that_hang_hold_nobody_up(own_valkey: OwnValkey, database: Database) -> None:
    own_valkey.hang()
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integration.fallback_decisions.greenlets",
            own_valkey.url,
            database.engine.url.render_as_string(hide_password=False),
        ],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    ticks, longest, state = ran.stdout.split()[-3:]
    assert int(ticks) > 20
    assert int(longest) < 250  # milliseconds: a tick is 10, and a call of Redis that hangs 250
    assert state == "half_open"
