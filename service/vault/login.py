"""The ways to log in to Vault: with a token, as an AppRole, as a Kubernetes service account.

The key decision: what is given in a file is read again at each login, because whoever wrote it (Vault agent, the
kubelet, an operator) writes it anew before the old one ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import structlog

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault.client import Grant, VaultClient
from service.vault.unwrapped import UnwrappedSecretIds

log = structlog.get_logger(__name__)

LogIn = Callable[[VaultClient], Grant]
"""Asks Vault for a token; raises SecretsSourceError."""

_MOST_BYTES = 65_536


def given(variable: str, value: Secret | None, file: Path | None) -> Callable[[], Secret]:
    """What reads a credential that is set as `variable`, or lies in the `file` that `variable`_FILE names."""
    if file is None:
        return lambda: Secret.checked(variable, value.reveal() if value is not None else None)

    def read() -> Secret:
        try:
            with file.open("rb") as source:
                text = source.read(_MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError as exc:
            raise SecretsSourceError(
                f"{variable}_FILE: {file} cannot be read ({exc.strerror}).", cause=FailureCause.LOGIN_REFUSED
            ) from None
        return Secret.checked(f"What is in {variable}_FILE", text)

    return read


def with_token(read_token: Callable[[], Secret]) -> LogIn:
    """Use a token that was made for us."""
    return lambda client: client.look_up(read_token())


def with_approle(role_id: Callable[[], Secret], secret_id: Callable[[VaultClient], Secret], *, mount: str) -> LogIn:
    """Log in as an AppRole."""
    return lambda client: client.log_in_with_approle(role_id().reveal(), secret_id(client), mount=mount)


def with_kubernetes(role: str, read_jwt: Callable[[], Secret], *, mount: str) -> LogIn:
    """Log in as a service account of Kubernetes."""
    return lambda client: client.log_in_with_kubernetes(role, read_jwt(), mount=mount)


def plain_secret_id(read: Callable[[], Secret]) -> Callable[[VaultClient], Secret]:
    """A secret id as it was given."""
    return lambda _: read()


def wrapped_secret_id(
    read: Callable[[], Secret], kept: UnwrappedSecretIds, *, mount: str
) -> Callable[[VaultClient], Secret]:
    """A secret id inside a wrapping token, which is opened once for the node.

    A token that was opened before us, or that holds something else, is a sign that somebody has had it in hand: that is
    logged as a security event.
    """
    good_path = re.compile(rf"auth/{re.escape(mount)}/role/[^/]+/secret-id")  # all of it: a KV path may end like this

    def secret_id(client: VaultClient) -> Secret:
        def unwrap(wrapping_token: Secret) -> Secret:
            try:
                path = client.creation_path(wrapping_token)
                if not good_path.fullmatch(path):
                    raise SecretsSourceError(
                        f"The wrapping token holds no secret id of auth/{mount}: somebody may have exchanged it"
                        " (docs/secrets.md).",
                        cause=FailureCause.WRAP_USED,
                    )
                return client.unwrap_secret_id(wrapping_token)
            except SecretsSourceError as exc:
                if exc.cause == FailureCause.WRAP_USED:
                    log.warning("wrapped secret id was already used", security_event=True, reason=str(exc))
                raise

        return kept.secret_id(read(), unwrap)

    return secret_id
