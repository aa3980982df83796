"""What is told of the secrets, in the log and in the metrics.

The key decision: a line is logged when something changes, not each time it is so: an outage is one warning for each
cause it has, and one line when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from service import metrics
from service.errors import SecretsSourceError
from service.metrics import FailureCause, SecretsState
from service.secret import SecretName

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SecretsStatus:
    """What may be told of the secrets: never a value.

    `read_at`, `failed_at` and `lease_ends_at` are Unix times, `age_seconds` is a duration; None: not yet, or none.
    `last_error` stays when it is over: `failed_at` against `read_at` tells.
    """

    source: str
    state: SecretsState
    version: int
    names: tuple[SecretName, ...]
    read_at: float | None
    age_seconds: float | None
    lease_ends_at: float | None
    last_error: str | None
    last_cause: str | None
    failed_at: float | None


class SecretsReporter:
    """Tells of one `SecretsManager`; its thread calls it."""

    def __init__(self) -> None:
        self._warned_of: str | None = None

    def note_failure(self, error: SecretsSourceError) -> None:
        """The secrets, or the token that we read them with, could not be got."""
        metrics.secrets_failed(FailureCause(error.cause))
        if error.cause != self._warned_of:
            log.warning("secrets cannot be read", cause=error.cause, reason=str(error))
        self._warned_of = error.cause

    def note_success(self, status: SecretsStatus, *, changed: frozenset[SecretName], is_first: bool) -> None:
        """They were read; `changed` are those with another value than before."""
        if is_first:
            log.info(
                "secrets were read",
                source=status.source,
                version=status.version,
                names=sorted(name.value for name in status.names),
            )
        elif changed:
            metrics.secrets_rotated()
            log.info("secrets have changed", version=status.version, names=sorted(name.value for name in changed))
        if self._warned_of is not None and not is_first:
            log.info("secrets are read again")
        self._warned_of = None

    def report(self, status: SecretsStatus) -> None:
        """Set the gauges."""
        metrics.secrets_are(status.state)
        metrics.secrets_read(at=status.read_at or 0.0, version=status.version)
        metrics.vault_token_ends(status.lease_ends_at)
