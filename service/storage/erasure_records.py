"""Tombstones, deletions at providers and runs of jobs, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.storage.column_types import kept_identifier
from service.storage.conversation_records import LONGEST_ID, LONGEST_USER_ID


class SubjectKind(StrEnum):
    """What can be erased."""

    CONVERSATION = "conversation"
    USER = "user"


def subject_hash(kind: SubjectKind, subject: str) -> str:
    """The digest under which `subject`, a conversation's id of ours or a user's id, is remembered as erased.

    It is that of what the database keeps of the id, so that what a restore brings back is recognised.
    """
    kept = kept_identifier(subject, LONGEST_ID if kind is SubjectKind.CONVERSATION else LONGEST_USER_ID)
    return hashlib.sha256(f"{kind}\0{kept}".encode()).hexdigest()


@dataclass(frozen=True)
class Tombstone:
    """The order to erase a subject; `applied_at` is when nothing of it was left in our own stores."""

    kind: SubjectKind
    hash: str
    requested_at: datetime
    requested_by: str
    applied_at: datetime | None = None


@dataclass(frozen=True)
class ProviderDeletion:
    """A provider's copy of a conversation, and how far its deletion has come."""

    provider: str
    provider_conversation_id: str
    kind: SubjectKind
    hash: str
    attempts: int
    last_error: str | None
    next_attempt_at: datetime
    confirmed_at: datetime | None


@dataclass(frozen=True)
class JobRun:
    """A job's state. `finished_at` and `result` are those of the last run that came to its end."""

    name: str
    holder: str | None
    lease_until: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    result: Mapping[str, Any] | None
