"""Overview: is it well, who is talking, who speaks to them, and how much of the promises is left.

The key decision: only what users notice is here, and each number leads on to the dashboard with its causes.
"""

from __future__ import annotations

from grafana.vocero_dashboards.expressions import per_minute, percentile, rate, share, total
from grafana.vocero_dashboards.objectives import FIRST_AUDIO, OBJECTIVES, SET_UP, TURNS, Objective
from grafana.vocero_dashboards.specification import (
    Board,
    Colour,
    Kind,
    Panel,
    Query,
    Row,
    Step,
    Unit,
    at_least,
    at_most,
)


def _budget(objective: Objective, runbook: str) -> Panel:
    return Panel(
        title=f"{objective.name}: budget left",
        description=f"Promise over 30 days: {objective.promise}. 100 %: nothing went wrong; 0 %: all that may go "
        "wrong has gone wrong, and changes had better wait; below 0 % the promise is broken.",
        unit=Unit.SHARE,
        queries=(Query(objective.budget_left(), objective.name),),
        kind=Kind.NUMBER,
        width=4,
        height=4,
        steps=at_least(0.5, 0.1),
        least=None,
        most=1,
        decimals=1,
        runbook=runbook,
    )


_PROMISES = Row(
    "Promises",
    (
        _budget(SET_UP, "set-up-budget-burns"),
        _budget(TURNS, "turn-budget-burns"),
        _budget(FIRST_AUDIO, "first-audio-budget-burns"),
        Panel(
            title="Talking now",
            description="Conversations that are open, of all workers.",
            unit=Unit.COUNT,
            queries=(Query(total("vocero_conversations_live"), "conversations"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=(Step(None, Colour.NOTE),),
        ),
        Panel(
            title="Room used",
            description="Open conversations, as a share of how many the workers admit. At 100 % new ones are refused.",
            unit=Unit.SHARE,
            queries=(Query(share(total("vocero_conversations_live"), total("vocero_conversation_capacity")), "used"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=at_most(0.9, 0.75),
            most=1,
            decimals=1,
            runbook="capacity-nearly-full",
        ),
        Panel(
            title="Switched by hand",
            description="Workers that obey an order of an admin (forced or disabled) instead of deciding themselves.",
            unit=Unit.COUNT,
            queries=(Query(total("vocero_override_mode", 'mode!="auto"'), "workers"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            steps=at_most(1),
            runbook="override-forgotten",
        ),
        Panel(
            title="How fast the budgets burn",
            description="Over the last hour, in multiples of what is allowed: at 1 the budget lasts exactly 30 days,"
            " at 14.4 two days. Lines are missing while nothing happens.",
            unit=Unit.TIMES,
            queries=tuple(Query(each.burn_rate(), each.name) for each in OBJECTIVES),
            steps=at_most(14.4, 1),
            width=24,
            height=6,
            runbook="turn-budget-burns",
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            title="Open conversations",
            description="Of all workers. How many are admitted is many times as many; see the room used.",
            unit=Unit.COUNT,
            queries=(Query(total("vocero_conversations_live"), "open"),),
            runbook="capacity-nearly-full",
        ),
        Panel(
            title="Conversations that begin",
            description="A minute, by what became of it. caller: refused for, or ended by, the caller's own doing; "
            "failure: ours, or every provider failed.",
            unit=Unit.PER_MINUTE,
            queries=(Query(per_minute("vocero_conversation_setups_total", by="outcome"), "{{outcome}}"),),
            stacked=True,
            runbook="set-up-budget-burns",
        ),
        Panel(
            title="Who speaks",
            description="Turns a minute by the provider that answered. Anything but elevenlabs is a backup.",
            unit=Unit.PER_MINUTE,
            queries=(Query(per_minute("vocero_turns_total", by="provider"), "{{provider}}"),),
            stacked=True,
            runbook="breaker-open",
        ),
    ),
)

_HTTP = rate("vocero_http_request_duration_seconds_count")
_HTTP_OURS = rate("vocero_http_request_duration_seconds_count", 'status!~"[1234]xx"')
_TROUBLE = Row(
    "Errors and waiting",
    (
        Panel(
            title="What fails",
            description="Shares of set-ups, of turns, and of HTTP requests answered with 5xx. 0.5 % is what the "
            "promises allow.",
            unit=Unit.SHARE,
            queries=(
                Query(
                    share(
                        rate("vocero_conversation_setups_total", 'outcome="failure"'),
                        rate("vocero_conversation_setups_total", 'outcome!="caller"'),
                    ),
                    "set-ups",
                ),
                Query(share(rate("vocero_turns_total", 'outcome="failed"'), rate("vocero_turns_total")), "turns"),
                # A series appears with its first request: without one of 5xx, the share is 0.
                Query(share(f"({_HTTP_OURS} or 0 * {_HTTP})", _HTTP), "HTTP"),
            ),
            steps=at_most(0.005),
            runbook="turn-budget-burns",
        ),
        Panel(
            title="Until the answer is heard",
            description="From the user's last word to the first audible sound of the answer. The promise is 1 s for "
            "95 %.",
            unit=Unit.SECONDS,
            queries=(
                Query(percentile(0.5, "vocero_first_audio_seconds"), "half of the turns"),
                Query(percentile(0.95, "vocero_first_audio_seconds"), "95 %"),
                Query(percentile(0.99, "vocero_first_audio_seconds"), "99 %"),
            ),
            steps=at_most(1),
            runbook="first-audio-budget-burns",
        ),
        Panel(
            title="Changes of the provider",
            description="A minute, by why another provider went on. forced and returned are no faults.",
            unit=Unit.PER_MINUTE,
            queries=(Query(f"{per_minute('vocero_provider_switches_total', by='cause')} > 0", "{{cause}}"),),
            stacked=True,
            many=True,
            runbook="breaker-open",
        ),
        Panel(
            title="Alerts that fire",
            description="Empty is good. Each has a heading in the runbooks.",
            unit=Unit.COUNT,
            queries=(Query('sum by (alertname, severity) (ALERTS{alertstate="firing"})', ""),),
            kind=Kind.TABLE,
            width=24,
            height=5,
        ),
    ),
)

BOARD = Board(
    uid="vocero-overview",
    title="Vocero: overview",
    description="Is it well, who is talking, who speaks to them, and how much of the promises is left.",
    rows=(_PROMISES, _TRAFFIC, _TROUBLE),
)
