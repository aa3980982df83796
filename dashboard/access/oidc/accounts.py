"""The accounts of those who come by the provider.

The key decision: an account's id is made of the issuer and the provider's subject, which never change and which nobody
chooses; by it, and by nothing else, the account is found. The name is for people: it ends with a piece of the id, so
that it is never that of a user with a password, whatever somebody calls themselves at the provider. Addresses decide
nothing; one that the provider has not verified is not even shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.storage import AdminRole, AdminUser, AdminUsers, AuditLog, Database, UserExistsError

LONGEST_SHOWN = 80
BY = {"by": "provider"}
_MARK = "oidc"  # other ids are hexadecimal digits alone
_ID_LENGTH = 32


class Accounts:
    """Finds and makes them. Every method raises ServiceUnavailableError when the database does not answer."""

    def __init__(self, database: Database, *, users: AdminUsers, audit: AuditLog) -> None:
        self._database = database
        self._users = users
        self._audit = audit

    def settle(
        self, issuer: str, claims: Mapping[str, Any], role: AdminRole, *, address: str, request_id: str
    ) -> AdminUser:
        """The account of whoever `claims` are about, with this role from now on; made if there is none yet.

        A disabled one is given back as it is, and whoever calls lets nobody in.
        """
        user_id = id_of(issuer, claims["sub"])
        user = self._users.get(user_id)
        if user is None:
            user = self._made(user_id, shown_name(claims, user_id), role, address=address, request_id=request_id)
        if not user.is_enabled or user.role is role:
            return user
        with self._database.writing() as session:
            self._users.set_role(user_id, role, within=session)
            self._audit.append(
                actor=user.name,
                action="user.role",
                subject=user.name,
                before={"role": user.role.value},
                after={"role": role.value, **BY},
                address=address,
                request_id=request_id,
                within=session,
            )
        return replace(user, role=role)

    def _made(self, user_id: str, name: str, role: AdminRole, *, address: str, request_id: str) -> AdminUser:
        try:
            with self._database.writing() as session:
                user = self._users.create(name, role, user_id=user_id, within=session)
                self._audit.append(
                    actor=user.name,
                    action="user.create",
                    subject=user.name,
                    after={"role": role.value, "enabled": True, **BY},
                    address=address,
                    request_id=request_id,
                    within=session,
                )
                return user
        except UserExistsError:
            found = self._users.get(user_id)  # made by the same person's other tab, a moment ago
            if found is None:
                raise
            return found


def id_of(issuer: str, subject: str) -> str:
    """The account's id: 112 bits of a digest, so nobody can look for a subject that has another's."""
    digest = hashlib.sha256(f"{len(issuer)}:{issuer}{subject}".encode("utf-8", "replace")).hexdigest()
    return f"{_MARK}{digest}"[:_ID_LENGTH]


def is_from_provider(user: AdminUser) -> bool:
    """Tell whether the provider says who this is, and not a password of ours."""
    return user.id.startswith(_MARK)


def shown_name(claims: Mapping[str, Any], user_id: str) -> str:
    """What the account is called from its first sign-in on."""
    verified = claims.get("email") if claims.get("email_verified") is True else None
    candidates = (claims.get("preferred_username"), verified, claims.get("sub"))
    readable = next(filter(None, map(_readable, candidates)), "somebody")
    return f"{readable} · {user_id[len(_MARK) :][:8]}"


def _readable(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(character for character in text if character.isprintable()).strip()[:LONGEST_SHOWN].strip()
