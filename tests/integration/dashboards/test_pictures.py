"""Pictures of dashboards, from the answers of a real Prometheus."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from grafana.pictures.prometheus import Prometheus, Span
from grafana.vocero_dashboards import frame
from grafana.vocero_dashboards.specification import Board, Colour, Kind, Panel, Query, Row, Unit, Word, at_most
from scripts.launcher import probes
from scripts.launcher.child import Child
from tests.parts import require_module, require_program
from tests.servers import clean_environment, free_port

BEGIN, SECONDS = 1_700_000_000, 600
SPAN = Span(BEGIN, BEGIN + SECONDS, 10)
REMEDY = "apt-get install prometheus"


def panel(kind: Kind, *expressions: str, **options: Any) -> Panel:
    queries = tuple(Query(expression, "{{provider}}{{le}}") for expression in expressions)
    unit = options.pop("unit", Unit.COUNT)
    return Panel(f"A {kind}", "For a test.", unit, queries, kind=kind, **options)


BOARD = Board(
    "vocero-test",
    "A test",
    "Every kind of panel.",
    (
        Row(
            "A row",
            (
                panel(Kind.LINES, "60 * rate(turns_total[1m])", stacked=True, many=True),
                panel(Kind.LINES, "turns_total", "vector(0)", steps=at_most(20)),
                panel(Kind.LINES, "absent_metric"),
                panel(Kind.NUMBER, "turns_total", words=(Word(0, 1, "few", Colour.GOOD),)),
                panel(Kind.STATES, "breaker", words=(Word(0, 0, "well", Colour.GOOD), Word(1, 9, "bad", Colour.BAD))),
                panel(Kind.SPREAD, "audio_bucket", unit=Unit.SECONDS),
                panel(Kind.TABLE, "breaker"),
            ),
        ),
    ),
)


def samples() -> str:
    lines = []
    for step in range(0, SECONDS + 1, 10):
        at = BEGIN + step
        lines += [f'turns_total{{provider="{name}"}} {step * share} {at}' for name, share in (("a", 1), ("b", 2))]
        lines += [f'breaker{{provider="a"}} {int(200 < step < 300)} {at}']
        lines += [
            f'audio_bucket{{le="{le}"}} {step * share} {at}' for le, share in (("0.1", 1), ("1.0", 3), ("+Inf", 4))
        ]
    families = sorted(lines, key=lambda line: (line.partition("{")[0], line.split()[0], int(line.split()[-1])))
    return "\n".join([*families, "# EOF", ""])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen ten minutes."""
    folder = tmp_path_factory.mktemp("prometheus")
    promtool, server = require_program("promtool", remedy=REMEDY), require_program("prometheus", remedy=REMEDY)
    (folder / "samples").write_text(samples())
    fill = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "samples", folder / "data"]
    subprocess.run(fill, check=True, capture_output=True, timeout=60)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    port = free_port()
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "data",
        "storage.tsdb.retention.time": "100y",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    command = [str(server), *(f"--{name}={value}" for name, value in options.items())]
    child = Child(
        "Prometheus", command, environment=clean_environment(), log_path=folder / "prometheus.log", folder=folder
    )
    child.start()
    try:
        child.wait_until_ready(lambda: probes.answers(f"http://127.0.0.1:{port}/-/ready"), 60.0)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        child.stop()


def test_an_answer_has_a_value_or_a_gap_at_each_time(prometheus: Prometheus) -> None:
    (series,) = prometheus.ask('turns_total{provider="b"} > 600', SPAN)
    assert series.labels == {"provider": "b"}
    assert np.isnan(series.values[: 300 // 10 + 1]).all()
    assert series.values[-1] == series.last == 2 * SECONDS
    assert series.values.size == SPAN.times().size


def test_a_query_that_prometheus_refuses_is_named(prometheus: Prometheus) -> None:
    with pytest.raises(requests.HTTPError, match=r"400 for rate\(turns_total\)"):
        prometheus.ask("rate(turns_total)", SPAN)


def test_every_kind_of_panel_is_drawn_and_one_without_data_is_named(prometheus: Prometheus, tmp_path: Path) -> None:
    require_module("matplotlib", "bench")
    from grafana.pictures import dashboard

    board = json.loads(frame.text(BOARD))
    board["annotations"]["list"] = [
        {"name": "Bad times", "iconColor": "red", "target": {"expr": "breaker > 0", "refId": "A"}}
    ]
    board["panels"][3]["title"] = "Nothing"
    path = tmp_path / "picture.png"
    assert dashboard.draw(board, prometheus, SPAN, path) == ["Nothing"]
    assert path.read_bytes().startswith(b"\x89PNG")
    first = path.read_bytes()
    dashboard.draw(board, prometheus, SPAN, path)
    assert path.read_bytes() == first
