"""What the provider says of itself: where it is asked, and with which keys it signs.

The key decision: both are remembered, and keys are read anew when a token names one that we do not know (providers
change them without saying), but not more often than every half minute, so that made-up tokens cause no requests.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dashboard.access.oidc.bounded_http import bound
from dashboard.access.oidc.errors import ProviderSignInError, Reason

REMEMBER_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 30.0
MOST_KEYS = 100
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Metadata:
    """What we need of the provider's discovery document.

    `names_issuer`: it puts its own name beside each code (RFC 9207), so a code without it is none of its.
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    takes_basic: bool
    names_issuer: bool


class Provider:
    """The provider of this issuer. Its methods raise ProviderSignInError (AWAY) when it does not tell."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._lock = threading.Lock()  # guards what is remembered; asking goes on beside it
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def metadata(self) -> Metadata:
        """Where it is asked."""
        with self._lock:
            known = self._metadata
        if known is not None and time.monotonic() - known[0] < REMEMBER_SECONDS:
            return known[1]
        found = self._checked(self._ask(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"))
        with self._lock:
            self._metadata = (time.monotonic(), found)
        return found

    def keys(self, *, again: bool = False) -> KeySet:
        """Its public keys. `again`: one is missing among those we know; they are then read anew if that is allowed."""
        with self._lock:
            known = self._keys
        age = None if known is None else time.monotonic() - known[0]
        if known is not None and age is not None and age < (KEYS_AGAIN_SECONDS if again else REMEMBER_SECONDS):
            return known[1]
        document = self._ask(self.metadata().jwks_uri)
        listed = document.get("keys")
        if not isinstance(listed, list) or not 0 < len(listed) <= MOST_KEYS:
            raise ProviderSignInError(Reason.AWAY, "its list of keys is none, empty or too long")
        try:
            found = KeySet.import_key_set({"keys": listed})
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise ProviderSignInError(Reason.AWAY, f"its keys cannot be read: {type(exc).__name__}") from None
        with self._lock:
            self._keys = (time.monotonic(), found)
        return found

    def _checked(self, document: Mapping[str, Any]) -> Metadata:
        if document.get("issuer") != self.issuer:  # exactly, as OpenID Connect Discovery 4.3 has it
            raise ProviderSignInError(Reason.AWAY, "it calls itself otherwise than VOCERO_OIDC_ISSUER")
        addresses = [document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        for address in addresses:
            if not isinstance(address, str) or not is_safe(address):
                raise ProviderSignInError(Reason.AWAY, "an address of its is missing, or is not https")
        authorization, token, keys = map(str, addresses)
        methods = document.get("token_endpoint_auth_methods_supported")
        return Metadata(
            authorization_endpoint=authorization,
            token_endpoint=token,
            jwks_uri=keys,
            takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _ask(self, address: str) -> Mapping[str, Any]:
        with requests.Session() as session:
            bound(session)
            try:
                answer = session.get(address, headers={"Accept": "application/json"}, allow_redirects=False)
                document = answer.json() if answer.status_code == 200 else None
            except (requests.RequestException, ValueError) as exc:
                raise ProviderSignInError(Reason.AWAY, type(exc).__name__) from None
        if not isinstance(document, dict):
            raise ProviderSignInError(Reason.AWAY, f"it answers {answer.status_code}, or no JSON object")
        return document


def is_safe(address: str) -> bool:
    """Tell whether nobody on the way can read or change what goes there: https, or this machine."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )
