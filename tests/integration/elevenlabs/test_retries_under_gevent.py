"""A worker goes on with everybody else while one call waits, hangs or is hedged."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scripted_upstream import Peer, ScriptedUpstream

from tests.servers import ROOT

StartUpstream = Callable[..., ScriptedUpstream]


def test_in_a_patched_process_waiting_hanging_and_hedging_stop_nobody_else(start_upstream: StartUpstream) -> None:
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            voice = request.target.split("/")[3]
            with lock:
                asked[voice] += 1
                time_of_voice = asked[voice]
            if voice == "busy" and time_of_voice < 3:
                peer.answer(b"", status="503 Service Unavailable")
            elif voice == "hangs" or (voice == "late" and time_of_voice == 1):
                peer.await_hang_up()
            else:
                peer.answer(voice.encode())

    upstream = start_upstream(script)
    process = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("gevent_retries.py")), upstream.url],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    assert told["heard"].pop("hangs") in ("first_audio_timeout", "read_timeout")  # both are due at the deadline
    assert told["heard"] == {"busy": "busy", "late": "late", "well": "well"}
    assert asked == {"busy": 3, "hangs": 2, "late": 2, "well": 1}
    # The hang alone takes 1 s, in which the ticker has a hundred turns; a process that it stopped would have five.
    assert told["ticks"] > 20
