"""`python -m soak [SUITE ...]`: run the suites, print what came of each, exit with 1 if one failed."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from soak import autobahn, campaign, frames, ledger, limiter, long_tests, restarts, rollback, rotation, stalls
from soak.result import MissingPartError, Result, summary

Suite = Callable[[argparse.Namespace], Result]
SUITES: dict[str, Suite] = {
    "autobahn": lambda _: autobahn.run(),
    "stalls": lambda options: stalls.run(options.conversations, seed=options.seed),
    "frames": lambda options: frames.run(options.frames),
    "limiter": lambda options: limiter.run(options.seconds, seed=options.seed),
    "rotation": lambda options: rotation.run(options.rotations),
    "ledger": lambda options: ledger.run(options.workers, seed=options.seed),
    "rollback": lambda options: rollback.run(options.kills, seed=options.seed),
    "campaign": lambda options: campaign.run(options.injections, seed=options.seed),
    "restarts": lambda options: restarts.run(options.restarts, seed=options.seed, only=options.only),
    "tests": lambda _: long_tests.run(),
}


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 1 if a suite failed, or was skipped where nothing may be skipped."""
    options = _parser().parse_args(arguments)
    if not Path("/proc/self/smaps_rollup").exists():
        print("The soak suites need Linux: memory and descriptors are read from /proc.", file=sys.stderr)
        return 2
    _allow_many_files()
    results = [_run(name, options) for name in options.suites or SUITES]
    print("\n" + "\n".join(summary(results)), flush=True)
    return 1 if any(result.failures for result in results) else 0


def _run(name: str, options: argparse.Namespace) -> Result:
    print(f"\n=== {name}", flush=True)
    begin = time.monotonic()
    try:
        result = SUITES[name](options)
    except MissingPartError as exc:
        failures = [str(exc)] if options.strict else []
        result = Result(name, time.monotonic() - begin, failures=failures, skipped=str(exc))
        print(f"Skipped: {exc}" if not options.strict else "", flush=True)
    print("\n".join([*result.lines(), f"{name}: {result.verdict}"]), flush=True)
    return result


def _allow_many_files() -> None:
    """Raise our limit of open files, which our children inherit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m soak", description="Run what takes too long for the tests.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)} (all)")
    parser.add_argument("--frames", type=int, default=frames.FRAMES, help="carry so many (%(default)s)")
    parser.add_argument("--conversations", type=int, default=stalls.CONVERSATIONS, help="hold so many (%(default)s)")
    parser.add_argument("--seconds", type=float, default=limiter.SECONDS, help="of the limiter's storm (%(default)g)")
    parser.add_argument("--rotations", type=int, default=rotation.ROTATIONS, help="of the key (%(default)s)")
    parser.add_argument("--kills", type=int, default=rollback.KILLS, help="of rollbacks, anywhere (%(default)s)")
    parser.add_argument("--workers", type=int, default=ledger.KILLS, help="with a ledger, killed (%(default)s)")
    parser.add_argument("--injections", type=int, default=campaign.INJECTIONS, help="of faults (%(default)s)")
    parser.add_argument("--restarts", type=int, default=restarts.RESTARTS, help="of nodes, and kills (%(default)s)")
    parser.add_argument("--only", choices=["restarts", "kills"], help="half of the suite `restarts` (both)")
    parser.add_argument("--seed", type=int, default=1, help="of what happens when (%(default)s)")
    parser.add_argument(
        "--strict",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="fail where a suite would be skipped (with CI=true always)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
