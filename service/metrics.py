"""Every metric: its name, what it means, its unit, its labels; and one function for each thing that can be told.

The key decision: callers tell what happened (`secrets_failed(cause)`), never a metric's name or a label's text, so that
labels come from closed sets and every series is there from the start, at 0. In a worker the numbers lie in its files
(`metrics_files.py`), where the ops listener adds up what all workers say; in any other process, in memory.

A gauge's mode says which answer is right when workers differ, and all begin with `live`: what a dead worker last said
is no longer true.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import Counter, Gauge, values

from service import __version__, metrics_files, metrics_pages

# Before the first metric is made. By default the library would ask for the process's id, and for a variable alone, and
# write where there is no room.
values.MmapedDict = metrics_pages.KeptPages  # type: ignore[attr-defined]
values.ValueClass = (
    values.MutexValue if metrics_files.place() is None else values.MultiProcessValue(metrics_files.place)  # type: ignore[no-untyped-call]
)


OTHER = "other"
"""What a label says in production whose text is from outside its closed set."""


class UnknownLabelError(ValueError):
    """A label's text is from outside its closed set: a mistake of ours, which only tests raise."""


@dataclass
class _Policy:
    is_strict: bool = True


_policy = _Policy()


class SecretsState(StrEnum):
    """How good the secrets are that a worker has."""

    MISSING = "missing"
    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class FailureCause(StrEnum):
    """Why secrets could not be read."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    SEALED = "sealed"
    STANDBY = "standby"
    NOT_INITIALIZED = "not_initialized"
    THROTTLED = "throttled"
    DENIED = "denied"
    LOGIN_REFUSED = "login_refused"
    WRAP_USED = "wrap_used"
    WRONG_PATH = "wrong_path"
    DELETED = "deleted"
    MISSING_FIELD = "missing_field"
    BAD_VALUE = "bad_value"
    BAD_ANSWER = "bad_answer"
    SERVER_ERROR = "server_error"


class BackupPart(StrEnum):
    """A part of the backup that an OpenAI-compatible endpoint may do."""

    CHAT = "chat"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"


class PartFailure(StrEnum):
    """Why an endpoint did not do its part."""

    SLOW = "slow"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    BROKEN = "broken"


class RecordLoss(StrEnum):
    """Why a record of a conversation was dropped."""

    NO_MEMORY = "no_memory"  # Redis and the database were away for too long
    REFUSED = "refused"  # by the database
    UNREADABLE = "unreadable"  # another release's, or nobody's
    FENCED = "fenced"  # another worker went on with the conversation meanwhile
    FORGOTTEN = "forgotten"  # Redis lost it before the database had it, and nobody else had it any more
    ENDED = "ended"  # with the process


class RecordPath(StrEnum):
    """How a record of a conversation came to the database."""

    LEDGER = "ledger"  # through Redis
    DIRECT = "direct"  # Redis was away


class ResumeOutcome(StrEnum):
    """What came of a client that wanted to go on with its conversation."""

    HERE = "here"  # on the worker where it was
    TAKEN_OVER = "taken_over"  # from another worker
    INVALID = "invalid"
    USED = "used"
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"  # it may try again


class KeptKind(StrEnum):
    """What is deleted when it is too old."""

    UTTERANCE = "utterance"
    CONVERSATION = "conversation"
    AUDIT_ENTRY = "audit_entry"
    TOMBSTONE = "tombstone"


BUILD_INFO = Gauge(
    "vocero_build_info",
    "Always 1: the version that runs is a label. Two versions at once are a deployment under way.",
    ["version"],
    multiprocess_mode="livemax",
)
SECRETS_READ = Gauge(
    "vocero_secrets_read_timestamp_seconds",
    "Unix time at which the secrets were last read, of the worker for which that is the longest ago; 0: not yet.",
    multiprocess_mode="livemin",
)
SECRETS_VERSION = Gauge(
    "vocero_secrets_version",
    "Version of the entry in Vault that is in use, of the worker that has the oldest one; 0: none, or not from Vault.",
    multiprocess_mode="livemin",
)
SECRETS_STATE = Gauge(
    "vocero_secrets_state",
    "Workers whose secrets are in this state: missing, fresh, stale (still used) or expired (no longer used).",
    ["state"],
    multiprocess_mode="livesum",
)
SECRETS_FAILURES = Counter(
    "vocero_secrets_failures",
    "Attempts to read the secrets that failed, by cause.",
    ["cause"],
)
SECRETS_ROTATIONS = Counter(
    "vocero_secrets_rotations",
    "Times that a worker took over secrets which had changed.",
)
VAULT_TOKEN_EXPIRY = Gauge(
    "vocero_vault_token_expiry_timestamp_seconds",
    "Unix time at which the Vault token ends, of the worker for which that is the soonest; +Inf: never, or no token.",
    multiprocess_mode="livemin",
)

RECORDS_PENDING = Gauge(
    "vocero_records_pending",
    "Records of conversations that workers hold in memory because the database does not have them yet, of all workers.",
    multiprocess_mode="livesum",
)
RECORDS_APPENDED = Counter(
    "vocero_records_appended",
    "Records of conversations (beginnings, legs, utterances, endings) that were appended to the ledger in Redis.",
)
RECORDS_WRITTEN = Counter(
    "vocero_records_written",
    "Records of conversations that were written to the database, by path: ledger, or direct (Redis was away).",
    ["path"],
)
RECORDS_LOST = Counter(
    "vocero_records_lost",
    "Records of conversations that were dropped, by cause.",
    ["cause"],
)
RECORDS_LAG = Gauge(
    "vocero_records_lag_seconds",
    "Age of the oldest record in the ledger that is not in the database yet, of the whole service; 0: there is none.",
    multiprocess_mode="livemax",
)

RETENTION_LAST_RUN = Gauge(
    "vocero_retention_last_run_timestamp_seconds",
    "Unix time at which the job that deletes what is too old last came to its end, on whichever node; 0: never yet.",
    multiprocess_mode="livemax",
)
RETENTION_DELETED = Counter(
    "vocero_retention_deleted",
    "Rows that were deleted because they were too old, by kind; a conversation's takes along what hangs on it.",
    ["kind"],
)
ERASURES_PENDING = Gauge(
    "vocero_erasures_pending",
    "Orders to erase a conversation or a user that were not carried out to their end yet, of the whole service.",
    multiprocess_mode="livemax",
)
PROVIDER_DELETIONS_PENDING = Gauge(
    "vocero_provider_deletions_pending",
    "Erased conversations whose deletion at ElevenLabs is not confirmed yet, of the whole service.",
    multiprocess_mode="livemax",
)
PROVIDER_DELETION_FAILURES = Counter(
    "vocero_provider_deletion_failures",
    "Attempts to have ElevenLabs delete an erased conversation that failed; each is made again later.",
)

BACKUP_PART_FAILURES = Counter(
    "vocero_backup_part_failures",
    "Sentences, answers and utterances that the OpenAI-compatible endpoint failed at, and that the local part did.",
    ["part", "cause"],
)

RESUMES = Counter(
    "vocero_resumes",
    "Clients that came back to their conversation with a token, by outcome: here, taken_over (from another worker),"
    " or refused: invalid, used, expired, unavailable (it may try again).",
    ["outcome"],
)
DRAINING = Gauge(
    "vocero_workers_draining",
    "Workers that are leaving: they take no conversation any more, and let those that they have end their turn.",
    multiprocess_mode="livesum",
)
DRAINED = Counter(
    "vocero_conversations_drained",
    "Conversations that a leaving worker sent away with close code 1012, by whether their turn had ended in time.",
    ["in_time"],
)
LABELS_REJECTED = Counter(
    "vocero_label_values_rejected",
    "Labels of metrics whose text was from outside their closed set; they were told as other.",
)


def hold_labels(*, strictly: bool) -> None:
    """From now on a label from outside its closed set is an error (as it is from the start), or told as `other`."""
    _policy.is_strict = strictly


def closed(allowed: type[StrEnum] | frozenset[str], text: str) -> str:
    """`text` as a label, if it is one of those that are `allowed`, else `other`.

    Raises:
        UnknownLabelError: it is none of them, and labels are held strictly. The text is not told: it is from outside.
    """
    texts = _texts(allowed)
    if text in texts or text == OTHER:
        return str(text)
    if _policy.is_strict:
        raise UnknownLabelError(f"A label's text is none of: {', '.join(sorted(texts))}.")
    LABELS_REJECTED.inc()
    return OTHER


@functools.cache
def _texts(allowed: type[StrEnum] | frozenset[str]) -> frozenset[str]:
    return frozenset(str(each) for each in allowed)


def secrets_are(state: SecretsState) -> None:
    """Tell the state that this worker's secrets are in."""
    for each in SecretsState:
        SECRETS_STATE.labels(state=each.value).set(each is state)


