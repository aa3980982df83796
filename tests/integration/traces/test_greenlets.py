"""In a worker patched by gevent spans are sent beside the conversations, and a collector that hangs holds nobody up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.traces.collector import Collector
from tests.servers import ROOT, clean_environment


@pytest.mark.parametrize("hangs", [False, True])
def test_spans_are_sent_beside_the_conversations(collector: Collector, hangs: bool) -> None:
    collector.hangs = hangs
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.traces.greenlets", collector.endpoint],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    longest, closing = (int(number) for number in ran.stdout.split()[-2:])
    assert longest < 1000, "milliseconds; a tick is 10, and a worker that was held up would have stood still for 1500"
    assert closing < 2500
    assert len(collector.spans) == (0 if hangs else 300)
