"""The settings of what is kept and for how long: transcripts, records of conversations, the audit, tombstones.

The key decision: a part of `Settings` (`config.py`), which alone is loaded and handed on. A kind of record has a number
of days of its own, because each is kept for a reason of its own; `docs/privacy.md` says which.
"""

from __future__ import annotations

from pydantic import Field

from service.upstream_settings import UpstreamSettings


class KeepingSettings(UpstreamSettings):
    """The part that concerns what is kept; it is built on that which concerns ElevenLabs."""

    # --- How long what was said is kept
    transcript_days: int = Field(
        30,
        alias="VOCERO_TRANSCRIPT_DAYS",
        ge=0,
        le=36_500,
        description="Days for which what was said is kept. 0: it is not kept at all.",
    )
    conversation_days: int = Field(
        365,
        alias="VOCERO_CONVERSATION_DAYS",
        ge=1,
        le=36_500,
        description="Days for which it is kept that a conversation took place, with its legs and what it cost; what was"
        " said in it goes with it at the latest.",
    )
    audit_days: int = Field(
        365,
        alias="VOCERO_AUDIT_DAYS",
        ge=30,
        le=36_500,
        description="Days for which it is kept who changed what.",
    )
    tombstone_days: int = Field(
        400,
        alias="VOCERO_TOMBSTONE_DAYS",
        ge=35,
        le=36_500,
        description="Days for which it is remembered, as a hash, that something was erased: longer than any backup"
        " lives, because a restored one is told so what to forget again.",
    )
    retention_interval_seconds: float = Field(
        3600.0,
        alias="VOCERO_RETENTION_INTERVAL_SECONDS",
        ge=1,
        le=86_400,
        description="Seconds between two runs of the job that deletes what is too old, erases what was asked for, and"
        " fetches costs; some more or less are left to chance. One worker of all nodes runs it at a time.",
    )
    cost_fetch: bool = Field(
        True,
        alias="VOCERO_COST_FETCH",
        description="Ask ElevenLabs what a conversation cost after it has ended, and every ten minutes how much of the"
        " account's quota is used.",
    )
