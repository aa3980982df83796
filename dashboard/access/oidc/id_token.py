"""Whether an ID token holds: who signed it, for whom, when, and for which sign-in.

The key decision: only signatures that need a private key are looked at. With `none`, or with HMAC (whose key would be
something that others know: a public key, say), a token says nothing, whatever its header calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from dashboard.access.oidc.errors import ProviderSignInError, Reason

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
SKEW_SECONDS = 60  # clocks differ
LONGEST_TOKEN = 100_000
LONGEST_SUBJECT = 255  # OpenID Connect Core 2


_CURVES = frozenset({"P-256", "P-384", "P-521", "Ed25519"})


class UnknownKeyError(Exception):
    """The token names a key that is not among those given: ask the provider for its keys again."""


@dataclass(frozen=True)
class Expected:
    """What a token must say. Times are seconds since 1970; `since` is when its sign-in began."""

    issuer: str
    client_id: str
    nonce: str
    since: float
    now: float


def count_usable(keys: KeySet) -> int:
    """How many of `keys` a signature that we take can be checked with."""
    return sum(_can_verify(key) for key in keys.keys)


def _can_verify(key: Any) -> bool:
    """By what the key says of itself (RFC 7517, section 4): its kind, what it is for, and its algorithm."""
    is_of_kind = key.key_type == "RSA" or (key.key_type in {"EC", "OKP"} and key.get("crv") in _CURVES)
    return is_of_kind and key.get("use") in {None, "sig"} and key.get("alg") in {None, *ALGORITHMS}


def check(token: object, keys: KeySet, expected: Expected, *, access_token: str | None = None) -> Mapping[str, Any]:
    """The claims of a token that holds; `access_token` is the one that came with it.

    Raises:
        ProviderSignInError: it does not (MISTRUSTED).
        UnknownKeyError: it was signed with another key than these, perhaps.
    """
    if not isinstance(token, str) or not 0 < len(token) <= LONGEST_TOKEN:
        raise ProviderSignInError(Reason.MISTRUSTED, "there is no ID token, or one that is too long")
    try:
        opened = jwt.decode(token, keys, algorithms=ALGORITHMS)
        claims = CodeIDToken(
            opened.claims,
            opened.header,
            options={
                "iss": {"essential": True, "value": expected.issuer},
                "aud": {"essential": True, "value": expected.client_id},
            },
            params={"nonce": expected.nonce, "client_id": expected.client_id, "access_token": access_token},
        )
        claims.validate(now=int(expected.now), leeway=SKEW_SECONDS)
    except InvalidKeyIdError:
        raise UnknownKeyError from None
    except (JoseError, ValueError, TypeError) as exc:  # a token is anybody's text until it is checked
        claim = getattr(exc, "claim", "")
        raise ProviderSignInError(Reason.MISTRUSTED, f"{type(exc).__name__} {claim}".strip()) from None
    if claims["iat"] < expected.since - SKEW_SECONDS:
        raise ProviderSignInError(Reason.MISTRUSTED, "it was made before this sign-in began")
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise ProviderSignInError(Reason.MISTRUSTED, "its subject is no text of 1 to 255 characters")
    return dict(claims)
