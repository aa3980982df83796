"""What we ask of Vault, each question once: no retry, because whoever calls has a loop of its own for that.

The key decision: every way out is a value or a `SecretsSourceError`. What hvac or requests raise holds the request, and
with it the token, so it ends here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hvac
import requests

from service.errors import SecretsSourceError
from service.metrics import FailureCause
from service.secret import Secret
from service.vault.faults import HEALTH_TELLS_MORE, Doing, error_of_answer, error_of_exception, error_of_health
from service.vault.session import BoundedSession, QuietAdapter, document_of, make_vault_context

T = TypeVar("T")


@dataclass(frozen=True)
class Grant:
    """A token as Vault hands it out: `lease_seconds` is 0 if it does not end."""

    token: Secret
    lease_seconds: float
    is_renewable: bool


@dataclass(frozen=True)
class Entry:
    """One version of what lies at a path of the KV engine; the values are still as Vault has them."""

    fields: Mapping[str, Any] = field(repr=False)
    version: int


class VaultClient:
    """Vault at `address`. Connects when it is first asked something; one thread at a time uses it."""

    def __init__(
        self, address: str, *, namespace: str | None, ca_file: Any = None, verify: bool = True, seconds: float = 5.0
    ) -> None:
        self.address = address.rstrip("/")
        self._seconds = seconds
        self._session = BoundedSession(make_vault_context(address, ca_file, verify=verify))
        self._hvac: Any = hvac.Client(
            url=self.address,
            token="",  # not None, for which hvac would look into the environment and into ~/.vault-token
            verify=verify,
            timeout=seconds,
            allow_redirects=False,  # requests would take our token along to another host
            session=self._session,
            adapter=QuietAdapter,
            namespace=namespace,
        )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    # --- Logging in. Each raises SecretsSourceError.

    def log_in_with_approle(self, role_id: str, secret_id: Secret, *, mount: str) -> Grant:
        """A token for an AppRole."""
        return self._ask(
            lambda api: api.auth.approle.login(role_id, secret_id.reveal(), use_token=False, mount_point=mount),
            _grant,
            doing=Doing.LOGIN,
            where=f"auth/{mount}",
            cut=(secret_id,),
        )

    def log_in_with_kubernetes(self, role: str, jwt: Secret, *, mount: str) -> Grant:
        """A token for a service account."""
        return self._ask(
            lambda api: api.auth.kubernetes.login(role, jwt.reveal(), use_token=False, mount_point=mount),
            _grant,
            doing=Doing.LOGIN,
            where=f"auth/{mount}",
            cut=(jwt,),
        )

    def look_up(self, token: Secret) -> Grant:
        """What is left of a token that somebody else has made."""
        return self._ask(
            lambda api: api.auth.token.lookup_self(),
            lambda answer: _looked_up(token, answer),
            doing=Doing.LOGIN,
            where="auth/token",
            token=token,
        )

    def renew(self, token: Secret) -> Grant:
        """The token with a new lease, which may be shorter than the one of before."""
        return self._ask(
            lambda api: api.auth.token.renew_self(),
            _grant,
            doing=Doing.RENEWAL,
            where="auth/token/renew-self",
            token=token,
        )

    # --- A response-wrapped secret id. Each raises SecretsSourceError.

    def creation_path(self, wrapping_token: Secret) -> str:
        """What the answer that is wrapped was asked for at; looking does not use it up."""
        return self._ask(
            lambda api: api.adapter.post("/v1/sys/wrapping/lookup", json={"token": wrapping_token.reveal()}),
            lambda answer: str(answer["data"]["creation_path"]),
            doing=Doing.UNWRAPPING,
            where="sys/wrapping/lookup",
            cut=(wrapping_token,),
        )

    def unwrap_secret_id(self, wrapping_token: Secret) -> Secret:
        """The secret id inside; a second time there is none."""
        return self._ask(
            lambda api: api.sys.unwrap(),
            lambda answer: Secret.checked("The secret id that was unwrapped", answer["data"]["secret_id"]),
            doing=Doing.UNWRAPPING,
            where="sys/wrapping/unwrap",
            token=wrapping_token,
        )

    # --- Reading

    def read(self, token: Secret, *, mount: str, path: str) -> Entry:
        """The newest version of `path`; raises SecretsSourceError."""
        where = f"{mount}/data/{path}"
        return self._ask(
            lambda api: api.secrets.kv.v2.read_secret_version(
                path=path, mount_point=mount, raise_on_deleted_version=True
            ),
            lambda answer: _entry(answer, where),
            doing=Doing.READING,
            where=where,
            token=token,
        )

    # --- The one way there

    def _ask(
        self,
        question: Callable[[Any], Any],
        take: Callable[[dict[str, Any]], T],
        *,
        doing: Doing,
        where: str,
        token: Secret | None = None,
        cut: tuple[Secret, ...] = (),
    ) -> T:
        """What `take` makes of the answer to `question`; an answer without it makes no sense."""
        self._hvac.token = token.reveal() if token is not None else ""
        try:
            return self._taken(question, take, doing=doing, where=where, cut=(*cut, *([token] if token else [])))
        except SecretsSourceError as exc:
            # The frames that it came through hold Vault's answer, and the request with the token.
            error = exc.with_traceback(None)
            error.__context__ = None
        finally:
            self._hvac.token = ""
        raise error

    def _taken(
        self,
        question: Callable[[Any], Any],
        take: Callable[[dict[str, Any]], T],
        *,
        doing: Doing,
        where: str,
        cut: tuple[Secret, ...],
    ) -> T:
        try:
            answer = question(self._hvac)
        except (requests.RequestException, ValueError, OSError) as exc:
            raise error_of_exception(exc, doing=doing, seconds=self._seconds) from None
        if not isinstance(answer, dict):
            raise self._error_of(answer, doing=doing, where=where, cut=cut)
        try:
            return take(answer)
        except (KeyError, TypeError, ValueError):
            raise SecretsSourceError(
                f"Vault's answer to {doing.value} makes no sense.", cause=FailureCause.BAD_ANSWER
            ) from None

    def _error_of(
        self, answer: requests.Response, *, doing: Doing, where: str, cut: tuple[Secret, ...]
    ) -> SecretsSourceError:
        status = answer.status_code
        document = document_of(answer) or {}
        if doing is Doing.READING and status == requests.codes.not_found and _is_deleted(document):
            return _deleted(where)
        if status in HEALTH_TELLS_MORE:
            found = error_of_health(self._health_status(), doing=doing)
            if found is not None:
                return found
        return error_of_answer(status, _words(document, cut), doing=doing, where=where)

    def _health_status(self) -> int:
        """The status of `sys/health`; 0 if there is no answer, or one that is none of Vault's.

        Not by hvac, which would send our token and our namespace: OpenBao serves it in none.
        """
        try:
            answer = self._session.get(f"{self.address}/v1/sys/health", timeout=self._seconds, allow_redirects=False)
        except (requests.RequestException, SecretsSourceError, ValueError, OSError):
            return 0
        return answer.status_code if document_of(answer) is not None else 0


def _grant(answer: Mapping[str, Any]) -> Grant:
    fields = answer["auth"]
    token = Secret.checked("The token that Vault gave us", fields["client_token"])
    return Grant(token, float(fields["lease_duration"]), bool(fields["renewable"]))


def _looked_up(token: Secret, answer: Mapping[str, Any]) -> Grant:
    fields = answer["data"]
    seconds = float(fields["ttl"])
    if not seconds and fields.get("expire_time"):
        raise SecretsSourceError("The token that we were given is about to end.", cause=FailureCause.LOGIN_REFUSED)
    return Grant(token, seconds, bool(fields.get("renewable")))


def _entry(answer: Mapping[str, Any], where: str) -> Entry:
    try:
        fields, version = answer["data"]["data"], int(answer["data"]["metadata"]["version"])
    except (KeyError, TypeError, ValueError):
        raise SecretsSourceError(
            f"Vault's answer for {where} is not one of a KV engine of version 2; check VAULT_KV_MOUNT.",
            cause=FailureCause.WRONG_PATH,
        ) from None
    if not isinstance(fields, dict):
        raise _deleted(where)
    return Entry(fields, version)


def _words(document: Mapping[str, Any], cut: tuple[Secret, ...]) -> list[str] | None:
    """Vault's own words, without what we sent; None if the answer is none of Vault's."""
    errors = document.get("errors")
    if not isinstance(errors, list):
        return None
    words = [str(one) for one in errors]
    for secret in cut:
        words = [one.replace(secret.reveal(), "[hidden]") for one in words]
    return [re.sub(r"[^\x20-\x7e]+", " ", one) for one in words]


def _is_deleted(document: Mapping[str, Any]) -> bool:
    try:
        metadata = document["data"]["metadata"]
        return bool(metadata.get("deletion_time") or metadata.get("destroyed"))
    except (KeyError, TypeError, AttributeError):
        return False


def _deleted(where: str) -> SecretsSourceError:
    return SecretsSourceError(
        f"The newest version of {where} was deleted; `vault kv undelete` it or write another.",
        cause=FailureCause.DELETED,
    )