def secrets_read(*, at: float, version: int) -> None:
    """Tell that the secrets were read `at` this Unix time, in this version of Vault's entry (0: not from Vault)."""
    SECRETS_READ.set(at)
    SECRETS_VERSION.set(version)


def secrets_failed(cause: FailureCause) -> None:
    """Count an attempt to read the secrets that failed."""
    SECRETS_FAILURES.labels(cause=cause.value).inc()


def secrets_rotated() -> None:
    """Count that this worker uses other secrets from now on."""
    SECRETS_ROTATIONS.inc()


def vault_token_ends(at: float | None) -> None:
    """Tell the Unix time at which the Vault token ends; None if it does not, or there is none."""
    VAULT_TOKEN_EXPIRY.set(math.inf if at is None else at)


def records_wait(count: int) -> None:
    """Tell how many records of conversations this worker holds that the database does not have yet."""
    RECORDS_PENDING.set(count)


def records_were_appended(count: int) -> None:
    """Count records of conversations that are in the ledger now."""
    RECORDS_APPENDED.inc(count)


def records_were_written(count: int, path: RecordPath = RecordPath.LEDGER) -> None:
    """Count records of conversations that the database has taken."""
    RECORDS_WRITTEN.labels(path=path.value).inc(count)


def records_were_lost(count: int, cause: RecordLoss) -> None:
    """Count records of conversations that were dropped."""
    RECORDS_LOST.labels(cause=cause.value).inc(count)


