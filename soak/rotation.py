"""The ElevenLabs key changes every 15 s under 20 requests a second: no request fails, and each new key is soon in use.

Vault's API is a real OpenBao, the service has two workers and the default poll. Keys stay good at ElevenLabs when they
are replaced, except the last one of before: that one is refused (401) right after the last rotation, and the time from
the refusal to the first use of the new key is measured too.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import requests

from soak.parts import running_service
from soak.progress import Progress
from soak.result import Result
from tests.integration.elevenlabs.scripted_upstream import ScriptedUpstream
from tests.key_keeper import KeyKeeper
from tests.openbao import RunningOpenBao, start_dev_openbao
from tests.servers import RunningService

ROTATIONS = 16
ROTATION_SECONDS = 15.0
REQUESTS_PER_SECOND = 20
MOST_SECONDS = 35.0
MOST_SECONDS_AFTER_REFUSAL = 2.0
CALLERS = 40


@dataclass
class Load:
    """Requests at a steady rate, whether or not the ones before are answered."""

    service: RunningService
    answers: list[int] = field(default_factory=list)
    _stops: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`."""
        with ThreadPoolExecutor(CALLERS) as callers:
            due = time.monotonic()
            while not self._stops.wait(max(0.0, due - time.monotonic())):
                due += 1 / REQUESTS_PER_SECOND
                callers.submit(self._ask)

    def stop(self) -> None:
        """Send no more."""
        self._stops.set()

    def _ask(self) -> None:
        url = f"{self.service.url}/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb"
        headers = {"xi-api-key": self.service.api_key}
        try:
            self.answers.append(requests.post(url, headers=headers, json={"text": "Hello."}, timeout=30).status_code)
        except requests.RequestException:
            self.answers.append(0)


def run(rotations: int = ROTATIONS) -> Result:
    """Rotate so many times."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        openbao = start_dev_openbao(folder)
        stack.callback(openbao.stop)
        keeper = KeyKeeper()
        keeper.good = {f"sk_{number}" for number in range(rotations + 1)}
        upstream = stack.enter_context(ScriptedUpstream(keeper.script))
        openbao.put("vocero", elevenlabs_api_key="sk_0")
        service = stack.enter_context(running_service(folder, _settings(openbao, upstream.url)))
        load = Load(service)
        thread = threading.Thread(target=load.run)
        thread.start()
        try:
            written = _rotate(openbao, rotations, lambda: f"{len(load.answers)} requests")
            refused_after = _refuse_the_old(openbao, keeper, rotations)
        finally:
            load.stop()
            thread.join()
        waits = [_seconds_to_use(keeper, number, at) for number, at in enumerate(written, start=1)]
    return _result(time.monotonic() - begin, load.answers, waits, refused_after)


def _settings(openbao: RunningOpenBao, upstream_url: str) -> dict[str, str]:
    role_id, secret_id = openbao.make_approle("vocero", token_ttl="20m")
    return {
        "ELEVENLABS_BASE_URL": upstream_url,
        "VAULT_ADDR": openbao.url,
        "VAULT_ROLE_ID": role_id,
        "VAULT_SECRET_ID": secret_id,
        "VOCERO_WORKERS": "2",
    }


def _rotate(openbao: RunningOpenBao, rotations: int, said: Callable[[], str]) -> list[float]:
    """Write the keys 1 to `rotations`; when each was written (monotonic)."""
    written, progress = [], Progress(lambda _: f"{len(written)} rotations, {said()}")
    for number in range(1, rotations + 1):
        openbao.put("vocero", elevenlabs_api_key=f"sk_{number}")
        written.append(time.monotonic())
        end = time.monotonic() + ROTATION_SECONDS
        while time.monotonic() < end:
            progress.tick()
            time.sleep(0.1)
    time.sleep(MOST_SECONDS - ROTATION_SECONDS)  # the last one has its time, too
    return written


def _refuse_the_old(openbao: RunningOpenBao, keeper: KeyKeeper, rotations: int) -> float:
    """Replace the key once more and refuse the one of before at once; seconds from a refusal to the new key's use."""
    new = f"sk_{rotations + 1}"
    keeper.good.add(new)
    openbao.put("vocero", elevenlabs_api_key=new)
    keeper.good -= {f"sk_{number}" for number in range(rotations + 1)}
    end = time.monotonic() + MOST_SECONDS
    while keeper.first_use(new) is None and time.monotonic() < end:
        time.sleep(0.01)
    refused_at = next((at for at, _, is_good in keeper.seen if not is_good), None)
    used_at = keeper.first_use(new)
    time.sleep(MOST_SECONDS_AFTER_REFUSAL)
    return (used_at or float("inf")) - (refused_at or used_at or 0.0)


def _seconds_to_use(keeper: KeyKeeper, number: int, written_at: float) -> float:
    """From the writing of a key to the first use of it, or of a newer one that was written before anybody looked."""
    newer = {f"sk_{later}" for later in range(number, number + ROTATIONS + 2)}
    return next((at - written_at for at, key, _ in keeper.seen if key in newer), float("inf"))


def _result(seconds: float, answers: Sequence[int], waits: Sequence[float], refused_after: float) -> Result:
    failed = [status for status in answers if status != 200]
    rows = [
        ("what", "measured", "at most"),
        ("requests", str(len(answers)), ""),
        ("requests that failed", str(len(failed)), "0"),
        ("rotations", str(len(waits)), ""),
        ("write to first use, worst", f"{max(waits):.1f} s", f"{MOST_SECONDS:g} s"),
        ("401 to first use", f"{refused_after:.2f} s", f"{MOST_SECONDS_AFTER_REFUSAL:g} s"),
    ]
    failures = []
    if failed:
        failures.append(f"{len(failed)} of {len(answers)} requests failed: {sorted(set(failed))}")
    if max(waits) > MOST_SECONDS:
        failures.append(f"a new key was first used after {max(waits):.1f} s")
    if refused_after > MOST_SECONDS_AFTER_REFUSAL:
        failures.append(f"after a refusal the new key was used after {refused_after:.2f} s")
    return Result("rotation", seconds, rows, failures)
