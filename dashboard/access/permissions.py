"""Who may do what: three permissions, and the table of every route that says which one it needs.

The key decision: what is not in the table is refused, whoever asks. A test walks every rule of the application, every
method and every role against it, so a route that somebody forgot is a failing test and not a hole.
"""

from __future__ import annotations

from enum import StrEnum

from service.storage import AdminRole


class Permission(StrEnum):
    """What a route needs of whoever asks; each includes the one before it."""

    PUBLIC = "public"  # nothing: the way in, and what it is made of
    LOOK = "look"  # any user: see, and look after one's own password and sessions
    OPERATE = "operate"  # change how the service runs; read what people said
    ADMINISTER = "administer"  # users and keys


GRANTED: dict[AdminRole, frozenset[Permission]] = {
    AdminRole.VIEWER: frozenset({Permission.PUBLIC, Permission.LOOK}),
    AdminRole.OPERATOR: frozenset({Permission.PUBLIC, Permission.LOOK, Permission.OPERATE}),
    AdminRole.ADMIN: frozenset(Permission),
}

_P, _L, _O, _A = Permission.PUBLIC, Permission.LOOK, Permission.OPERATE, Permission.ADMINISTER

ROUTES: dict[tuple[str, str], Permission] = {
    # The way in
    ("GET", "/login"): _P,
    ("POST", "/login"): _P,
    ("GET", "/login/oidc"): _P,
    ("GET", "/login/oidc/callback"): _P,
    ("GET", "/login/oidc/confirm"): _L,
    ("POST", "/language"): _P,
    ("GET", "/livez"): _P,
    ("GET", "/version"): _L,
    ("GET", "/static/<path:filename>"): _P,
    ("POST", "/logout"): _L,
    # Overview
    ("GET", "/"): _L,
    ("GET", "/api/overview"): _L,
    ("GET", "/api/history"): _L,
    ("GET", "/api/live"): _L,
    # Pool
    ("GET", "/pool"): _L,
    ("GET", "/api/pool"): _L,
    ("POST", "/api/pool/orders"): _O,
    ("GET", "/api/orders/<order_id>"): _L,
    # Fallback
    ("GET", "/fallback"): _L,
    ("GET", "/api/fallback"): _L,
    ("GET", "/api/fallback/<capability>/preview"): _L,
    ("POST", "/api/fallback/<capability>"): _O,
    ("POST", "/api/fallback/canary"): _O,
    ("GET", "/api/fallback/canary/<order_id>"): _O,
    ("GET", "/api/fallback/canary/<order_id>/sound"): _O,
    # Conversations
    ("GET", "/conversations"): _L,
    ("GET", "/conversations/<conversation_id>"): _L,
    ("GET", "/api/conversations"): _L,
    ("GET", "/api/conversations/<conversation_id>"): _L,
    ("GET", "/api/conversations/<conversation_id>/transcript"): _O,
    ("GET", "/api/conversations/<conversation_id>/export"): _O,
    ("POST", "/api/conversations/<conversation_id>/end"): _O,
    ("POST", "/api/conversations/<conversation_id>/erase"): _A,
    ("POST", "/api/conversations/erase-user"): _A,
    # Secrets
    ("GET", "/secrets"): _L,
    ("GET", "/api/secrets"): _L,
    ("POST", "/api/secrets/refresh"): _O,
    # Keys of integrators
    ("GET", "/keys"): _A,
    ("GET", "/api/keys"): _A,
    ("POST", "/api/keys"): _A,
    ("POST", "/api/keys/<key_id>/limits"): _A,
    ("POST", "/api/keys/<key_id>/revoke"): _A,
    # Users
    ("GET", "/users"): _A,
    ("GET", "/api/users"): _A,
    ("POST", "/api/users"): _A,
    ("POST", "/api/users/<user_id>"): _A,
    ("POST", "/api/users/<user_id>/password"): _A,
    ("POST", "/api/users/<user_id>/sessions/revoke"): _A,
    # One's own account
    ("GET", "/account"): _L,
    ("GET", "/api/account"): _L,
    ("POST", "/api/account/password"): _L,
    ("POST", "/api/account/confirm"): _L,
    ("POST", "/api/account/sessions/<session_id>/revoke"): _L,
    ("POST", "/api/account/sessions/revoke-all"): _L,
    # Audit
    ("GET", "/audit"): _O,
    ("GET", "/api/audit"): _O,
    ("GET", "/api/audit/export"): _O,
    ("GET", "/api/audit/verify"): _O,
    # The API's description
    ("GET", "/api/openapi.json"): _L,
}
"""By method and rule as Flask writes it. A HEAD is a GET; OPTIONS is answered to nobody."""