def records_lag(seconds: float) -> None:
    """Tell how old the oldest record is that waits in the ledger for the database."""
    RECORDS_LAG.set(seconds)


def retention_ran(at: float) -> None:
    """Tell the Unix time at which retention last came to its end, as the database has it; 0: never."""
    RETENTION_LAST_RUN.set(at)


def retention_deleted(kind: KeptKind, count: int) -> None:
    """Count rows that were deleted because they were too old."""
    RETENTION_DELETED.labels(kind=kind.value).inc(count)


def erasures_wait(*, orders: int, deletions: int) -> None:
    """Tell how many orders to erase are open, and how many deletions ElevenLabs has not confirmed."""
    ERASURES_PENDING.set(orders)
    PROVIDER_DELETIONS_PENDING.set(deletions)


def provider_deletion_failed() -> None:
    """Count an attempt to have a conversation deleted at ElevenLabs that failed."""
    PROVIDER_DELETION_FAILURES.inc()


def backup_part_failed(part: BackupPart, cause: PartFailure) -> None:
    """Count what the endpoint failed at while the backup spoke."""
    BACKUP_PART_FAILURES.labels(part=part.value, cause=cause.value).inc()


def resume_ended(outcome: ResumeOutcome) -> None:
    """Count a client that came back with a token."""
    RESUMES.labels(outcome=outcome.value).inc()


def worker_drains() -> None:
    """Tell that this worker is leaving."""
    DRAINING.set(1)


def conversations_were_drained(count: int, *, in_time: bool) -> None:
    """Count conversations that were sent away because this worker leaves."""
    DRAINED.labels(in_time=str(in_time).lower()).inc(count)


def _start_every_series() -> None:
    """A series that appears only with its first event hides that event from `increase()`."""
    BUILD_INFO.labels(version=__version__).set(1)
    secrets_are(SecretsState.MISSING)
    vault_token_ends(None)
    for cause in FailureCause:
        SECRETS_FAILURES.labels(cause=cause.value)
    for loss in RecordLoss:
        RECORDS_LOST.labels(cause=loss.value)
    for path in RecordPath:
        RECORDS_WRITTEN.labels(path=path.value)
    for outcome in ResumeOutcome:
        RESUMES.labels(outcome=outcome.value)
    for in_time in ("true", "false"):
        DRAINED.labels(in_time=in_time)
    for kind in KeptKind:
        RETENTION_DELETED.labels(kind=kind.value)
    for part in BackupPart:
        for failure in PartFailure:
            BACKUP_PART_FAILURES.labels(part=part.value, cause=failure.value)


_start_every_series()
