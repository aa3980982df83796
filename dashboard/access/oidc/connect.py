"""The way to the provider and back: the authorization code flow, with PKCE, a state and a nonce.

The key decision: what comes back through the browser is believed in nothing. It is a code, which is worth something
only together with what this browser's attempt has in Redis; who somebody is stands in the ID token, which the provider
gives to us directly and whose signature is checked all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from dashboard.access.oidc.accounts import Accounts
from dashboard.access.oidc.attempts import Attempt, Attempts
from dashboard.access.oidc.bounded_http import bound
from dashboard.access.oidc.errors import ProviderSignInError, Reason
from dashboard.access.oidc.id_token import SKEW_SECONDS, Expected, UnknownKeyError, check
from dashboard.access.oidc.provider import Metadata, Provider
from dashboard.access.oidc.roles import GroupRoles
from service.storage import AdminUser

LONGEST_CODE = 4000
_LONGEST_ERROR = 40


@dataclass(frozen=True)
class Client:
    """Who we are to the provider. `secret` None: a public client, which PKCE alone protects."""

    id: str
    secret: str | None = field(repr=False)
    scopes: str


@dataclass(frozen=True)
class Arrival:
    """Somebody has come back. `is_fresh`: they have shown their password to the provider on this way."""

    attempt: Attempt
    user: AdminUser
    is_fresh: bool


class OpenIdConnect:
    """Signs people in by one provider, which is called `name` on the page."""

    def __init__(
        self,
        provider: Provider,
        *,
        name: str,
        client: Client,
        groups_claim: str,
        roles: GroupRoles,
        attempts: Attempts,
        accounts: Accounts,
    ) -> None:
        self.name = name
        self.roles = roles
        self._provider = provider
        self._client = client
        self._groups_claim = groups_claim
        self._attempts = attempts
        self._accounts = accounts

    def begin(
        self,
        *,
        browser: str,
        address: str,
        redirect_uri: str,
        next_page: str,
        confirming: tuple[str, str] | None = None,
    ) -> str:
        """Begin a sign-in of the browser with this secret; the result is the provider's address to send it to.

        `confirming`: session and user of somebody who shows their password again, and nothing else.

        Raises:
            ProviderSignInError: the provider does not answer (AWAY), or TOO_MANY.
            RedisError: Redis does not answer.
        """
        metadata = self._provider.metadata()
        session_id, user_id = confirming or (None, None)
        state, attempt = self._attempts.begin(
            browser=browser,
            address=address,
            redirect_uri=redirect_uri,
            next_page=next_page,
            confirms=session_id,
            user_id=user_id,
        )
        asks_again = {"prompt": "login", "max_age": "0"} if confirming else {}
        with self._session(metadata, redirect_uri) as session:
            url, _ = session.create_authorization_url(
                metadata.authorization_endpoint,
                state=state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
                **asks_again,
            )
        return str(url)

    def finish(self, answer: Mapping[str, str], *, browser: str, address: str, request_id: str) -> Arrival:
        """See who has come back with `answer`, the query that the provider sent the browser with.

        Raises:
            ProviderSignInError: nobody whom we let in; its reason says why.
            RedisError, ServiceUnavailableError: Redis or the database does not answer.
        """
        attempt = self._attempts.take(answer.get("state", ""), browser=browser)
        metadata = self._provider.metadata()
        if answer.get("iss", self._provider.issuer if not metadata.names_issuer else None) != self._provider.issuer:
            raise ProviderSignInError(Reason.MISTRUSTED, "the code is from another issuer")
        code = answer.get("code", "")
        if "error" in answer or not 0 < len(code) <= LONGEST_CODE:
            raise ProviderSignInError(Reason.DENIED, _code_of(answer.get("error", "")))
        claims = self._claims(attempt, self._token(attempt, metadata, code))
        is_fresh = self._is_fresh(claims, attempt)
        if attempt.confirms is not None and not is_fresh:
            raise ProviderSignInError(Reason.NOT_FRESH)
        role = self.roles.role_of(claims.get(self._groups_claim))
        if role is None:
            raise ProviderSignInError(Reason.NO_GROUP)
        user = self._accounts.settle(self._provider.issuer, claims, role, address=address, request_id=request_id)
        if not user.is_enabled:
            raise ProviderSignInError(Reason.DISABLED)
        if attempt.user_id not in {None, user.id}:
            raise ProviderSignInError(Reason.ANOTHER)
        return Arrival(attempt, user, is_fresh)

    def _token(self, attempt: Attempt, metadata: Metadata, code: str) -> Mapping[str, Any]:
        with self._session(metadata, attempt.redirect_uri) as session:
            try:
                token = session.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=attempt.verifier,
                    redirect_uri=attempt.redirect_uri,
                    allow_redirects=False,
                )
            except OAuthError as exc:
                raise ProviderSignInError(
                    Reason.MISTRUSTED, f"it refused the code: {_code_of(str(exc.error))}"
                ) from None
            except (requests.RequestException, ValueError, TypeError) as exc:
                raise ProviderSignInError(Reason.AWAY, type(exc).__name__) from None
        if not isinstance(token, dict):
            raise ProviderSignInError(Reason.AWAY, "its answer about the code is no JSON object")
        return token

    def _claims(self, attempt: Attempt, token: Mapping[str, Any]) -> Mapping[str, Any]:
        expected = Expected(
            issuer=self._provider.issuer,
            client_id=self._client.id,
            nonce=attempt.nonce,
            since=attempt.began_at,
            now=self._attempts.now(),
        )
        given = token.get("id_token")
        access_token = token.get("access_token")
        beside = access_token if isinstance(access_token, str) else None
        try:
            try:
                return check(given, self._provider.keys(), expected, access_token=beside)
            except UnknownKeyError:
                return check(given, self._provider.keys(again=True), expected, access_token=beside)
        except UnknownKeyError:
            raise ProviderSignInError(Reason.MISTRUSTED, "it is signed with a key that is not the provider's") from None

    def _is_fresh(self, claims: Mapping[str, Any], attempt: Attempt) -> bool:
        at = claims.get("auth_time")
        if not isinstance(at, int | float):
            return False
        return attempt.began_at - SKEW_SECONDS <= at <= self._attempts.now() + SKEW_SECONDS

    def _session(self, metadata: Metadata, redirect_uri: str) -> OAuth2Session:
        method = "none"
        if self._client.secret is not None:
            method = "client_secret_basic" if metadata.takes_basic else "client_secret_post"
        session = OAuth2Session(
            self._client.id,
            self._client.secret,
            scope=self._client.scopes,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=method,
        )
        bound(session)
        return session


def _code_of(error: str) -> str:
    """An error as the standard has them (`access_denied`), and nothing that somebody made up for our log."""
    return error if len(error) <= _LONGEST_ERROR and error.replace("_", "").isalpha() else "(no code)"
