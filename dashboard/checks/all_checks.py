"""Which checks of the dashboard there are, and what each is given."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from dashboard.access.first_user import HOW_TO_CREATE, somebody_can_enter
from dashboard.checks.provider_check import check_provider
from dashboard.settings import DashboardSettings
from service import unknown_variables
from service.checks.database_check import SECONDS as DATABASE_SECONDS
from service.checks.database_check import check_database
from service.checks.finding import Check, Finding, failed, ok, run_all, warning
from service.checks.machine_checks import PROBE_SECONDS, check_port, reachable_name
from service.checks.redis_check import check_redis
from service.errors import ConfigurationError, ServiceUnavailableError
from service.storage import AdminUsers, database_url, open_database

SECONDS = 30.0
"""For all of them together; the longest is the provider, with two answers that may take eight each."""


def run_checks(settings: DashboardSettings, *, seconds: float = SECONDS) -> list[Finding]:
    """Try everything at once."""
    checks: dict[str, Check] = {
        "configuration": lambda: check_configuration(settings),
        "ports": lambda: check_ports(settings),
        "redis": lambda: check_redis(settings.redis_url),
        "database": lambda: check_database(settings),
        "users": lambda: check_users(settings),
        "provider": lambda: check_provider(settings),
    }
    return run_all(checks, seconds=seconds)


def check_configuration(settings: DashboardSettings) -> Iterator[Finding]:
    """What is allowed and still will not be what somebody meant; wrong settings never get here."""
    complaints = [warning("configuration", said.rstrip(".")) for said in unknown_variables.complaints()]
    complaints += _doubts(settings)
    yield from complaints or [ok("configuration", "every variable is known and allowed")]


def _doubts(settings: DashboardSettings) -> Iterator[Finding]:
    if (settings.dashboard_url or "").startswith("https:") and not settings.dashboard_trusted_proxies:
        yield warning(
            "configuration",
            "VOCERO_DASHBOARD_URL is https and VOCERO_DASHBOARD_TRUSTED_PROXIES is 0: to us everybody has the proxy's"
            " address",
            "VOCERO_DASHBOARD_TRUSTED_PROXIES=1",
        )
    given = [
        variable
        for variable, value in (
            ("VOCERO_OIDC_CLIENT_ID", settings.oidc_client_id),
            ("VOCERO_OIDC_CLIENT_SECRET", settings.oidc_client_secret),
            ("VOCERO_OIDC_ADMIN_GROUPS", settings.oidc_admin_groups),
            ("VOCERO_OIDC_OPERATOR_GROUPS", settings.oidc_operator_groups),
            ("VOCERO_OIDC_VIEWER_GROUPS", settings.oidc_viewer_groups),
        )
        if value
    ]
    if given and settings.oidc_issuer is None:
        yield warning(
            "configuration",
            f"{given[0]} is set and VOCERO_OIDC_ISSUER is not: people sign in by password alone",
            "VOCERO_OIDC_ISSUER, exactly as the provider writes it",
        )


def check_ports(settings: DashboardSettings) -> Iterator[Finding]:
    """Free, or ours already."""
    if settings.dashboard_port:
        yield check_port(
            "VOCERO_DASHBOARD_PORT", settings.dashboard_host, settings.dashboard_port, who_listens=_dashboard_at
        )


def _dashboard_at(host: str, port: int) -> str | None:
    """The dashboard, if it answers there as it does; to strangers it says nothing of its version."""
    connection = http.client.HTTPConnection(reachable_name(host), port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/livez", headers={"Host": "localhost"})
        answer = connection.getresponse()
        is_ours = answer.status == http.client.OK and answer.read(16) == b"ok\n"
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return "the dashboard" if is_ours else None


def check_users(settings: DashboardSettings) -> Iterator[Finding]:
    """Whether anybody could sign in; without anybody the dashboard does not start."""
    if settings.oidc_issuer is not None:
        return
    try:
        database = open_database(
            database_url(settings), busy_seconds=DATABASE_SECONDS, statement_seconds=DATABASE_SECONDS
        )
    except ConfigurationError:
        return  # what is wrong there is told by the database's own check
    try:
        if somebody_can_enter(AdminUsers(database)):
            yield ok("users", "somebody can sign in by password")
        else:
            yield failed("users", "nobody can sign in", f"run: {HOW_TO_CREATE}, or set VOCERO_OIDC_ISSUER")
    except (ServiceUnavailableError, SQLAlchemyError):
        return  # as above
    finally:
        database.close()
