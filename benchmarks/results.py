"""The last result of every load, in `results.json`: the documents and the pictures are made from it alone.

So one load can be measured again without the others, each table says which run it is of, and what stands in the
documents is always what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contests.contest import Result
from benchmarks.processes import Usage


@dataclass(frozen=True)
class Record:
    """A result, when and of which commit it is, and `about` the machine it was measured on."""

    when: str
    commit: str
    about: Mapping[str, str]
    result: Result


def read_records(path: Path) -> dict[str, Record]:
    """By load; empty if nothing was measured yet."""
    if not path.exists():
        return {}
    return {name: _record(found) for name, found in json.loads(path.read_text()).items()}


def write_records(path: Path, records: Mapping[str, Record]) -> None:
    """Keep `records`, four digits of each number, in an order that a diff can follow."""
    found = {name: asdict(record) for name, record in sorted(records.items())}
    path.write_text(json.dumps(_rounded(found), indent=1, ensure_ascii=False) + "\n")


def _record(found: Mapping[str, Any]) -> Record:
    result = dict(found["result"])
    result["usages"] = {name: Usage(**usage) for name, usage in result["usages"].items()}
    result["ratio_spreads"] = {name: tuple(spread) for name, spread in result["ratio_spreads"].items()}
    return Record(found["when"], found["commit"], found["about"], Result(**result))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value
