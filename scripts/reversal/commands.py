"""What each command does: plan, apply, status, resume, restore, reopen."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scripts.reversal import closing, restoring
from scripts.reversal.conductor import BACK, FORWARD, RESTORE, RESUME, Conductor
from scripts.reversal.confirming import check_allowed, confirm
from scripts.reversal.exit_codes import ExitCode
from scripts.reversal.failures import EXPECTED, HalfWayError, NothingToDoError, RefusedError, UsageError, one_line
from scripts.reversal.journal import Observer
from scripts.reversal.options import PROGRAM, is_terminal
from scripts.reversal.plan_text import plan_lines
from scripts.reversal.planning import Plan, make_plan
from scripts.reversal.progress import Progress
from scripts.reversal.report import make_report, summary
from scripts.reversal.runs import BEGINS_ANEW, Outcome, Run, Runs, State
from scripts.reversal.stops import Stops
from scripts.reversal.terms import Terms, this_operator
from scripts.reversal.work import Work
from scripts.reversal.world import World
from service import __version__
from service.pool_reports import list_reports

KEEP_DAYS = 30


def plan(world: World, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:  # noqa: ARG001 (all are called alike)
    """Show what would be done; change nothing."""
    made = make_plan(world)
    if world.options.as_json:
        show_json(made.as_json())
    else:
        show(plan_lines(made))
    return ExitCode.REFUSED if made.is_refused else ExitCode.DONE


def apply(world: World, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:
    """Do it."""
    with world.runs.alone():
        _refuse_if_half_way(world.runs)
        made = make_plan(world)
        _confirm(world, made)
        world.runs.forget_backups(KEEP_DAYS)
        run = world.runs.begin(made.facts.revision, made.target)
        terms = Terms(
            id=run.id,
            place=world.keeper.place,
            current=made.facts.revision,
            target=made.target,
            actor=this_operator(),
            version=__version__,
            losses=made.losses,
            allowed=world.options.allowed or {},
            drain_seconds=world.options.drain_seconds,
            wait_seconds=world.options.wait_seconds,
            uses_redis=world.options.uses_redis,
            service_url=world.options.service_url or None,
        )
        run.journal.add("started", **terms.as_json())
        return conduct(world, run, stops, watch)


def resume(world: World, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:
    """Go on with the last rollback."""
    with world.runs.alone():
        run = world.runs.last()
        state = run.state() if run is not None else None
        if run is None or state is None or state.outcome not in {None, *BEGINS_ANEW}:
            raise NothingToDoError("There is no rollback to go on with.")
        check_place(world, state)
        run.journal.add("resumed", by=this_operator(), terms=world.options.changed_for_resume)
        return conduct(world, run, stops, watch)


def restore(world: World, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:
    """Bring a backup back."""
    with world.runs.alone():
        run = restoring.prepare(world)
        return conduct(world, run, stops, watch)


def status(world: World, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:  # noqa: ARG001 (all are called alike)
    """Show how far the last rollback has come, and whether the service is closed."""
    run = world.runs.last()
    state = run.state() if run is not None else None
    if world.options.as_json:
        show_json({"rollback": make_report(run) if run is not None else None, "maintenance": _maintenance(world)})
    else:
        show([*_status_lines(run, state, world.options.where), *_maintenance_lines(_maintenance(world))])
    is_half_way = state is not None and state.outcome is None and state.has_changed_anything
    return ExitCode.HALF_WAY if is_half_way else ExitCode.DONE


def reopen(world: World, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:  # noqa: ARG001 (all are called alike)
    """End a maintenance that was forgotten."""
    with world.runs.alone():
        _refuse_if_half_way(world.runs)
        if world.store is None:
            raise UsageError("reopen needs Redis: leave --no-redis out.")
        found = closing.find(world.store)
        if found is None:
            raise NothingToDoError("The service is not in maintenance.")
        closing.open_again(world.store)
        show([f"The maintenance that {found.by} began ({found.reason}) is ended."])
        return ExitCode.DONE


COMMANDS: Mapping[str, Callable[[World, Stops, tuple[Observer, ...]], ExitCode]] = {
    "plan": plan,
    "apply": apply,
    "status": status,
    "resume": resume,
    "restore": restore,
    "reopen": reopen,
}


def conduct(world: World, run: Run, stops: Stops, watch: tuple[Observer, ...]) -> ExitCode:
    """Take a rollback as far as it goes, show its progress, and sum up."""
    state = run.state()
    progress = Progress(list(BACK if state.goes_back else FORWARD))
    watched = world.runs.watched(run, (progress.observe, *watch))
    work = Work(
        terms=state.terms,
        run=watched,
        keeper=world.keeper,
        chain=world.chain,
        store=world.store if state.terms.uses_redis else None,
        tell=progress.tell,
        steps=world.steps,
    )
    code = Conductor(work, stops).go_on()
    with stops.deaf():  # a signal that comes now changes nothing any more
        if world.options.as_json:
            show_json({**make_report(run), "exit_code": code.value})
        else:
            advice = _advice(code, run.state(), world.options.where)
            show(["", *summary(run, with_steps=not sys.stderr.isatty()), *advice])
    return code


def check_place(world: World, state: State) -> None:
    """Raises RefusedError if the rollback is one of another database."""
    if state.terms.place != world.keeper.place:
        raise RefusedError(
            f"Rollback {state.terms.id} is one of {state.terms.place}; VOCERO_DATABASE_URL is {world.keeper.place}."
        )


def show(lines: Iterable[str]) -> None:
    """On standard output, as long as somebody reads it."""
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `| head` has seen enough, and Python's own flush at the end must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_json(value: Any) -> None:
    """For machines."""
    show([json.dumps(value, indent=2, ensure_ascii=False, default=str)])


def _confirm(world: World, made: Plan) -> None:
    """Have somebody agree to the plan, before anything is written."""
    refusal = next((obstacle for obstacle in made.obstacles if obstacle.refuses), None)
    if refusal is not None:
        raise RefusedError(refusal.text + (f" -> {refusal.remedy}" if refusal.remedy else ""))
    allowed = world.options.allowed or {}
    unknown = [name for name in allowed if name not in made.losses]
    if unknown:
        raise UsageError(f"--allow-data-loss {unknown[0]}: nothing is lost there; see `plan`.")
    check_allowed(world.options, made.losses, "Data")
    if not world.options.yes and is_terminal():
        print("\n".join(plan_lines(made, with_command=False)), file=sys.stderr)
    confirm(world.options, "\nThe service is closed meanwhile.", made.target)


def _refuse_if_half_way(runs: Runs) -> None:
    run = runs.last()
    state = run.state() if run is not None else None
    if state is not None and state.outcome is None and state.has_changed_anything:
        raise HalfWayError(f"Rollback {state.terms.id} has stopped half-way. Go on: {RESUME}; or back: {RESTORE}")
    if run is not None and state is not None and state.outcome is None:
        run.journal.add("ended", outcome=Outcome.FAILED_UNCHANGED.value)  # it was killed before it did anything


def _advice(code: ExitCode, state: State, where: str) -> list[str]:
    """What to do now; `where` are the arguments to repeat."""
    if code is ExitCode.HALF_WAY:
        return ["", f"Stopped half-way. {_door(state)}", f"  go on    {RESUME}{where}", f"  or back  {RESTORE}{where}"]
    if code is not ExitCode.FAILED_UNCHANGED:
        return []
    if state.outcome is Outcome.DONE:
        return ["", f"The restore has changed nothing: all is as the rollback left it. Again:  {RESTORE}{where}"]
    if state.outcome is Outcome.RESTORED:
        return ["", "The database is as it was before. To try again, begin anew: apply"]
    return ["", f"The database is as it was. When the cause is mended:  {RESUME}{where}"]


def _door(state: State) -> str:
    if "reopening" in state.done:
        return "The service is open again; what is left is to write it down."
    if "maintenance" in state.begun:
        return "The service stays closed until then."
    return "Nothing was changed yet."


def _status_lines(run: Run | None, state: State | None, where: str) -> list[str]:
    if run is None or state is None:
        return ["There was no rollback yet."]
    lines = summary(run)
    if state.outcome is not None:
        return lines
    lines += [f"  reached    {state.reached}"] if state.reached else []
    return [*lines, f"  next       {RESUME}{where}   (or back: {RESTORE})"]


def _maintenance(world: World) -> dict[str, Any] | None:
    if world.store is None:
        return None
    try:
        found = closing.find(world.store)
        reports = list_reports(world.store, forget_dead=False)
    except EXPECTED as exc:
        return {"error": one_line(exc)}
    return {
        "reason": found.reason if found else None,
        "by": found.by if found else None,
        "since": found.since if found else None,
        "workers": len(reports),
        "seen": sum(bool(report.maintenance) for report in reports),
        "conversations": sum(report.conversations for report in reports),
    }


def _span(seconds: float) -> str:
    minutes = max(0.0, seconds) / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.0f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def _maintenance_lines(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    if "error" in found:
        return ["", f"Whether the service is closed is not known: {found['error']}"]
    if found["reason"] is None:
        return ["", f"The service is open: {found['workers']} workers, {found['conversations']} conversations."]
    return [
        "",
        f"The service is CLOSED, for {_span(time.time() - found['since'])} now.",
        f"  why        {found['reason']}",
        f"  by         {found['by']}",
        f"  workers    {found['seen']} of {found['workers']} have seen it, {found['conversations']} conversations",
        f"It opens by itself when a rollback ends; one that was forgotten is ended with: {PROGRAM} reopen",
    ]
