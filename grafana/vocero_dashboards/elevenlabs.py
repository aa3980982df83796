"""ElevenLabs: what we ask it, how it answers, what we wait for on our own side, and what it costs.

The key decision: requests are counted as their caller sees them, so one that went well at the third attempt is a
success here; the attempts are in the row about repeating.
"""

from __future__ import annotations

from grafana.vocero_dashboards.expressions import highest, per_minute, percentile, rate, share, total
from grafana.vocero_dashboards.specification import Board, Kind, Panel, Query, Row, Unit, at_most

_REQUESTS = Row(
    "Requests",
    (
        Panel(
            title="Requests",
            description="A second, by what is asked. conversation: an agent's socket that is opened.",
            unit=Unit.PER_SECOND,
            queries=(Query(rate("elevenlabs_requests_total", by="operation"), "{{operation}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            title="Requests that fail",
            description="As a share of all, after every repetition. There is no line for what is not asked.",
            unit=Unit.SHARE,
            queries=(
                Query(
                    share(
                        rate("elevenlabs_requests_total", 'outcome="failure"', by="operation"),
                        rate("elevenlabs_requests_total", by="operation"),
                    ),
                    "{{operation}}",
                ),
            ),
            width=6,
            steps=at_most(0.05, 0.01),
            runbook="breaker-open",
        ),
        Panel(
            title="Whose fault",
            description="Errors a minute: whose fault it is, and ElevenLabs' own word for it.",
            unit=Unit.PER_MINUTE,
            queries=(Query(f"{per_minute('elevenlabs_errors_total', by='domain, code')} > 0", "{{domain}}: {{code}}"),),
            width=6,
            stacked=True,
            many=True,
            runbook="breaker-open",
        ),
        Panel(
            title="Until it answers",
            description="95 % of requests have their first byte (a socket: are open) within this time.",
            unit=Unit.SECONDS,
            queries=(Query(percentile(0.95, "elevenlabs_request_duration_seconds", by="operation"), "{{operation}}"),),
            width=6,
            steps=at_most(2.5),
        ),
    ),
)

_POOL = Row(
    "Connections and slots",
    (
        Panel(
            title="Connections",
            description="By state, and how many wait for one (all workers together). lent: in use.",
            unit=Unit.COUNT,
            queries=(
                Query(total("vocero_pool_connections", by="pool, state"), "{{pool}}: {{state}}"),
                Query(total("vocero_pool_waiting", by="pool"), "{{pool}}: waiting"),
            ),
            many=True,
            runbook="pool-starving",
        ),
        Panel(
            title="The account's slots",
            description="What is in use of what the account may do at once, in the whole service. A cap of 0 is no "
            "cap.",
            unit=Unit.COUNT,
            queries=(
                Query(highest("vocero_limiter_in_use", by="limiter"), "{{limiter}}: in use"),
                Query(highest("vocero_limiter_cap", by="limiter"), "{{limiter}}: cap"),
                Query(highest("vocero_limiter_waiting", by="limiter"), "{{limiter}}: waiting"),
            ),
            many=True,
            runbook="limiter-at-its-cap",
        ),
        Panel(
            title="Room used",
            description="Connections of what the pools may have, slots of what the account has, and speech sockets of "
            "clients of what the workers take.",
            unit=Unit.SHARE,
            queries=(
                Query(
                    share(
                        total("vocero_pool_connections", 'state="lent"', by="pool"),
                        total("vocero_pool_limit", by="pool"),
                    ),
                    "connections: {{pool}}",
                ),
                Query(
                    share(highest("vocero_limiter_in_use", by="limiter"), highest("vocero_limiter_cap", by="limiter")),
                    "slots: {{limiter}}",
                ),
                Query(
                    share(total("vocero_speech_sockets_open"), total("vocero_speech_socket_capacity")),
                    "clients' speech sockets",
                ),
            ),
            steps=at_most(0.95, 0.8),
            most=1,
            runbook="limiter-at-its-cap",
        ),
        Panel(
            title="What happens to connections",
            description="A minute. reused is the good case; timeout: nobody got one in time.",
            unit=Unit.PER_MINUTE,
            queries=(Query(f"{per_minute('vocero_pool_events_total', by='pool, event')} > 0", "{{pool}}: {{event}}"),),
            many=True,
            runbook="pool-starving",
        ),
        Panel(
            title="Waiting",
            description="How long 95 % of those have waited who asked for a connection or a slot, by who goes first.",
            unit=Unit.SECONDS,
            queries=(
                Query(percentile(0.95, "vocero_pool_wait_seconds", by="pool"), "connection: {{pool}}"),
                Query(
                    percentile(0.95, "vocero_limiter_wait_seconds", by="limiter, priority"),
                    "slot: {{limiter}}, {{priority}}",
                ),
            ),
            steps=at_most(1),
            many=True,
            runbook="pool-starving",
        ),
        Panel(
            title="Not in time",
            description="A minute: each is a conversation or an utterance that goes to a backup, or fails.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(per_minute("vocero_limiter_timeouts_total", by="limiter"), "slot: {{limiter}}"),
                Query(per_minute("vocero_pool_events_total", 'event="timeout"', by="pool"), "connection: {{pool}}"),
            ),
            steps=at_most(1),
            runbook="limiter-at-its-cap",
        ),
    ),
)

_REPEATING = Row(
    "Repeating, and cost",
    (
        Panel(
            title="Repeated requests",
            description="A minute. budget_spent: not repeated, so that a sick ElevenLabs does not get more requests "
            "still.",
            unit=Unit.PER_MINUTE,
            queries=(Query(per_minute("vocero_retries_total", by="outcome"), "{{outcome}}"),),
            width=6,
            stacked=True,
        ),
        Panel(
            title="Repetitions left",
            description="Tokens in the budgets of all workers; at 0 nothing is repeated until requests go well again.",
            unit=Unit.COUNT,
            queries=(Query(total("vocero_retry_budget_tokens"), "tokens"),),
            width=6,
        ),
        Panel(
            title="Characters",
            description="A second. sent: to be spoken; billed: as ElevenLabs says; heard: reached a client; wasted: "
            "spoken, and nobody was there any more.",
            unit=Unit.PER_SECOND,
            queries=(Query(rate("elevenlabs_characters_total", by="kind"), "{{kind}}"),),
            width=6,
        ),
        Panel(
            title="Quota used",
            description="Of the account's characters in this billing period. Without a limit from ElevenLabs there "
            "is nothing.",
            unit=Unit.SHARE,
            queries=(
                Query(
                    share(
                        highest("elevenlabs_quota_characters", 'kind="used"'),
                        highest("elevenlabs_quota_characters", 'kind="limit"'),
                    ),
                    "used",
                ),
            ),
            kind=Kind.NUMBER,
            width=6,
            steps=at_most(0.95, 0.8),
            most=1,
            decimals=1,
            runbook="quota-near-its-end",
        ),
    ),
)

BOARD = Board(
    uid="vocero-elevenlabs",
    title="Vocero: ElevenLabs (pool, limiter, retries, cost)",
    description="What we ask ElevenLabs, how it answers, what we wait for on our own side, and what it costs.",
    rows=(_REQUESTS, _POOL, _REPEATING),
)
