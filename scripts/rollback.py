"""`python -m scripts.rollback [plan|apply|status|resume|restore|reopen]`: revert the database, clean the caches.

What it does stands in `scripts/reversal/`, how to use it in docs/rollback.md. It is also run as a file,
`python scripts/rollback.py`, because that is what somebody types at three in the morning.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in {None, ""}:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # run as a file: our packages lie one folder up

from scripts.reversal.commands import COMMANDS
from scripts.reversal.exit_codes import ExitCode
from scripts.reversal.failures import EXPECTED, ReversalError, StopRequestedError, one_line
from scripts.reversal.journal import Observer
from scripts.reversal.options import read_options
from scripts.reversal.stops import Stops
from scripts.reversal.world import open_world


def main(arguments: Sequence[str] | None = None, *, steps: Path | None = None, watch: tuple[Observer, ...] = ()) -> int:
    """Run one command; the result is the exit code.

    `steps` is another folder of migrations than ours, and `watch` hears of every entry of the journal: for tests.
    """
    mask = os.umask(0o077)  # whatever is written here holds what people said
    with Stops() as stops:
        try:
            options = read_options(sys.argv[1:] if arguments is None else arguments)
            with open_world(options, steps=steps) as world:
                return COMMANDS[options.command](world, stops, watch)
        except StopRequestedError as stop:
            return _fail(f"Stopped by {stop}; nothing was changed.", ExitCode.FAILED_UNCHANGED)
        except ReversalError as exc:
            return _fail(one_line(exc), exc.code)
        except EXPECTED as exc:
            return _fail(one_line(exc), ExitCode.FAILED_UNCHANGED)
        finally:
            os.umask(mask)


def _fail(line: str, code: ExitCode) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
