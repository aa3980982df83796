"""A PostgreSQL that hangs: whoever asks it is told so in time, and nobody else in the worker notices."""

from __future__ import annotations

import json
import subprocess
import sys

from service.storage import database as limits
from tests.servers import ROOT, clean_environment

CALLERS = 8
STATEMENT_SECONDS = 0.5
# For a caller at worst: a place in the pool, a question to an idle connection, a new connection, the statement.
BOUND_SECONDS = (
    limits.POOL_WAIT_SECONDS + 2 * (STATEMENT_SECONDS + limits.ANSWER_SLACK_SECONDS) + limits.POSTGRESQL_CONNECT_SECONDS
)


def test_a_server_that_hangs_is_given_up_in_time_while_the_worker_goes_on(own_postgresql: tuple[str, int]) -> None:
    url, postmaster = own_postgresql
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.unit.storage.gevent_database",
            url,
            *map(str, (postmaster, CALLERS, STATEMENT_SECONDS)),
        ],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert [ended for ended, _ in measured["outcomes"]] == ["ServiceUnavailableError"] * (CALLERS + 1)
    # 2 s for a machine that is busy with other tests.
    assert max(seconds for _, seconds in measured["outcomes"][:CALLERS]) < BOUND_SECONDS + 2
    assert len(measured["hung"]) > 20, "it hung for a while"
    slips = sorted(measured["hung"])
    # One tick may meet a busy machine; a call that holds the loop would show in all of them, and by seconds in one.
    assert slips[-1] < max(measured["alone"]) + 0.5
    assert slips[len(slips) // 2] < 2 * sorted(measured["alone"])[20]
