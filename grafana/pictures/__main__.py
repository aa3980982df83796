"""`python -m grafana.pictures`: run the whole stack for some minutes, and draw the dashboards of it into docs/images.

Needs the extras `test`, `bench` and `local`, and Prometheus (`apt-get install prometheus`).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from grafana.pictures import scene
from grafana.pictures.prometheus import Prometheus, Span
from grafana.render import POINTS, TARGET, render

RATE_SECONDS = 15
"""What a rate is taken over: as long as a few turns."""


def main() -> int:
    """Run and draw; 0 if every panel had data, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="for how long people talk (180)")
    parser.add_argument("--people", type=int, default=12, help="how many (12)")
    parser.add_argument("--into", type=Path, default=TARGET, metavar="FOLDER")
    parser.add_argument("--hold", type=float, default=0, help="keep Prometheus for so many seconds afterwards (0)")
    options = parser.parse_args()
    with scene.watched(options.seconds, options.people) as found:
        span = Span(found.begin + RATE_SECONDS / 3, found.end, max(1.0, round(options.seconds / POINTS)))
        empty = render(Prometheus(found.prometheus), span, options.into, RATE_SECONDS)
        for name, titles in empty.items():
            print(f"{name}: {'; '.join(titles)}: no data")
        if options.hold:
            print(found, flush=True)
            time.sleep(options.hold)
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
