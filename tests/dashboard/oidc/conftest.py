"""A real provider for each test, one key for all of them, and browsers that go there and come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import requests
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from werkzeug.test import TestResponse

from tests.dashboard.conftest import OpenDashboard
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.oidc.provider import CLIENT_ID, CLIENT_SECRET, Provider, running

ANA = {"sub": "4711", "preferred_username": "Ana", "email": "ana@example.com", "groups": ["staff", "vocero-operators"]}
GROUPS = {
    "oidc_admin_groups": frozenset({"vocero-admins", "ops team"}),
    "oidc_operator_groups": frozenset({"vocero-operators"}),
    "oidc_viewer_groups": frozenset({"staff"}),
}


@dataclass
class Traveller:
    """A browser that goes to the provider and comes back."""

    flask: FlaskClient

    def set_out(self, path: str = "/login/oidc") -> str:
        """Begin; the result is where the dashboard sends the browser."""
        answer = self.flask.get(path)
        assert answer.status_code == 303, answer.text
        assert answer.location is not None
        return answer.location

    def visit(self, address: str) -> str:
        """Be at the provider; the result is where it sends the browser."""
        answer = requests.get(address, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def come_back(self, address: str) -> TestResponse:
        parts = urlsplit(address)
        return self.flask.get(f"{parts.path}?{parts.query}")

    def travel(self, path: str = "/login/oidc") -> TestResponse:
        return self.come_back(self.visit(self.set_out(path)))

    @property
    def is_signed_in(self) -> bool:
        return self.flask.get("/api/account").status_code == 200


@pytest.fixture(scope="session")
def signing_key() -> RSAKey:
    key = RSAKey.generate_key(2048)
    key.ensure_kid()
    return key


@pytest.fixture
def provider(signing_key: RSAKey) -> Iterator[Provider]:
    """The provider, with Ana, an operator, signed in there."""
    made = Provider(person=dict(ANA), signing=signing_key, published=[signing_key])
    with running(made):
        yield made


@pytest.fixture
def joined(provider: Provider, open_dashboard_with: OpenDashboard) -> Dashboard:
    """A dashboard whose people come by that provider."""
    return open_dashboard_with(
        oidc_issuer=provider.url,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=SecretStr(CLIENT_SECRET),
        oidc_name="Staff SSO",
        **GROUPS,
    )


@pytest.fixture
def traveller(joined: Dashboard) -> Traveller:
    return Traveller(joined.client(None))


@pytest.fixture
def new_traveller(joined: Dashboard) -> Callable[[], Traveller]:
    return lambda: Traveller(joined.client(None))
