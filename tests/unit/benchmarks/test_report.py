"""Results for people: tables, the documents' blocks, pictures, and the file that all of them are made of."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.contests.catalogue import LOADS, LONG
from benchmarks.contests.contest import Result
from benchmarks.documents import fill, make_blocks, sizing
from benchmarks.plot import draw_all
from benchmarks.processes import Usage
from benchmarks.report import missed, table, terminal
from benchmarks.results import Record, read_records, write_records

ABOUT = {"machine": "2 cores, ours", "command": "python -m benchmarks"}
FLOOD = Result(
    load="flood",
    rounds=5,
    values={
        "service": {"cpu_up": 12.0, "cpu_down": 30.0, "lost": 0.0},
        "nginx": {"cpu_up": 10.0, "cpu_down": 10.0, "lost": 0.0},
        "direct": {"own_up": 9.0},
    },
    ratio_spreads={"cpu_up": (1.1, 1.3)},
    usages={"flood up, service": Usage(1.5, 0.2, 0.6, 1.4, 0.1)},
    broken={"flask-sock": "1 of 4 conversations failed"},
)
STEPS = [
    {"conversations": count, "core": 0.2, "load": 0.4, "cpu": 20.0, "memory": memory, "direct_p99": 0.5,
     "added_p50": 0.05, "added_p99": 0.0002 * count, "end": ""}
    for count, memory in ((1000, 30.0), (2000, 31.0), (20_000, 99.0))
]  # fmt: skip
CAPACITY = Result("capacity", 1, {"service": {"carried": 2000.0}}, ladders={"service": STEPS})


def record(result: Result) -> Record:
    return Record(when="2026-01-01 00:00 UTC", commit="c0ffee", about=ABOUT, result=result)


def row_of(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith("|") and name in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_is_aligned_and_leaves_out_columns_without_content() -> None:
    assert table([("what", "goal", ""), ("added delay", "", "met"), ("cost", "", "MISSED")]) == [
        "| what        |        |",
        "|-------------|--------|",
        "| added delay | met    |",
        "| cost        | MISSED |",
    ]


def test_a_row_has_each_relays_number_the_ratio_its_spread_the_goal_and_the_verdict() -> None:
    cells = row_of(terminal(LOADS["flood"], FLOOD), "**CPU for a message**, client to agent")
    assert cells[1:] == ["µs", "12", "10", "", "1.20", "1.10 to 1.30", "at most 1.5 x nginx", "met"]


def test_a_missed_goal_is_named_in_the_table_and_in_the_verdict_of_the_run() -> None:
    assert row_of(terminal(LOADS["flood"], FLOOD), "agent to client")[-1] == "MISSED"
    assert missed(LOADS["flood"], FLOOD) == ["flood/cpu_down"]


def test_who_did_not_get_to_the_end_is_told() -> None:
    assert "flask-sock did not get to the end: 1 of 4" in terminal(LOADS["flood"], FLOOD)


def test_what_the_load_itself_used_is_printed() -> None:
    assert row_of(terminal(LOADS["flood"], FLOOD), "flood up, service")[1:] == ["1.50", "0.20", "0.60", "1.40", "0.10"]


def test_delays_of_a_busy_machine_come_with_a_warning() -> None:
    result = Result("half", 5, {"service": {"direct_p99": 6.0, "added_p99": 0.1}})
    assert "read no p99 here" in terminal(LOADS["half"], result)
    assert "read no p99 here" not in terminal(LOADS["half"], replace(result, values={"service": {"direct_p99": 0.6}}))


# --- Goals


GOALS_OF_THE_ISSUE = {
    ("flood", "cpu_up"): "at most 1.5 x nginx",
    ("flood", "cpu_down"): "at most 1.5 x nginx",
    ("voice", "cpu"): "at most 1.15 x nginx",
    ("flood-tls", "cpu_up"): "at most 1.3 x nginx",
    ("flood-tls", "cpu_down"): "at most 1.3 x nginx",
    ("pieces", "cpu"): "at most 0.75 x nginx",
    ("capacity", "carried"): "at least 3500",
    ("capacity-tls", "carried"): "at least 2500",
    ("opening", "memory_idle"): "at most 35 kB",
    ("opening", "memory_active"): "at most 35 kB",
    ("opening-tls", "memory_idle"): "at most 55 kB",
    ("opening-tls", "memory_active"): "at most 55 kB",
    ("half", "added_p50"): "at most 0.06 ms",
    ("half", "added_p99"): "at most 0.5 ms",
    ("opening", "setup_cpu"): "at most 0.6 ms",
    ("opening-tls", "setup_cpu"): "at most 1.2 ms",
    ("speech", "added_first"): "at most 1 ms",
    ("speech", "megabyte_cpu"): "at most 2 x nginx",
    ("fairness", "extra_p99"): "at most 5 ms",
    ("integrity", "lost"): "at most 0",
    ("integrity", "messages"): "at least 10000000",
}


@pytest.mark.parametrize(("load", "metric"), GOALS_OF_THE_ISSUE)
def test_every_goal_of_the_relay_is_a_row(load: str, metric: str) -> None:
    (row,) = [row for row in LOADS[load].rows if row.metric == metric]
    assert row.goal == GOALS_OF_THE_ISSUE[load, metric]


def test_a_load_whose_messages_are_counted_has_the_goal_that_none_is_lost() -> None:
    counted = {name for name, load in LOADS.items() if any(row.metric == "lost" for row in load.rows)}
    # The last two break at the first loss.
    assert LOADS.keys() - counted == {"speech", "warm", "capacity", "capacity-tls"}


def test_the_goals_of_loads_that_were_not_measured_are_listed_as_such() -> None:
    text = make_blocks(LOADS, {"flood": record(FLOOD)})["goals"]
    assert row_of(text, "added delay p50")[-2] == "not measured"
    assert text.count("1.20 x nginx") == 1
    assert "- machine: 2 cores, ours" in text


# --- Documents


def test_a_block_is_exchanged_and_what_stands_around_it_is_not() -> None:
    text = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n<!-- b: begin -->\nkept\n<!-- b: end -->\n"
    found = fill(text, {"a": "new\n", "elsewhere": "x\n"})
    assert found == text.replace("old", "new")
    assert fill(found, {"a": "new\n"}) == found


@pytest.mark.parametrize(
    "text",
    [
        "<!-- a: begin -->\n",
        "<!-- a: end -->\n<!-- a: begin -->\n",
        "<!-- a: begin -->\n<!-- a: end -->\n<!-- a: end -->\n",
    ],
)
def test_a_document_with_broken_marks_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="a: begin"):
        fill(text, {"a": "new\n"})


def test_every_block_has_its_place_in_exactly_one_document() -> None:
    texts = [path.read_text() for path in command.DOCUMENTS]
    for name in make_blocks(LOADS, {}):
        assert sum(text.count(f"<!-- {name}: begin -->") for text in texts) == 1, name
        assert sum(text.count(f"<!-- {name}: end -->") for text in texts) == 1, name


def test_workers_are_planned_with_half_of_what_one_carried_and_the_memory_up_to_there() -> None:
    text = sizing({"capacity": record(CAPACITY)})
    assert "1000 each" in text
    assert row_of(text, "| 2500 ")[1:] == ["3", "77.5 MB"]


def test_nothing_is_planned_with_a_ladder_on_which_nothing_was_carried() -> None:
    nothing = replace(CAPACITY, values={"service": {"carried": 0.0}})
    assert sizing({"capacity": record(nothing)}) == "Not measured yet.\n"


def test_results_that_were_kept_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read_records(path) == {}
    records = {"flood": record(FLOOD), "capacity": record(CAPACITY)}
    write_records(path, records)
    assert read_records(path) == records
    written = path.read_bytes()
    write_records(path, read_records(path))
    assert path.read_bytes() == written


def test_pictures_are_drawn_of_what_was_measured_and_are_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    records = {"flood": record(FLOOD), "capacity": record(CAPACITY)}
    draw_all(tmp_path, records)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn.keys() == {"performance-cpu.svg", "performance-capacity.svg"}
    words = " ".join(ElementTree.fromstring(drawn["performance-cpu.svg"]).itertext())
    for word in ("microseconds of CPU", "service", "nginx", "goal of the service", "prefers-color-scheme:dark"):
        assert word in words
    draw_all(tmp_path, records)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == drawn


# --- The command


def test_a_load_that_there_is_not_is_refused_with_the_names_of_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "flood,tide"])
    said = capsys.readouterr().err
    assert "no load is called tide" in said
    assert "flood-tls" in said


def test_the_loads_are_listed_without_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(LOADS)
    assert LONG.issubset(LOADS)
