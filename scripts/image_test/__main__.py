"""`make image-test`: build the image, run the whole of docker-compose.yml, and look whether it keeps its promises.

It wants root on Debian, some 6 GB of disk and a quarter of an hour; it is not part of CI. What could not be had here,
and is therefore not tested, stands in docs/deployment.md with the outcome of the last run.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.image_test import checks, images, production
from scripts.image_test.commands import StepError, say
from scripts.image_test.machine import Machine
from scripts.image_test.stack import Stack
from scripts.smoking.report import SmokeError

FOLDER = Path("/var/tmp/vocero-image-test")  # noqa: S108 (root's, and too large for a tmpfs)


def main(arguments: list[str] | None = None) -> int:
    """Run every step; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="make image-test", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything lies meanwhile (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the folder: the next run finds the images in it")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # whoever ends it wants it cleaned up
        signal.signal(number, signal.default_int_handler)
    try:
        with Machine(options.folder.resolve(), keep=options.keep) as machine:
            _run(machine)
    except StepError as exc:
        print(f"image-test: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("image-test: stopped by you", file=sys.stderr)
        return 1
    say(f"All went well, in {time.monotonic() - begun:.0f} s.")
    return 0


def _run(machine: Machine) -> None:
    begun = time.monotonic()
    sizes = images.build_all(machine)
    say(
        f"Built in {time.monotonic() - begun:.0f} s: "
        + ", ".join(f"{name} {size:.0f} MB" for name, size in sizes.items())
    )
    images.refuses_a_tag_for_a_release(machine)
    say("ok: a release is not built on a tag")
    authority = machine.folder / "authority.pem"
    with Stack(machine) as stack:
        say(f"Everything is healthy after {stack.up():.0f} s")
        authority.write_text(stack.one_shot("setup", "authority"))
        _check("conversation", lambda: checks.conversation(stack, authority))
        _check("rights", lambda: checks.rights(stack))
        _check("published", lambda: checks.published(stack))
        _check("monitored", lambda: checks.monitored(stack, 1))
        _check("setup again", lambda: checks.setup_again(stack))
        _check("data is kept", lambda: checks.data_is_kept(stack, authority))
        _check("scaled", lambda: checks.scaled(stack, authority))
        _check("monitored", lambda: checks.monitored(stack, checks.NODES))
        _check("nothing denied", lambda: checks.nothing_denied(stack))
        _check("secrets stay", lambda: checks.secrets_stay(stack, machine))
        _check("drained", lambda: checks.drained(stack, authority))
    _check("production", lambda: production.check(machine, authority))


def _check(name: str, check: Callable[[], str]) -> None:
    begun = time.monotonic()
    try:
        found = check()
    except (StepError, SmokeError, OSError) as exc:
        raise StepError(f"{name}: {exc}") from None
    say(f"ok: {name}: {found} ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
