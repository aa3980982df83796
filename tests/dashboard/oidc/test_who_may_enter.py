"""Which groups give which role, what somebody is called, and what the settings must say for it."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.access.first_user import somebody_can_enter
from dashboard.access.oidc import ProviderSignInError
from dashboard.access.oidc.accounts import shown_name
from dashboard.access.oidc.provider import Provider as Asked
from dashboard.access.oidc.roles import GroupRoles
from dashboard.settings import load_dashboard_settings
from service.errors import ConfigurationError
from service.storage import AdminRole
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.oidc.conftest import Traveller
from tests.dashboard.oidc.provider import Provider

ROLES = GroupRoles(
    admin=frozenset({"vocero.admins"}), operator=frozenset({"ops team", "on-call"}), viewer=frozenset({"staff"})
)


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff"], AdminRole.VIEWER),
        (["staff", "on-call", "others"], AdminRole.OPERATOR),
        (["staff", "vocero.admins", "ops team"], AdminRole.ADMIN),
        ("vocero.admins", AdminRole.ADMIN),
        (["others"], None),
        ([], None),
        (None, None),
    ],
)
def test_the_highest_role_that_a_group_gives_is_taken(groups: Any, role: AdminRole | None) -> None:
    assert ROLES.role_of(groups) is role


NEARLY = [
    "vocero.admins.evil", "evil.vocero.admins", "vocero-admins", "voceroXadmins", "VOCERO.ADMINS", " vocero.admins",
    "vocero.admins\n", "vocero.admins\x00", ".*", "^vocero.admins$", "vocero.admins,staff",
    "vocero.admins@evil.example", "vocero.admıns", "vocero․admins", "ops", "team", "ops  team", "", "*",
]  # fmt: skip


def test_a_name_that_nearly_is_a_groups_is_none() -> None:
    """Flower, CVE-2022-30034: a pattern for addresses also fitted others."""
    assert {name for name in NEARLY if ROLES.role_of([name]) or ROLES.role_of(name)} == set()


@pytest.mark.parametrize(
    "groups", [{"vocero.admins": True}, [["vocero.admins"]], [{"name": "vocero.admins"}], 1, True, ["x"] * 10_000]
)
def test_what_is_no_list_of_names_gives_nothing(groups: Any) -> None:
    assert ROLES.role_of(groups) is None


def test_whoever_is_in_no_group_is_told_which_ones_would_do(
    joined: Dashboard, provider: Provider, traveller: Traveller
) -> None:
    provider.person |= {"groups": ["vocero-admins-evil"], "email": "vocero-admins", "email_verified": True}
    answer = traveller.travel()
    assert answer.status_code == 403
    assert "ops team, staff, vocero-admins, vocero-operators" in answer.text
    assert not traveller.is_signed_in
    assert joined.parts.users.list_all() == []


def test_an_address_that_is_not_verified_is_not_shown() -> None:
    mark = "oidc0123456789abcdef"
    assert shown_name({"sub": "7", "email": "boss@example.com"}, mark) == "7 · 01234567"
    assert shown_name({"sub": "7", "email": "boss@example.com", "email_verified": "true"}, mark) == "7 · 01234567"
    assert shown_name({"sub": "7", "email": "a@b.example", "email_verified": True}, mark) == "a@b.example · 01234567"
    assert shown_name({"sub": "7", "preferred_username": " \x1b[2J\u202e "}, mark) == "[2J · 01234567"
    assert shown_name({"sub": "\n", "preferred_username": ["x"]}, mark) == "somebody · 01234567"
    assert len(shown_name({"sub": "7", "preferred_username": "x" * 5000}, mark)) < 100


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "http://127.0.0.1:9"},
        {"token_endpoint": "http://sso.example/token"},
        {"jwks_uri": "ftp://127.0.0.1/keys"},
        {"authorization_endpoint": None},
        {"jwks_uri": "http://127.0.0.1:9/keys"},
    ],
    ids=["another issuer", "no https", "another scheme", "no address", "nobody there"],
)
def test_a_provider_that_says_something_strange_of_itself_is_not_asked_further(
    provider: Provider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    with pytest.raises(ProviderSignInError, match="away"):
        Asked(provider.url).keys()


@pytest.mark.parametrize("path", ["/elsewhere", "/endless", "/nothing-there", "/.well-known/openid-configuration"])
def test_keys_are_read_from_where_they_are_and_not_without_end(provider: Provider, path: str) -> None:
    provider.metadata = {"jwks_uri": f"{provider.url}{path}"}
    with pytest.raises(ProviderSignInError, match="away"):
        Asked(provider.url).keys()


def test_a_configured_provider_is_a_way_in(dashboard: Dashboard) -> None:
    assert not somebody_can_enter(dashboard.parts.users)
    assert somebody_can_enter(dashboard.parts.users, has_provider=True)


GIVEN = {
    "VOCERO_OIDC_ISSUER": "https://sso.example.com/realms/ops",
    "VOCERO_OIDC_CLIENT_ID": "vocero",
    "VOCERO_OIDC_ADMIN_GROUPS": " vocero-admins , ops team,",
}


def test_the_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**GIVEN, "VOCERO_OIDC_CLIENT_SECRET": ""}.items():
        monkeypatch.setenv(name, value)
    settings = load_dashboard_settings()
    assert settings.oidc_admin_groups == {"vocero-admins", "ops team"}
    assert settings.oidc_client_secret is None


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("VOCERO_OIDC_ISSUER", "http://sso.example.com", "VOCERO_OIDC_ISSUER"),
        ("VOCERO_OIDC_ISSUER", "https://user@sso.example.com", "VOCERO_OIDC_ISSUER"),
        ("VOCERO_OIDC_CLIENT_ID", "", "VOCERO_OIDC_CLIENT_ID"),
        ("VOCERO_OIDC_ADMIN_GROUPS", " , ", "VOCERO_OIDC_ADMIN_GROUPS"),
        ("VOCERO_OIDC_SCOPES", "profile", "VOCERO_OIDC_SCOPES"),
    ],
)
def test_settings_by_which_nobody_could_enter_safely_are_refused_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    for each, given in {**GIVEN, name: value}.items():
        monkeypatch.setenv(each, given)
    with pytest.raises(ConfigurationError, match=named):
        load_dashboard_settings()
