"""Fallback and breaker: which provider speaks, what the workers think of each, what admins have ordered.

The key decision: opinions are shown as bands over time, the worst one of any worker, because one worker that leaves a
provider alone is what somebody hears; how many they are is in the panel beside it.
"""

from __future__ import annotations

from grafana.vocero_dashboards.expressions import PROVIDER, highest, per_minute, percentile, select, total
from grafana.vocero_dashboards.specification import Board, Colour, Kind, Panel, Query, Row, Unit, Word, at_most

_STATES = (
    Word(0, 0, "well", Colour.GOOD),
    Word(1, 1, "coming back", Colour.NOTE),
    Word(2, 2, "probed", Colour.WARNING),
    Word(3, 3, "left alone", Colour.BAD),
)
_MODES = (
    Word(0, 0, "auto", Colour.GOOD),
    Word(1, 1, "forced primary", Colour.NOTE),
    Word(2, 2, "forced fallback", Colour.WARNING),
    Word(3, 3, "disabled", Colour.BAD),
)


def _worst(metric: str, label: str, values: tuple[str, ...], *matchers: str, by: str) -> str:
    """The highest rank of a value that any worker tells: the first is rank 1; none of them is 0."""
    told = [select(metric, f'{label}="{value}"', *matchers) for value in values]
    ranks = [f"({series} > bool 0) * {rank}" for rank, series in enumerate(told, start=1)]
    return f"max by ({by}) ({' or '.join(ranks)})"


_WHO = Row(
    "Who speaks",
    (
        Panel(
            title="What the workers think of each provider",
            description="The worst opinion of any worker. An agent of our own has no breaker.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    _worst(
                        "vocero_breaker_state",
                        "state",
                        ("ramp", "half_open", "open"),
                        PROVIDER,
                        by="provider, capability",
                    ),
                    "{{provider}}: {{capability}}",
                ),
            ),
            kind=Kind.STATES,
            width=12,
            words=_STATES,
            runbook="breaker-open",
        ),
        Panel(
            title="What admins have ordered",
            description="The strongest order that any worker obeys.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    _worst(
                        "vocero_override_mode",
                        "mode",
                        ("forced_primary", "forced_fallback", "disabled"),
                        by="capability",
                    ),
                    "{{capability}}",
                ),
            ),
            kind=Kind.STATES,
            width=8,
            words=_MODES,
            runbook="override-forgotten",
        ),
        Panel(
            title="Order in force for",
            description="Since it was set. After 4 h somebody has probably forgotten it; 0 s: there is none.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    f"(time() - {highest('vocero_override_set_timestamp_seconds', by='capability')})"
                    f" * ({highest('vocero_override_set_timestamp_seconds', by='capability')} > bool 0)",
                    "{{capability}}",
                ),
            ),
            kind=Kind.NUMBER,
            width=4,
            steps=at_most(14_400, 3_600),
            words=(Word(0, 0, "none", Colour.GOOD),),
            runbook="override-forgotten",
        ),
        Panel(
            title="Workers that leave a provider alone",
            description="Number of workers whose breaker is open.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    total("vocero_breaker_state", 'state="open"', PROVIDER, by="provider, capability"),
                    "{{provider}}: {{capability}}",
                ),
            ),
            steps=at_most(1),
            runbook="breaker-open",
        ),
        Panel(
            title="Probes",
            description="A minute, of providers that were left alone. unclear: it failed by a fault of ours.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(
                    per_minute("vocero_breaker_probes_total", PROVIDER, by="provider, result"),
                    "{{provider}}: {{result}}",
                ),
            ),
            stacked=True,
            many=True,
        ),
        Panel(
            title="Turns by provider",
            description="A minute.",
            unit=Unit.PER_MINUTE,
            queries=(Query(per_minute("vocero_turns_total", PROVIDER, by="provider"), "{{provider}}"),),
            stacked=True,
        ),
    ),
)

_CHANGES = Row(
    "Changes",
    (
        Panel(
            title="From whom to whom",
            description="Conversations and requests that went on with another provider, a minute.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(f"{per_minute('vocero_provider_switches_total', by='from, to')} > 0", "{{from}} to {{to}}"),
            ),
            width=6,
            stacked=True,
            many=True,
            runbook="breaker-open",
        ),
        Panel(
            title="Why",
            description="The same changes by their cause. forced, returned and resumed are no faults.",
            unit=Unit.PER_MINUTE,
            queries=(Query(f"{per_minute('vocero_provider_switches_total', by='cause')} > 0", "{{cause}}"),),
            width=6,
            stacked=True,
            many=True,
            runbook="breaker-open",
        ),
        Panel(
            title="Legs",
            description="Stretches of a conversation with one provider that begin, a minute.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(
                    f"{per_minute('vocero_legs_total', PROVIDER, by='provider, cause')} > 0", "{{provider}}: {{cause}}"
                ),
            ),
            width=6,
            stacked=True,
            many=True,
        ),
        Panel(
            title="Sentences finished by another voice",
            description="Utterances that broke and that the next provider spoke to their end, a minute.",
            unit=Unit.PER_MINUTE,
            queries=(Query(f"{per_minute('vocero_spliced_utterances_total', by='from, to')}", "{{from}} to {{to}}"),),
            width=6,
            stacked=True,
            many=True,
        ),
    ),
)

_BACKUP = Row(
    "How good the backup is",
    (
        Panel(
            title="Until its answer is heard",
            description="95 % of the turns, from the user's last word to the first audible sound.",
            unit=Unit.SECONDS,
            queries=(Query(percentile(0.95, "vocero_first_audio_seconds", PROVIDER, by="provider"), "{{provider}}"),),
            width=6,
            steps=at_most(1),
            runbook="first-audio-budget-burns",
        ),
        Panel(
            title="Turns that fail",
            description="A minute, by provider. If the last of the chain fails, the user hears it.",
            unit=Unit.PER_MINUTE,
            width=6,
            queries=(
                Query(per_minute("vocero_turns_total", PROVIDER, 'outcome="failed"', by="provider"), "{{provider}}"),
            ),
            stacked=True,
            runbook="turn-budget-burns",
        ),
        Panel(
            title="Parts of the backup that fail",
            description="A minute: what an endpoint of yours could not do (words, voice, ears), and the local part "
            "did.",
            unit=Unit.PER_MINUTE,
            width=6,
            queries=(Query(per_minute("vocero_backup_part_failures_total", by="part"), "{{part}}"),),
            stacked=True,
        ),
        Panel(
            title="Speech sockets that end",
            description="A minute, by who spoke last. no_place: the workers had no room, and the client was refused.",
            unit=Unit.PER_MINUTE,
            width=6,
            queries=(Query(per_minute("vocero_speech_sockets_ended_total", by="end"), "{{end}}"),),
            stacked=True,
            runbook="capacity-nearly-full",
        ),
    ),
)

BOARD = Board(
    uid="vocero-fallback",
    title="Vocero: fallback and breaker",
    description="Which provider speaks, what the workers think of each, what admins have ordered.",
    rows=(_WHO, _CHANGES, _BACKUP),
)
