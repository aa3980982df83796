"""What went wrong at Vault, told in one line to the operator who has to mend it.

The key decision: Vault's answers are read here and nowhere else. Vault's own words are shown where they help (they hold
no secret of ours: what we sent is cut out), but which `FailureCause` it is says the status first.
"""

from __future__ import annotations

import http
import ssl
from collections.abc import Iterable, Iterator
from enum import Enum

import requests
import urllib3

from service.errors import SecretsSourceError
from service.metrics import FailureCause

LONGEST_QUOTE = 200
_LOGIN_STATUSES = frozenset({400, 401, 403, 404, 405})


class Doing(Enum):
    """What we asked of Vault."""

    LOGIN = "logging in"
    RENEWAL = "renewing our token"
    UNWRAPPING = "unwrapping the secret id"
    READING = "reading the secrets"


_BY_STATUS = {
    412: (FailureCause.SERVER_ERROR, "this node has not caught up with the others yet"),
    429: (FailureCause.THROTTLED, "it limits how often it is asked"),
    472: (FailureCause.STANDBY, "this node is a disaster-recovery secondary; set VAULT_ADDR to the active cluster"),
    473: (FailureCause.STANDBY, "this node is a performance standby; set VAULT_ADDR to one that answers"),
    501: (FailureCause.NOT_INITIALIZED, "it is not initialised; run `vault operator init`"),
    503: (FailureCause.SEALED, "it is sealed; unseal it (docs/secrets.md)"),
}
HEALTH_TELLS_MORE = frozenset({429, 500, 502, 503})
"""Statuses behind which `sys/health` may know a better one."""


def error_of_answer(status: int, words: Iterable[str], *, doing: Doing, where: str) -> SecretsSourceError:
    """The error for an answer of Vault's; `where` is what was asked for, `words` are its `errors`, cleaned."""
    quote = _quoted(words)
    if doing is Doing.UNWRAPPING and status in _LOGIN_STATUSES:
        return SecretsSourceError(
            f"Vault refuses to unwrap the secret id ({status}): the wrapping token has expired, or somebody else has"
            " used it (docs/secrets.md).",
            cause=FailureCause.WRAP_USED,
        )
    if doing is Doing.LOGIN and status in _LOGIN_STATUSES:
        return SecretsSourceError(
            f"Vault refuses our login at {where} ({status}){quote}.", cause=FailureCause.LOGIN_REFUSED
        )
    if status == http.HTTPStatus.FORBIDDEN:
        return SecretsSourceError(
            f"Vault denies {doing.value} at {where} (403): the policy must allow it, and mount and path must be right.",
            cause=FailureCause.DENIED,
        )
    if status in {404, 405}:
        return SecretsSourceError(
            f"Vault has nothing at {where} ({status}): check VAULT_KV_MOUNT, which is of version 2, and VAULT_KV_PATH.",
            cause=FailureCause.WRONG_PATH,
        )
    if 300 <= status < 400:
        return SecretsSourceError(
            f"Vault answers {doing.value} with a redirection ({status}): set VAULT_ADDR to where it leads.",
            cause=FailureCause.STANDBY,
        )
    cause, meaning = _BY_STATUS.get(
        status,
        (FailureCause.SERVER_ERROR, "it failed") if status >= 500 else (FailureCause.BAD_ANSWER, "it cannot be used"),
    )
    return SecretsSourceError(f"Vault did not serve {doing.value} ({status}): {meaning}{quote}.", cause=cause)


def error_of_health(status: int, *, doing: Doing) -> SecretsSourceError | None:
    """What `sys/health` says is wrong, by its status (200 active, 429 standby, see Vault's docs); None if nothing."""
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return SecretsSourceError(
            f"Vault did not serve {doing.value}: this node is a standby; set VAULT_ADDR to one that answers.",
            cause=FailureCause.STANDBY,
        )
    if status in _BY_STATUS:
        return error_of_answer(status, (), doing=doing, where="")
    return None


def error_of_exception(exc: Exception, *, doing: Doing, seconds: float) -> SecretsSourceError:
    """The error for a request that came to no answer."""
    if any(isinstance(one, ssl.SSLError) for one in _chain(exc)):
        reason = next((one.verify_message for one in _chain(exc) if isinstance(one, ssl.SSLCertVerificationError)), "")
        return SecretsSourceError(
            "Vault's certificate cannot be trusted" + (f": {reason}" if reason else "") + "; check VAULT_CACERT.",
            cause=FailureCause.TLS,
        )
    if isinstance(exc, requests.Timeout):
        return SecretsSourceError(
            f"Vault was silent for {seconds:g} s while {doing.value}.", cause=FailureCause.TIMEOUT
        )
    if isinstance(exc, requests.ConnectionError):
        reason = next((one.strerror for one in _chain(exc) if isinstance(one, OSError) and one.strerror), "")
        return SecretsSourceError(
            f"Vault cannot be reached{f' ({reason})' if reason else ''}; check VAULT_ADDR.",
            cause=FailureCause.UNREACHABLE,
        )
    return SecretsSourceError(
        f"Vault's answer to {doing.value} makes no sense ({type(exc).__name__}).", cause=FailureCause.BAD_ANSWER
    )


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception, and those that requests and urllib3 have wrapped into it."""
    seen: list[BaseException] = []
    found: BaseException | None = exc
    while found is not None and found not in seen:
        seen.append(found)
        yield found
        inner = [one for one in found.args if isinstance(one, BaseException)]
        if isinstance(found, urllib3.exceptions.MaxRetryError) and found.reason is not None:
            inner.insert(0, found.reason)
        found = inner[0] if inner else found.__cause__ or found.__context__


def _quoted(words: Iterable[str]) -> str:
    text = " ".join("; ".join(words).split())
    return f": {text[:LONGEST_QUOTE]}" if text else ""
