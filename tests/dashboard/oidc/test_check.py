"""`python -m dashboard check` against a real provider of OpenID Connect, of which each test breaks one thing."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey
from pydantic import SecretStr

from dashboard.access.oidc import bounded_http
from dashboard.checks.provider_check import check_provider
from dashboard.settings import DashboardSettings
from service.checks.finding import Finding, State
from tests.conftest import NewRedis
from tests.dashboard.oidc.provider import CLIENT_ID, CLIENT_SECRET, Provider, running
from tests.servers import free_port, run_module

NOWHERE = "http://127.0.0.1:9"


def look(issuer: str, **others: Any) -> list[Finding]:
    """What is found of the provider that is set so."""
    given = {"oidc_issuer": issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
    found = list(check_provider(DashboardSettings.model_construct(**{**given, **others})))
    assert CLIENT_SECRET not in str(found)
    assert all(finding.remedy for finding in found if finding.state is State.FAILED)
    return found


def test_a_provider_of_which_nothing_is_wrong_is_well(provider: Provider) -> None:
    found = look(provider.url)
    assert [finding.state for finding in found] == [State.OK, State.OK]
    assert found[0].said == "it is the issuer that is meant, and its signatures can be checked (one key)"
    assert "/token" not in provider.fetched, "nobody is signed in"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"issuer": "https://sso.example/"}, "it calls itself https://sso.example/"),
        ({"issuer": None}, "it calls itself nothing"),
        ({"token_endpoint": "http://sso.example/token"}, "its token_endpoint is not https"),
        ({"authorization_endpoint": None}, "its authorization_endpoint is missing"),
        ({"jwks_uri": f"{NOWHERE}/keys"}, "its list of keys cannot be had (ConnectionError)"),
        ({"jwks_uri": "https://nothing.invalid"}, "the name of the host that has its list of keys is not known here"),
        ({"jwks_uri": "{}/nothing-there"}, "its list of keys is answered with 404"),
        ({"jwks_uri": "{}/elsewhere"}, "its list of keys is answered with 302"),
        ({"jwks_uri": "{}/endless"}, "its list of keys is too long"),
        ({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, "it takes no client secret as we send it"),
    ],
)
def test_what_is_wrong_with_what_it_says_of_itself_is_told(
    provider: Provider, metadata: dict[str, Any], said: str
) -> None:
    provider.metadata = {
        name: value.format(provider.url) if isinstance(value, str) else value for name, value in metadata.items()
    }
    assert [finding.said for finding in look(provider.url) if finding.state is State.FAILED] == [said]


def test_a_list_without_a_key_that_checks_signatures_is_told(provider: Provider, signing_key: RSAKey) -> None:
    provider.published = []
    assert look(provider.url)[0].said == "its list of keys is none, empty or too long"
    only_for_encryption = RSAKey.import_key({**signing_key.as_dict(private=False), "use": "enc"})
    provider.published = [only_for_encryption, OctKey.generate_key(256)]
    found = look(provider.url)[0]
    assert (found.state, found.said) == (State.FAILED, "no key in its list can check a signature")


def test_a_provider_that_is_gone_and_one_that_hangs_are_told(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Provider()
    with running(gone):
        pass
    assert look(gone.url)[0].said == "its discovery document cannot be had (ConnectionError)"
    monkeypatch.setattr(bounded_http, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        found = look(f"http://127.0.0.1:{hanging.getsockname()[1]}")
    assert (found[0].state, found[0].said) == (State.FAILED, "its discovery document does not come in time")
    assert found[1].said == "a client secret is set", "which is seen without it"


def test_a_client_without_a_secret_is_a_warning(provider: Provider) -> None:
    found = look(provider.url, oidc_client_secret=None)
    assert [finding.state for finding in found] == [State.OK, State.WARNING]
    assert found[1].said.startswith("VOCERO_OIDC_CLIENT_SECRET is not set")


def test_the_command_tells_it_with_all_that_the_dashboard_needs(
    provider: Provider, migrated_database: Path, tmp_path: Path, new_redis: NewRedis
) -> None:
    shutil.copyfile(migrated_database, tmp_path / "vocero.db")
    needed = {
        "VOCERO_DATABASE_URL": f"sqlite:///{tmp_path}/vocero.db",
        "VOCERO_REDIS_URL": new_redis(),
        "VOCERO_DASHBOARD_PORT": str(free_port()),
    }
    ours = {
        "VOCERO_OIDC_ISSUER": provider.url,
        "VOCERO_OIDC_CLIENT_ID": CLIENT_ID,
        "VOCERO_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "VOCERO_OIDC_ADMIN_GROUPS": "ops",
    }
    code, out, _ = command(**needed, **ours)
    assert (code, _states(out)["provider"]) == (0, "ok"), out
    assert set(_states(out)) == {"configuration", "ports", "redis", "database", "provider"}
    code, out, _ = command(**needed, **{**ours, "VOCERO_OIDC_ISSUER": f"{provider.url}/"})
    assert (code, _states(out)["provider"]) == (1, "failed"), out
    code, out, _ = command(**needed, VOCERO_OIDC_CLIENT_SECRET=CLIENT_SECRET)
    assert (code, _states(out)["users"], _states(out)["configuration"]) == (1, "failed", "warning"), out
    code, out, err = command(**needed, **{**ours, "VOCERO_OIDC_ISSUER": "ftp://sso.example"})
    assert (code, out) == (78, "")
    assert err.startswith("vocero dashboard: VOCERO_OIDC_ISSUER: must be https://")


def command(**settings: str) -> tuple[int, str, str]:
    """What `python -m dashboard check` ends with and says."""
    done = run_module("dashboard", "check", "--json", **settings)
    assert CLIENT_SECRET not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def _states(out: str) -> dict[str, str]:
    """The worst state by what was looked at."""
    found: dict[str, str] = {}
    for each in json.loads(out)["findings"]:
        states = [found.get(each["what"], "ok"), each["state"]]
        found[each["what"]] = max(states, key=["ok", "warning", "failed"].index)
    return found
