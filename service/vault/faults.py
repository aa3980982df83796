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
    474: (FailureCause.STANDBY, "this node is a standby that finds no active one; see to the cluster"),
    503: (FailureCause.SERVER_ERROR, "it is unavailable, or what stands before it is"),
    530: (FailureCause.SERVER_ERROR, "this node was removed from its cluster"),
}
_SEALED = (FailureCause.SEALED, "it is sealed; unseal it (docs/secrets.md)")
HEALTH_TELLS_MORE = frozenset({429, 500, 502, 503})
"""Statuses behind which `sys/health` may know a better one."""


def error_of_answer(status: int, words: Iterable[str] | None, *, doing: Doing, where: str) -> SecretsSourceError:
    """The error for an answer of Vault's; `where` is what was asked for, `words` are its `errors`, cleaned.

    Without them (None) the answer is a proxy's, whose word on our credentials is none.
    """
    quote = _quoted(words or ())
    if doing is Doing.UNWRAPPING and status == http.HTTPStatus.BAD_REQUEST and "wrapping token is not valid" in quote:
        return SecretsSourceError(
            f"Vault refuses to unwrap the secret id ({status}): the wrapping token has expired, or somebody else has"
            " used it (docs/secrets.md).",
            cause=FailureCause.WRAP_USED,
        )
    logs_in = doing in {Doing.LOGIN, Doing.UNWRAPPING}
    if logs_in and words is not None and status in _LOGIN_STATUSES:
        return SecretsSourceError(
            f"Vault refuses our login at {where} ({status}){quote}.", cause=FailureCause.LOGIN_REFUSED
        )
    if status == http.HTTPStatus.FORBIDDEN and not logs_in:
        return SecretsSourceError(
            f"Vault denies {doing.value} at {where} (403): the policy must allow it, and mount and path must be right.",
            cause=FailureCause.DENIED,
        )
    if status in {404, 405} and not logs_in:
        return SecretsSourceError(
            f"Vault has nothing at {where} ({status}): check VAULT_KV_MOUNT, which is of version 2, and VAULT_KV_PATH.",
            cause=FailureCause.WRONG_PATH,
        )
    if 300 <= status < 400:
        return SecretsSourceError(
            f"Vault answers {doing.value} with a redirection ({status}): set VAULT_ADDR to where it leads.",
            cause=FailureCause.STANDBY,
        )
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE and "sealed" in quote:
        return _not_served(doing, status, _SEALED, quote)
    found = _BY_STATUS.get(
        status,
        (FailureCause.SERVER_ERROR, "it failed") if status >= 500 else (FailureCause.BAD_ANSWER, "it cannot be used"),
    )
    return _not_served(doing, status, found, quote)


def _not_served(doing: Doing, status: int, found: tuple[FailureCause, str], quote: str = "") -> SecretsSourceError:
    cause, meaning = found
    return SecretsSourceError(f"Vault did not serve {doing.value} ({status}): {meaning}{quote}.", cause=cause)


def error_of_health(status: int, *, doing: Doing) -> SecretsSourceError | None:
    """What `sys/health` says is wrong, by its status (200 active, 429 standby, see Vault's docs); None if nothing."""
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return SecretsSourceError(
            f"Vault did not serve {doing.value}: this node is a standby; set VAULT_ADDR to one that answers.",
            cause=FailureCause.STANDBY,
        )
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return _not_served(doing, status, _SEALED)
    if status in _BY_STATUS:
        return error_of_answer(status, (), doing=doing, where="")
    return None


def error_of_exception(exc: Exception, *, doing: Doing, seconds: float) -> SecretsSourceError:
    """The error for a request that came to no answer."""
    chain = list(_chain(exc))
    distrust = next((one for one in chain if isinstance(one, ssl.SSLCertVerificationError)), None)
    if distrust is not None:
        return SecretsSourceError(
            f"Vault's certificate cannot be trusted: {distrust.verify_message}; check VAULT_CACERT.",
            cause=FailureCause.TLS,
        )
    failure = next((one for one in chain if isinstance(one, ssl.SSLError)), None)
    if failure is not None:
        reason = f" ({failure.reason})" if failure.reason else ""
        return SecretsSourceError(
            f"TLS with Vault does not come about{reason}; check that VAULT_ADDR is one that speaks it.",
            cause=FailureCause.TLS,
        )
    if isinstance(exc, requests.exceptions.InvalidURL | UnicodeError):
        return SecretsSourceError("VAULT_ADDR is no address that can be reached.", cause=FailureCause.UNREACHABLE)
    if any(isinstance(one, requests.Timeout | TimeoutError) for one in chain):
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
