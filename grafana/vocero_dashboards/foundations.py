"""Platform (what we stand on): workers, event loop, HTTP, Redis, database, Vault and the ledger.

The key decision: for each part its use, its saturation and its errors, in this order, so that the cause of what users
notice is found by going down the page.
"""

from __future__ import annotations

from grafana.vocero_dashboards.expressions import highest, lowest, per_minute, percentile, rate, select, total
from grafana.vocero_dashboards.specification import (
    Board,
    Colour,
    Kind,
    Panel,
    Query,
    Row,
    Unit,
    Word,
    at_least,
    at_most,
)

_YEAR_SECONDS = 31_536_000
_UP = (Word(0, 0, "down", Colour.BAD), Word(1, 1, "up", Colour.GOOD))

_WORKERS = Row(
    "Workers",
    (
        Panel(
            title="Workers",
            description="That live, by instance and by version; that are leaving; that started in the last 5 minutes.",
            unit=Unit.COUNT,
            queries=(
                Query(total("vocero_workers", by="instance"), "{{instance}}"),
                Query(total("vocero_workers_draining"), "leaving"),
                Query(f"sum(increase({select('vocero_worker_starts_total')}[5m]))", "started"),
                Query(f"count by (version) ({select('vocero_build_info')})", "instances with {{version}}"),
            ),
            width=12,
            many=True,
            runbook="workers-restart",
        ),
        Panel(
            title="How late the event loop is",
            description="99 % of the ticks that were late at all (more than 10 ms) were late by less. Everybody on a"
            " worker waits that long.",
            unit=Unit.SECONDS,
            queries=(Query(percentile(0.99, "vocero_event_loop_stall_seconds", by="instance"), "{{instance}}"),),
            width=12,
            steps=at_most(0.5, 0.1),
            runbook="event-loop-stalls",
        ),
        Panel(
            title="HTTP requests",
            description="A second, by status. Conversations are none: they are counted when they begin.",
            unit=Unit.PER_SECOND,
            queries=(Query(rate("vocero_http_request_duration_seconds_count", by="status"), "{{status}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            title="HTTP answers",
            description="95 % of the requests are answered within this time, by endpoint.",
            unit=Unit.SECONDS,
            queries=(Query(percentile(0.95, "vocero_http_request_duration_seconds", by="endpoint"), "{{endpoint}}"),),
            width=12,
            steps=at_most(1),
            many=True,
        ),
    ),
)

_STORES = Row(
    "Redis, database and Vault",
    (
        Panel(
            title="What answers",
            description="As each worker sees it; the worst of all workers.",
            unit=Unit.COUNT,
            queries=(Query(lowest("vocero_dependency_up", by="dependency"), "{{dependency}}"),),
            kind=Kind.STATES,
            words=_UP,
        ),
        Panel(
            title="Time of Redis and the database",
            description="99 % of Redis' commands, by what for, and of the database's statements are answered within "
            "this.",
            unit=Unit.SECONDS,
            queries=(
                Query(percentile(0.99, "vocero_redis_seconds", by="use"), "Redis: {{use}}"),
                Query(percentile(0.99, "vocero_database_seconds"), "database"),
            ),
            steps=at_most(0.25, 0.1),
            many=True,
        ),
        Panel(
            title="Errors of Redis and the database",
            description="A minute: commands and statements that failed or were not answered in time.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(per_minute("vocero_redis_errors_total"), "Redis"),
                Query(per_minute("vocero_database_errors_total"), "database"),
            ),
            steps=at_most(1),
        ),
        Panel(
            title="Age of the secrets",
            description="How long ago the worker with the oldest ones has read them.",
            unit=Unit.SECONDS,
            queries=(Query(f"time() - {lowest('vocero_secrets_read_timestamp_seconds')}", "age"),),
            runbook="secrets-old",
        ),
        Panel(
            title="Vault token holds for",
            description="The soonest end of any worker's token. for ever: it does not end, or there is none.",
            unit=Unit.SECONDS,
            queries=(
                Query(
                    f"clamp_max({lowest('vocero_vault_token_expiry_timestamp_seconds')} - time(), {_YEAR_SECONDS})",
                    "token",
                ),
            ),
            kind=Kind.NUMBER,
            width=4,
            steps=at_least(3_600, 600),
            words=(Word(_YEAR_SECONDS, None, "for ever", Colour.GOOD),),
            runbook="vault-token-ends",
        ),
        Panel(
            title="Secrets that could not be read",
            description="Attempts a minute, by cause.",
            unit=Unit.PER_MINUTE,
            queries=(Query(f"{per_minute('vocero_secrets_failures_total', by='cause')} > 0", "{{cause}}"),),
            stacked=True,
            many=True,
            width=12,
            runbook="vault-sealed",
        ),
    ),
)

_RECORDS = Row(
    "Records of conversations",
    (
        Panel(
            title="Records not in the database yet",
            description="The age of the oldest one in the ledger. None is lost by waiting there.",
            unit=Unit.SECONDS,
            queries=(Query(highest("vocero_records_lag_seconds"), "oldest"),),
            width=6,
            steps=at_most(300, 60),
            runbook="ledger-lag",
        ),
        Panel(
            title="Records",
            description="A minute: appended to the ledger, written to the database by path, lost by cause.",
            unit=Unit.PER_MINUTE,
            queries=(
                Query(per_minute("vocero_records_appended_total"), "appended"),
                Query(per_minute("vocero_records_written_total", by="path"), "written: {{path}}"),
                Query(f"{per_minute('vocero_records_lost_total', by='cause')} > 0", "lost: {{cause}}"),
            ),
            width=6,
            many=True,
            runbook="records-lost",
        ),
        Panel(
            title="Retention last ran",
            description="So long ago. It should once a day.",
            unit=Unit.SECONDS,
            queries=(Query(f"time() - {highest('vocero_retention_last_run_timestamp_seconds')}", "ago"),),
            kind=Kind.NUMBER,
            width=6,
            steps=at_most(93_600, 90_000),
            words=(Word(1e9, None, "never yet", Colour.WARNING),),
            runbook="retention-late",
        ),
        Panel(
            title="Work that waits",
            description="Records that only a worker's memory has, orders to erase that are not carried out to their "
            "end, deletions that ElevenLabs has not confirmed.",
            unit=Unit.COUNT,
            queries=(
                Query(total("vocero_records_pending"), "records in memory"),
                Query(highest("vocero_erasures_pending"), "orders to erase"),
                Query(highest("vocero_provider_deletions_pending"), "deletions at ElevenLabs"),
            ),
            width=6,
        ),
    ),
)

BOARD = Board(
    uid="vocero-platform",
    title="Vocero: platform",
    description="Workers, event loop, HTTP, Redis, database, Vault and the ledger: what we stand on.",
    rows=(_WORKERS, _STORES, _RECORDS),
)
