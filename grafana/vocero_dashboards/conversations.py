"""Conversations and voice quality: what users hear, how soon, for how long, and how it ends.

The key decision: percentiles of what one user waits for, never means; and the quality of a voice is read against its
own baseline, because the models like some voices better than others.
"""

from __future__ import annotations

from grafana.vocero_dashboards.expressions import PROVIDER, per_minute, percentile, rate, share, total
from grafana.vocero_dashboards.specification import Board, Kind, Panel, Query, Row, Unit, at_most

_COMING_AND_GOING = Row(
    "Coming and going",
    (
        Panel(
            title="Open conversations",
            description="By instance.",
            unit=Unit.COUNT,
            queries=(Query(total("vocero_conversations_live", by="instance"), "{{instance}}"),),
            stacked=True,
            runbook="capacity-nearly-full",
        ),
        Panel(
            title="Set-up",
            description="From the upgrade of the client's socket to the conversation's metadata, of those that came "
            "about.",
            unit=Unit.SECONDS,
            queries=(
                Query(percentile(0.5, "vocero_conversation_setup_seconds"), "half"),
                Query(percentile(0.95, "vocero_conversation_setup_seconds"), "95 %"),
            ),
            steps=at_most(2.5),
            runbook="set-up-budget-burns",
        ),
        Panel(
            title="Endings",
            description="Conversations that end, a minute, by who ended them and why.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(
                    f"{per_minute('vocero_conversations_ended_total', by='by, reason')} > 0",
                    "{{by}}: {{reason}}",
                ),
            ),
            stacked=True,
            many=True,
        ),
        Panel(
            title="How long they last",
            description="Of the conversations that ended.",
            unit=Unit.SECONDS,
            queries=(
                Query(percentile(0.5, "vocero_conversation_seconds"), "half"),
                Query(percentile(0.95, "vocero_conversation_seconds"), "95 %"),
            ),
        ),
        Panel(
            title="Clients that come back",
            description="A minute: after a lost network or a deploy, by what became of it. expired and unavailable "
            "are users who had to begin anew.",
            unit=Unit.PER_MINUTE,
            queries=(Query(per_minute("vocero_resumes_total", by="outcome"), "{{outcome}}"),),
            stacked=True,
            many=True,
        ),
        Panel(
            title="Discontinuities",
            description="Clients that could not be told everything that they had missed, a minute, by why.",
            unit=Unit.PER_MINUTE,
            queries=(Query(per_minute("vocero_discontinuities_total", by="reason"), "{{reason}}"),),
            stacked=True,
        ),
    ),
)

_TURNS = Row(
    "Turns",
    (
        Panel(
            title="Turns",
            description="A minute, by how they ended. interrupted: the user spoke; empty: nothing was to be said.",
            unit=Unit.PER_MINUTE,
            width=6,
            queries=(Query(per_minute("vocero_turns_total", PROVIDER, by="outcome"), "{{outcome}}"),),
            stacked=True,
            runbook="turn-budget-burns",
        ),
        Panel(
            title="Until the answer is heard",
            description="From the user's last word to the first audible sound, for 95 % of the turns, by provider.",
            unit=Unit.SECONDS,
            width=6,
            queries=(
                Query(percentile(0.95, "vocero_first_audio_seconds", PROVIDER, by="provider"), "{{provider}}, 95 %"),
                Query(percentile(0.5, "vocero_first_audio_seconds", PROVIDER, by="provider"), "{{provider}}, half"),
            ),
            steps=at_most(1),
            many=True,
            runbook="first-audio-budget-burns",
        ),
        Panel(
            title="Until the answer is heard: all turns",
            description="Each column is a moment; the darker a field, the more turns took that long.",
            unit=Unit.SECONDS,
            width=6,
            queries=(Query(rate("vocero_first_audio_seconds_bucket", PROVIDER, by="le"), "{{le}}"),),
            kind=Kind.SPREAD,
        ),
        Panel(
            title="Until the answer is over",
            description="From the user's last word to the answer's end, for 95 % of the turns. Long answers are no "
            "fault.",
            unit=Unit.SECONDS,
            width=6,
            queries=(Query(percentile(0.95, "vocero_turn_seconds", PROVIDER, by="provider"), "{{provider}}"),),
        ),
    ),
)

_VOICE = Row(
    "Voice",
    (
        Panel(
            title="Gaps in what is heard",
            description="Answers whose audio came too late to be played without a gap: gaps a turn, by provider.",
            unit=Unit.SHARE,
            width=6,
            queries=(
                Query(
                    share(
                        rate("vocero_audio_underruns_total", PROVIDER, by="provider"),
                        rate("vocero_turns_total", PROVIDER, by="provider"),
                    ),
                    "{{provider}}",
                ),
            ),
            steps=at_most(0.05),
        ),
        Panel(
            title="Score",
            description="Opinion score of sampled answers, 1 (bad) to 5 (excellent): half of them were better, and "
            "nine in ten. Voices differ by nature; see the next panel.",
            unit=Unit.SCORE,
            width=6,
            queries=(
                Query(percentile(0.5, "elevenlabs_audio_quality_score", PROVIDER, by="provider"), "{{provider}}, half"),
                Query(percentile(0.1, "elevenlabs_audio_quality_score", PROVIDER, by="provider"), "{{provider}}, 10 %"),
            ),
            least=1,
            most=5,
            decimals=2,
            many=True,
            runbook="audio-quality-down",
        ),
        Panel(
            title="Against the voice's baseline",
            description="Score minus what this voice usually gets. Below -0.5 something is wrong with how it arrives.",
            unit=Unit.SCORE,
            width=6,
            queries=(
                Query(
                    percentile(0.5, "vocero_audio_quality_baseline_deviation", PROVIDER, by="provider"), "{{provider}}"
                ),
            ),
            least=-2,
            most=0.5,
            decimals=2,
            runbook="audio-quality-down",
        ),
        Panel(
            title="Broken answers, and what was judged",
            description="A minute: answers by what is wrong with them, and samples by what became of them. "
            "signal_only: without the models; dropped: there was no time for it. Not kept: verdicts that are missing "
            "on their conversation's page.",
            unit=Unit.PER_MINUTE,
            width=6,
            queries=(
                Query(
                    f"{per_minute('vocero_audio_broken_total', PROVIDER, by='defect')} > 0",
                    "broken: {{defect}}",
                ),
                Query(per_minute("vocero_audio_samples_total", PROVIDER, by="outcome"), "judged: {{outcome}}"),
                Query(f"{per_minute('vocero_audio_verdicts_lost_total', by='cause')} > 0", "not kept: {{cause}}"),
            ),
            many=True,
            runbook="audio-quality-down",
        ),
    ),
)

BOARD = Board(
    uid="vocero-conversations",
    title="Vocero: conversations and voice quality",
    description="What users hear, how soon, for how long, and how it ends.",
    rows=(_COMING_AND_GOING, _TURNS, _VOICE),
)
