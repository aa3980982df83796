"""Signing in by a provider of OpenID Connect: the provider says who somebody is, and which groups they are in."""

from __future__ import annotations

import redis

from dashboard.access.oidc.accounts import Accounts, is_from_provider
from dashboard.access.oidc.attempts import Attempts
from dashboard.access.oidc.connect import Arrival, Client, OpenIdConnect
from dashboard.access.oidc.errors import ProviderSignInError, Reason
from dashboard.access.oidc.provider import Provider
from dashboard.access.oidc.roles import GroupRoles
from dashboard.settings import DashboardSettings
from service.storage import AdminUsers, AuditLog, Database

__all__ = ["Arrival", "OpenIdConnect", "ProviderSignInError", "Reason", "connect_to_provider", "is_from_provider"]


def connect_to_provider(settings: DashboardSettings, *, store: redis.Redis, database: Database) -> OpenIdConnect | None:
    """The way by the provider that `settings` name; None: they name none. The provider is asked when somebody comes."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    secret = settings.oidc_client_secret
    return OpenIdConnect(
        Provider(settings.oidc_issuer),
        name=settings.oidc_name,
        client=Client(
            settings.oidc_client_id, None if secret is None else secret.get_secret_value(), settings.oidc_scopes
        ),
        groups_claim=settings.oidc_groups_claim,
        roles=GroupRoles(
            admin=settings.oidc_admin_groups,
            operator=settings.oidc_operator_groups,
            viewer=settings.oidc_viewer_groups,
        ),
        attempts=Attempts(store),
        accounts=Accounts(database, users=AdminUsers(database), audit=AuditLog(database)),
    )
