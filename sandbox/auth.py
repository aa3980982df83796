"""Who may ask: the `xi-api-key` header, as strict as a test needs it.

The key decision: any key is good, so that nobody has to configure one, except those whose name says that they are
bad: a key that begins with `invalid` is refused as ElevenLabs refuses an unknown key.
"""

from __future__ import annotations

import hmac

from flask import request

from sandbox.errors import ApiError
from sandbox.state import SandboxState

BAD_KEY_PREFIX = "invalid"


def check_key(state: SandboxState, key: str | None) -> None:
    """Let a good key pass.

    Raises:
        ApiError: there is no key, or it is a bad one (401).
    """
    if not key:
        raise ApiError("missing_api_key")
    wanted = state.options.api_key
    if key.startswith(BAD_KEY_PREFIX) or (
        wanted is not None and not hmac.compare_digest(key.encode(), wanted.encode())
    ):
        raise ApiError("invalid_api_key")


def require_key(state: SandboxState) -> None:
    """Check the key of the request that is being served; see `check_key`."""
    check_key(state, key_of_request())


def key_of_request() -> str | None:
    """Give the key in the request's header, if any."""
    return request.headers.get("xi-api-key") or _bearer(request.headers.get("authorization"))


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
