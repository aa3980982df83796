"""Ten thousand conversations in each of which something breaks, and a thousand in which nothing does.

What must hold: no word lost or repeated, the backup's first sound within a second of the break (95 of 100), no other
provider where nothing broke, and workers that hold no more afterwards than before. The short run is in the tests.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import memory_bytes
from soak.parts import running_service
from soak.progress import Progress
from soak.result import Result
from soak.service_log import failures_in
from tests.campaign import calm, campaign
from tests.campaign.campaign import HASTY_SETTINGS, SANDBOX_OPTIONS, SERVICE_SETTINGS, Outcome, Scene
from tests.campaign.injections import draw
from tests.servers import RunningService, start_sandbox

INJECTIONS = 10_000
CALM_PART = 10
"""Of so many conversations with a fault there is one without any."""

AT_ONCE = 50
WARM_UP = 400
MOST_SECONDS = 1.0
GROWTH_BYTES = 24_000_000
"""Of both workers; what malloc keeps varies by megabytes, and a conversation may leave 2.4 kB."""


def run(injections: int = INJECTIONS, *, seed: int = 1) -> Result:
    """Break so many conversations, whose fates begin at `seed`, and hold a tenth as many in peace."""
    begin = time.monotonic()
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name:
        folder = Path(name)
        with running(folder / "broken", HASTY_SETTINGS) as (scene, service):
            numbers = range(seed, seed + injections)
            broken, failures = _break(scene, service, numbers)
            rows = campaign.report(broken)
            failures += failures_in(service.log_path)
        with running(folder / "calm", {}) as (scene, service):
            numbers = range(seed, seed + max(1, injections // CALM_PART))
            quiet = _counted("in peace", numbers, lambda note: calm.run(scene, numbers, at_once=AT_ONCE, note=note))
            failures += [f"{each.name}: {failure}" for each in quiet for failure in each.failures]
            failures += failures_in(service.log_path)
    moved = sum(bool(each.causes) for each in quiet)
    rows.append(("nothing", str(len(quiet)), "-", str(moved), "-", "-"))
    return Result("campaign", time.monotonic() - begin, rows, failures)


def _break(scene: Scene, service: RunningService, numbers: range) -> tuple[list[Outcome], list[str]]:
    calm.warm_up(scene)
    answers = campaign.answers()
    drawn = [draw(number, answers, greeting=campaign.GREETING) for number in numbers]
    first, rest = drawn[:WARM_UP], drawn[WARM_UP:]
    outcomes = _counted("warm-up", first, lambda note: campaign.run(scene, first, at_once=AT_ONCE, note=note))
    before = memory_bytes(service.worker_pids())
    outcomes += _counted("broken", rest, lambda note: campaign.run(scene, rest, at_once=AT_ONCE, note=note))
    growth = memory_bytes(service.worker_pids()) - before
    failures = [f"{each.name}, {each.kind}: {failure}" for each in outcomes for failure in each.failures]
    seconds = [each.seconds for each in outcomes if each.seconds is not None]
    if (p95 := campaign.percentile(seconds, 0.95)) > MOST_SECONDS:
        failures.append(f"the backup took {p95:.2f} s (p95) to its first sound; at most {MOST_SECONDS:g} are allowed")
    if rest and growth > GROWTH_BYTES:
        failures.append(f"the workers grew by {growth / 1e6:.1f} MB, at most {GROWTH_BYTES / 1e6:.1f} are allowed")
    return outcomes, failures


def _counted(
    name: str, all_of_them: Sequence[object], hold: Callable[[Callable[[Outcome], None]], list[Outcome]]
) -> list[Outcome]:
    """Hold conversations with a line of progress now and then."""
    done: list[Outcome] = []
    progress = Progress(
        lambda _: f"{name}, {len(done)} of {len(all_of_them)}, {sum(bool(each.failures) for each in done)} wrong"
    )

    def note(outcome: Outcome) -> None:
        done.append(outcome)
        for failure in outcome.failures:  # at once: nobody should have to wait for an hour to read it
            print(f"  {outcome.name}, {outcome.kind}: {failure}", flush=True)
        progress.tick()

    return hold(note)


@contextmanager
def running(folder: Path, settings: dict[str, str]) -> Iterator[tuple[Scene, RunningService]]:
    """A service with a backup before a sandbox, in a folder of their own."""
    folder.mkdir()
    sandbox = start_sandbox(folder, *SANDBOX_OPTIONS)
    try:
        ours = {
            "ELEVENLABS_BASE_URL": sandbox.url,
            "ELEVENLABS_API_KEY": "soak",
            "ELEVENLABS_AGENT_ID": "agent_demo",
            "VOCERO_PUBLIC_AGENTS": "agent_demo",
        }
        with running_service(folder, {**ours, **SERVICE_SETTINGS, **settings}) as service:
            yield Scene(service=service.url, sandbox=sandbox.url), service
    finally:
        sandbox.child.stop()
