"""`python -m grafana.generate`: write the dashboards' JSON into grafana/dashboards, for Grafana's provisioning.

The key decision: the same source gives the same bytes, so that a test can compare them with what is committed. An
operator whose runbooks are published elsewhere writes their own copy (`--runbooks URL --into FOLDER`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from grafana.vocero_dashboards import BOARDS, frame

TARGET = Path(__file__).resolve().parent / "dashboards"


def files(runbooks: str = frame.RUNBOOKS) -> dict[str, str]:
    """The text of every file by its name."""
    return {f"{board.uid}.json": frame.text(board, runbooks) for board in BOARDS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, and remove those of dashboards that are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runbooks", default=frame.RUNBOOKS, metavar="URL", help="where docs/runbooks.md is published")
    parser.add_argument("--into", type=Path, default=TARGET, metavar="FOLDER")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    written = files(options.runbooks)
    for path in options.into.glob("vocero-*.json"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (options.into / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
