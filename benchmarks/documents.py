"""The documents' marked blocks: what stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->` is ours to write.

The key decision: no number that can change stands outside of a block, and a block is made of `results.json` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contests import capacity
from benchmarks.contests.contest import Load
from benchmarks.numbers import readable
from benchmarks.report import block, goals, table
from benchmarks.results import Record

GOALS, SIZING = "goals", "sizing"
CONVERSATIONS = (100, 500, 1000, 2500, 5000, 10_000)
HEADROOM = 2
"""A worker is planned with a half of what it carries: for what comes in bursts, and when another worker is away."""

Ladder = tuple[str, float, Sequence[Mapping[str, Any]]]
"""A load's name, the conversations that the service carried, and the steps that it climbed."""

_NOT_YET = "Not measured yet.\n"


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """`text` with each of its blocks that `blocks` has exchanged; others stay as they are.

    Raises:
        ValueError: a block's begin or end is there without the other, or twice.
    """
    for name, content in blocks.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        counts = text.count(begin), text.count(end)
        if counts == (0, 0):
            continue
        if counts != (1, 1) or text.index(begin) > text.index(end):
            raise ValueError(f"there must be one {begin} and behind it one {end}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{content}{end}{rest.partition(end)[2]}"
    return text


def write_blocks(path: Path, blocks: Mapping[str, str]) -> None:
    """Exchange the blocks of the document at `path`."""
    path.write_text(fill(path.read_text(), blocks))


def make_blocks(loads: Mapping[str, Load], records: Mapping[str, Record]) -> dict[str, str]:
    """Every block by its name."""
    found = {name: block(load, records[name]) if name in records else _NOT_YET for name, load in loads.items()}
    return {**found, GOALS: goals(loads, records), SIZING: sizing(records)}


def sizing(records: Mapping[str, Record]) -> str:
    """How many workers and how much memory so many conversations take, from the ladders that were climbed."""
    ladders = [
        (name, record.result.values["service"]["carried"], record.result.ladders.get("service", []))
        for name, record in records.items()
        if name in {capacity.PLAIN.name, capacity.TLS.name} and "carried" in record.result.values.get("service", {})
    ]
    usable = [(name, carried, steps) for name, carried, steps in ladders if carried > 0 and steps]
    if not usable:
        return _NOT_YET
    head = ["conversations at once"]
    for name, carried, _ in usable:
        way = "TLS to ElevenLabs" if name == capacity.TLS.name else "plain to ElevenLabs"
        head += [f"workers (cores), {way}, {carried / HEADROOM:.0f} each", f"memory for them, {way}"]
    return "\n".join(table([head, *(_sizing_row(count, usable) for count in CONVERSATIONS)])) + "\n"


def _sizing_row(count: int, ladders: list[Ladder]) -> list[str]:
    cells = [str(count)]
    for _, carried, steps in ladders:
        memory = max(step["memory"] for step in steps if step["conversations"] <= carried)
        workers = -(-count * HEADROOM // int(carried))
        cells += [str(workers), f"{readable(count * memory / 1000)} MB"]
    return cells
