"""`python -m grafana.render --prometheus URL`: draw every dashboard from that Prometheus' data, into docs/images.

The key decision: a picture of the docs is of real data or there is none; a panel without data is named, and drawn
as empty.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from grafana import queries
from grafana.pictures import dashboard
from grafana.pictures.prometheus import Prometheus, Span

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images"
POINTS = 200
"""Across a picture, at most; a step is never shorter than a scrape."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; 0 if every panel had data, else 1."""
    options = _parser().parse_args(arguments)
    end = options.until or time.time()
    step = max(options.scrape_seconds, options.seconds / POINTS)
    span = Span(end - options.seconds, end, step)
    # As Grafana reckons it.
    interval = max(4 * options.scrape_seconds, step + options.scrape_seconds, options.rate_seconds)
    empty = render(Prometheus(options.prometheus.rstrip("/")), span, options.into, interval)
    for name, titles in empty.items():
        print(f"{name}: {'; '.join(titles)}: no data")
    return 1 if empty else 0


def render(prometheus: Prometheus, span: Span, into: Path, rate_seconds: float) -> dict[str, list[str]]:
    """Draw every dashboard into the folder `into`; the titles of empty panels by dashboard are the result.

    Raises:
        requests.RequestException: Prometheus does not answer, or refuses a query.
    """
    into.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, board in queries.dashboards().items():
        path = into / f"grafana-{Path(name).stem.removeprefix('vocero-')}.png"
        empty = dashboard.draw(board, prometheus, span, path, __rate_interval=f"{rate_seconds:g}s")
        if empty:
            found[name] = empty
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", required=True, metavar="URL")
    parser.add_argument("--seconds", type=float, default=3600, help="how far back the pictures go (3600)")
    parser.add_argument("--until", type=float, help="Unix time at which they end (now)")
    parser.add_argument("--scrape-seconds", type=float, default=15, help="how often Prometheus scrapes (15)")
    parser.add_argument("--rate-seconds", type=float, default=0, help="the least that a rate is taken over")
    parser.add_argument("--into", type=Path, default=TARGET, metavar="FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
