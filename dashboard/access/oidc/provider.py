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
from urllib3.exceptions import NameResolutionError

from dashboard.access.oidc.bounded_http import TooLongError, bound
from dashboard.access.oidc.errors import Fault, ProviderAwayError

REMEMBER_SECONDS = 3600.0
KEYS_AGAIN_SECONDS = 30.0
MOST_KEYS = 100
LONGEST_SHOWN = 200
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Metadata:
    """What we need of the provider's discovery document.

    `client_methods`: how clients may show it who they are; None: it does not say, which means client_secret_basic.
    `names_issuer`: it puts its own name beside each code (RFC 9207), so a code without it is none of its.
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    client_methods: frozenset[str] | None
    names_issuer: bool

    @property
    def takes_basic(self) -> bool:
        """Whether a client's secret may come in a header, which is the rule unless the provider says otherwise."""
        return self.client_methods is None or "client_secret_basic" in self.client_methods


class Provider:
    """The provider of this issuer. Its methods raise ProviderAwayError when it does not tell."""

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
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._checked(self._ask(address, "discovery document"))
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
        document = self._ask(self.metadata().jwks_uri, "list of keys")
        listed = document.get("keys")
        if not isinstance(listed, list) or not 0 < len(listed) <= MOST_KEYS:
            raise ProviderAwayError(Fault.KEYS, "its list of keys is none, empty or too long")
        try:
            found = KeySet.import_key_set({"keys": listed})
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise ProviderAwayError(Fault.KEYS, f"its keys cannot be read ({type(exc).__name__})") from None
        with self._lock:
            self._keys = (time.monotonic(), found)
        return found

    def _checked(self, document: Mapping[str, Any]) -> Metadata:
        if document.get("issuer") != self.issuer:  # exactly, as OpenID Connect Discovery 4.3 has it
            raise ProviderAwayError(Fault.ISSUER, f"it calls itself {_shown(document.get('issuer'))}")
        for name in _ENDPOINTS:
            address = document.get(name)
            if not isinstance(address, str) or not is_safe(address):
                what = "is not https" if isinstance(address, str) else "is missing"
                raise ProviderAwayError(Fault.ENDPOINTS, f"its {name} {what}")
        authorization, token, keys = (str(document[name]) for name in _ENDPOINTS)
        methods = document.get("token_endpoint_auth_methods_supported")
        return Metadata(
            authorization_endpoint=authorization,
            token_endpoint=token,
            jwks_uri=keys,
            client_methods=frozenset(map(str, methods)) if isinstance(methods, list) else None,
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _ask(self, address: str, what: str) -> Mapping[str, Any]:
        with requests.Session() as session:
            bound(session)
            try:
                answer = session.get(address, headers={"Accept": "application/json"}, allow_redirects=False)
                document = answer.json() if answer.status_code == 200 else None
            except (requests.RequestException, ValueError) as exc:
                raise _away(exc, what) from None
        if answer.status_code != requests.codes.ok:
            raise ProviderAwayError(Fault.ANSWER, f"its {what} is answered with {answer.status_code}")
        if not isinstance(document, dict):
            raise ProviderAwayError(Fault.ANSWER, f"its {what} is no JSON object")
        return document


def _away(exc: Exception, what: str) -> ProviderAwayError:
    """By its class: the library's words quote addresses."""
    if isinstance(exc, requests.exceptions.SSLError):
        return ProviderAwayError(Fault.CERTIFICATE, f"its certificate is not to be trusted (asked for its {what})")
    if isinstance(exc, requests.Timeout):
        return ProviderAwayError(Fault.NETWORK, f"its {what} does not come in time")
    if isinstance(exc, TooLongError):
        return ProviderAwayError(Fault.ANSWER, f"its {what} is too long")
    if isinstance(exc, requests.exceptions.JSONDecodeError):
        return ProviderAwayError(Fault.ANSWER, f"its {what} is no JSON object")
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    if isinstance(reason, NameResolutionError):
        return ProviderAwayError(Fault.NETWORK, f"the name of the host that has its {what} is not known here")
    return ProviderAwayError(Fault.NETWORK, f"its {what} cannot be had ({type(exc).__name__})")


def _shown(name: object) -> str:
    """What it calls itself, as a log and a terminal may have it."""
    if not isinstance(name, str):
        return "nothing"
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_SHOWN]


def is_safe(address: str) -> bool:
    """Tell whether nobody on the way can read or change what goes there: https, or this machine."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )
