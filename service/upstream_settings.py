"""The settings of the way to ElevenLabs: where it is, what is kept ready, what is repeated, what may run at once.

The key decision: a part of `Settings` (`config.py`), which alone is loaded and handed on.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, field_validator

from service.allowed_values import ADDRESS, allow, checked_address
from service.secrets_settings import SecretsSettings

ELEVENLABS = "https://api.elevenlabs.io"


class UpstreamSettings(SecretsSettings):
    """The part that concerns ElevenLabs; it is built on that which concerns secrets, the key first."""

    # --- ElevenLabs
    elevenlabs_agent_id: str | None = Field(
        None,
        alias="ELEVENLABS_AGENT_ID",
        description="The agent that the chat page talks to.",
        examples=["agent_..."],
    )
    elevenlabs_base_url: str = Field(
        ELEVENLABS,
        alias="ELEVENLABS_BASE_URL",
        json_schema_extra=allow(ADDRESS),
        pattern=r"^https?://[^/?#]+(/[^?#]*[^/?#])?$",
        description="Where ElevenLabs is: a data-residency host, or the sandbox. No slash at the end.",
        examples=["https://api.eu.residency.elevenlabs.io"],
    )
    sandbox: bool = Field(
        False,
        alias="VOCERO_SANDBOX",
        description="ELEVENLABS_BASE_URL is the sandbox: the page says so in a banner.",
    )
    upstream_connect_seconds: float = Field(
        5.0,
        alias="VOCERO_UPSTREAM_CONNECT_SECONDS",
        gt=0,
        le=60,
        description="Seconds that connecting to ElevenLabs may take (name, TCP, TLS and upgrade together).",
    )
    upstream_read_seconds: float = Field(
        30.0,
        alias="VOCERO_UPSTREAM_READ_SECONDS",
        gt=0,
        le=300,
        description="Seconds that ElevenLabs may be silent in the middle of an HTTP answer.",
    )

    upstream_ca_file: str | None = Field(
        None,
        alias="VOCERO_UPSTREAM_CA_FILE",
        description="File of CA certificates (PEM) that ElevenLabs' certificate is checked against, for a proxy that"
        " inspects TLS. Unset: certifi's.",
        examples=["/etc/ssl/certs/company.pem"],
    )

    # --- Connections to ElevenLabs that are kept ready (of each worker)
    pool_agents_min_idle: int = Field(
        0,
        alias="VOCERO_POOL_AGENTS_MIN_IDLE",
        ge=0,
        le=1000,
        description="Connections (TCP and TLS) that lie ready for conversations, with as many signed URLs for"
        " ELEVENLABS_AGENT_ID; 0: each conversation opens its own.",
    )
    pool_agents_max_size: int | None = Field(
        None,
        alias="VOCERO_POOL_AGENTS_MAX_SIZE",
        ge=1,
        le=50_000,
        description="Connections for conversations, open and ready ones together; it bounds a worker's open"
        " conversations. Unset: four fifths of VOCERO_WORKER_CONNECTIONS, and those that lie ready.",
    )
    pool_agents_max_waiting: int = Field(
        100,
        alias="VOCERO_POOL_AGENTS_MAX_WAITING",
        ge=0,
        le=50_000,
        description="Conversations that may wait for a connection when all are taken; others are refused at once.",
    )
    pool_agents_timeout_seconds: float = Field(
        6.0,
        alias="VOCERO_POOL_AGENTS_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Seconds that a conversation may wait for a connection; more than connecting may take.",
    )
    pool_agents_max_idle_seconds: float = Field(
        50.0,
        alias="VOCERO_POOL_AGENTS_MAX_IDLE_SECONDS",
        ge=0,
        le=3600,
        description="Seconds that a connection lies ready before another takes its place: less than the load"
        " balancers on the way allow, which is usually 60.",
    )
    pool_agents_max_lifetime_seconds: float = Field(
        600.0,
        alias="VOCERO_POOL_AGENTS_MAX_LIFETIME_SECONDS",
        ge=1,
        le=86_400,
        description="Seconds after which a connection is not used for another conversation, less up to 5 %.",
    )
    signed_url_max_age_seconds: float = Field(
        600.0,
        alias="VOCERO_SIGNED_URL_MAX_AGE_SECONDS",
        ge=0,
        le=840,
        description="Seconds for which a signed URL of ElevenLabs' that was fetched ahead is used (it is good for 900);"
        " 0: none is fetched ahead.",
    )
    pool_speech_min_idle: int = Field(
        0,
        alias="VOCERO_POOL_SPEECH_MIN_IDLE",
        ge=0,
        le=1000,
        description="HTTP connections (speech and signed URLs) that are kept open even if nothing was asked for.",
    )
    pool_speech_max_size: int = Field(
        256,
        alias="VOCERO_POOL_SPEECH_MAX_SIZE",
        ge=1,
        le=50_000,
        description="HTTP connections, which is how many requests one worker has under way at ElevenLabs.",
    )
    pool_speech_max_waiting: int = Field(
        256,
        alias="VOCERO_POOL_SPEECH_MAX_WAITING",
        ge=0,
        le=50_000,
        description="Requests that may wait for a connection when all are taken; others are refused at once.",
    )
    pool_speech_timeout_seconds: float = Field(
        6.0,
        alias="VOCERO_POOL_SPEECH_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Seconds that a request may wait for a connection; more than connecting may take.",
    )
    pool_speech_max_idle_seconds: float = Field(
        50.0,
        alias="VOCERO_POOL_SPEECH_MAX_IDLE_SECONDS",
        ge=0,
        le=3600,
        description="Seconds that a connection is kept after a request; 0: each request opens its own.",
    )
    pool_speech_max_lifetime_seconds: float = Field(
        600.0,
        alias="VOCERO_POOL_SPEECH_MAX_LIFETIME_SECONDS",
        ge=1,
        le=86_400,
        description="Seconds after which a connection is not used for another request, less up to 5 %.",
    )

    # --- Repeating what failed at ElevenLabs
    retry_attempts: int = Field(
        3,
        alias="VOCERO_RETRY_ATTEMPTS",
        ge=1,
        le=10,
        description="Requests that one call may make of ElevenLabs in all; 1 repeats nothing.",
    )
    retry_total_seconds: float = Field(
        30.0,
        alias="VOCERO_RETRY_TOTAL_SECONDS",
        gt=0,
        le=300,
        description="Seconds that a call may take until ElevenLabs answers, with all its attempts and the waiting in"
        " between.",
    )
    retry_base_seconds: float = Field(
        0.2,
        alias="VOCERO_RETRY_BASE_SECONDS",
        gt=0,
        le=60,
        description="Most seconds to wait before the first repetition; it doubles with each one, and how much of it is"
        " waited is left to chance.",
    )
    retry_max_delay_seconds: float = Field(
        2.0,
        alias="VOCERO_RETRY_MAX_DELAY_SECONDS",
        gt=0,
        le=60,
        description="Seconds that this doubling stops at. ElevenLabs' own Retry-After is waited in addition.",
    )
    retry_budget_share: float = Field(
        0.1,
        alias="VOCERO_RETRY_BUDGET_SHARE",
        ge=0,
        le=1,
        description="Share of the calls of the last ten seconds that a worker may repeat.",
    )
    retry_budget_minimum: int = Field(
        3,
        alias="VOCERO_RETRY_BUDGET_MINIMUM",
        ge=0,
        le=1000,
        description="Repetitions in ten seconds that a worker may make besides that share.",
    )
    hedge_after_seconds: float = Field(
        0.0,
        alias="VOCERO_HEDGE_AFTER_SECONDS",
        ge=0,
        le=60,
        description="Seconds without audio after which streamed speech is asked for a second time; what speaks first"
        " is heard, and ElevenLabs bills both. It takes from the same budget. 0 is off.",
    )

    # --- What may run at once in the ElevenLabs account
    agents_concurrency: int = Field(
        0,
        alias="VOCERO_AGENTS_CONCURRENCY",
        ge=0,
        le=10_000,
        description="Conversations that all workers of all nodes together have at once: your plan's number. Who comes"
        " then waits in turn. 0: not bounded here.",
        examples=["10"],
    )
    speech_concurrency: int = Field(
        0,
        alias="VOCERO_SPEECH_CONCURRENCY",
        ge=0,
        le=10_000,
        description="Requests for speech that all workers of all nodes together have at once: your plan's number; a"
        " lower one that ElevenLabs tells counts. 0: not bounded here.",
        examples=["5"],
    )
    slot_wait_seconds: float = Field(
        10.0,
        alias="VOCERO_SLOT_WAIT_SECONDS",
        gt=0,
        le=300,
        description="Seconds that a conversation or a request waits for its turn, at most as long as"
        " VOCERO_RETRY_TOTAL_SECONDS.",
    )
    slot_max_waiting: int = Field(
        100,
        alias="VOCERO_SLOT_MAX_WAITING",
        ge=0,
        le=100_000,
        description="How many may wait for their turn; who comes then is refused at once.",
    )
    slot_lease_seconds: float = Field(
        15.0,
        alias="VOCERO_SLOT_LEASE_SECONDS",
        ge=3,
        le=300,
        description="Seconds after which the slots of a worker that has died are free again.",
    )
    slot_reserved_share: float = Field(
        0.0,
        alias="VOCERO_SLOT_RESERVED_SHARE",
        ge=0,
        le=0.9,
        description="Share of the slots that is kept for turns of conversations which run already (0 to 0.9).",
    )
    account_workers: int = Field(
        0,
        alias="VOCERO_ACCOUNT_WORKERS",
        ge=0,
        le=10_000,
        description="Workers of all nodes that use the account; without Redis each has its share of the slots."
        " 0: VOCERO_WORKERS.",
    )

    @field_validator("elevenlabs_base_url")
    @classmethod
    def _leads_to_elevenlabs(cls, value: str) -> str:
        return checked_address(value)

    def clashes(self) -> Iterator[str]:
        """As the base class says."""
        yield from super().clashes()
        agents = (self.pool_agents_min_idle, self.pool_agents_max_size, self.pool_agents_max_idle_seconds)
        speech = (self.pool_speech_min_idle, self.pool_speech_max_size, self.pool_speech_max_idle_seconds)
        yield from _pool_clashes("VOCERO_POOL_AGENTS", *agents)
        yield from _pool_clashes("VOCERO_POOL_SPEECH", *speech)
        if self.sandbox and self.elevenlabs_base_url == ELEVENLABS:
            yield "VOCERO_SANDBOX says that ELEVENLABS_BASE_URL is the sandbox, but that is ElevenLabs itself."


def _pool_clashes(name: str, min_idle: int, max_size: int | None, max_idle_seconds: float) -> Iterator[str]:
    if max_size is not None and min_idle > max_size:
        yield f"{name}_MIN_IDLE ({min_idle}) is more than {name}_MAX_SIZE ({max_size})."
    if min_idle and max_idle_seconds < 1:
        yield f"{name}_MAX_IDLE_SECONDS is at least 1 where {name}_MIN_IDLE is not 0."
