"""The report of a rollback, made from its journal: a file for machines, one for people, and the summary at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.reversal.runs import Outcome, Run, State

_LEFT_OUT = {"contents"}  # hundreds of lines that the journal has


def make_report(run: Run) -> dict[str, Any]:
    """What happened, as JSON."""
    entries, state = run.journal.entries(), run.state()
    return {
        "id": run.id,
        "outcome": (state.outcome.value if state.outcome is not None else "not ended"),
        "terms": state.terms.as_json(),
        "began": entries[0].at,
        "last": entries[-1].at,
        "seconds": round(sum(entry.data["seconds"] for entry in entries if entry.event == "done"), 3),
        "steps": [
            {"at": entry.at, "event": entry.event, "step": entry.step, **_without_bulk(entry.data)}
            for entry in entries
            if entry.event in {"done", "failed", "turned", "stopped", "resumed"}
        ],
        "notes": [entry.data["text"] for entry in entries if entry.event == "noted"],
        "folder": str(run.folder),
    }


def write_report(run: Run) -> None:
    """Write `report.json` and `report.txt` into the folder of the run, in the place of former ones."""
    made = make_report(run)
    _write(run.report, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    _write(run.report.with_suffix(".txt"), "\n".join(summary(run)) + "\n")


def summary(run: Run, *, with_steps: bool = True) -> list[str]:
    """What happened, in lines for a person; without the steps for one who has just seen them go by."""
    made, state = make_report(run), run.state()
    lines = [
        f"Rollback {run.id}: {_headline(state)}",
        "",
        f"  database   {state.terms.place}",
        f"  schema     {state.terms.current} -> {state.terms.target}{' and back' if state.goes_back else ''}",
        f"  by         {state.terms.actor}, {made['began'][:10]} (times are UTC)",
        "",
    ]
    lines += [*map(_step_line, made["steps"]), ""] if with_steps else []
    lines += [f"  took       {made['seconds']:.1f} s"]
    lines += [f"  lost       {count:,} in {name}" for name, count in _lost(state).items()]
    lines += [f"  folder     {run.folder}", *_backup_lines(run.folder)]
    lines += [f"  note       {note}" for note in made["notes"]]
    return lines


def _backup_lines(folder: Path) -> list[str]:
    meanings = {"before.backup": "the database as it was", "replaced.backup": "what the restore replaced"}
    found = [(folder / name, meaning) for name, meaning in meanings.items() if (folder / name).exists()]
    lines = [f"  backup     {path.name}: {meaning}, {path.stat().st_size:,} bytes" for path, meaning in found]
    return [*lines, "             (personal data; goes with the first rollback after 30 days)"] if lines else []


def _headline(state: State) -> str:
    if state.outcome is None:
        return "stopped half-way" if state.has_changed_anything else "not begun"
    word = {Outcome.FAILED_UNCHANGED: "nothing was changed", Outcome.RESTORED: "the backup was put back"}
    return word.get(state.outcome, state.outcome.value)


def _lost(state: State) -> Mapping[str, int]:
    if state.outcome is not Outcome.DONE:
        return {}
    counted = state.done.get("writers", {}).get("losses") or state.terms.losses
    return {name: count for name, count in counted.items() if count}


def _step_line(step: Mapping[str, Any]) -> str:
    at = f"  {datetime.fromisoformat(step['at']):%H:%M:%S}"
    if step["event"] == "done":
        return f"{at}  {step['step']:<14}{step['seconds']:9.2f} s  {describe(step)}".rstrip()
    if step["event"] == "resumed":
        return f"{at}  gone on with, by {step['by']}"
    word = {"failed": "FAILED: ", "stopped": "STOPPED: ", "turned": "from here on back: "}[step["event"]]
    return f"{at}  {word}{step['reason']}"


def describe(found: Mapping[str, Any]) -> str:
    """What a step found out, in a few words."""
    if found.get("reason"):
        return str(found["reason"])
    words: dict[str, Callable[[Any], str]] = {
        "bytes": lambda value: f"{value:,} bytes",
        "workers": lambda value: f"{value} workers have nothing left",
        "downgrade_seconds": lambda value: f"restored, compared, downgrade took {value:.2f} s there",
        "tables": lambda value: f"{len(value)} tables, {sum(value.values()):,} rows as planned",
        "cleared": lambda value: f"{value:,} keys cleared",
        "erased": lambda value: f"{value} conversations erased again",
        "sequence": lambda value: f"entry {value}",
        "revision": lambda value: f"schema {value}",
    }
    return ", ".join(say(found[name]) for name, say in words.items() if name in found)


def _without_bulk(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in _LEFT_OUT}


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    partial.replace(path)
