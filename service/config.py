"""Every setting, read once from the environment: name, default, unit, bounds and meaning stand here and nowhere else.

The key decision: `Settings` is a frozen value that the entry points load and the composition root hands on; nothing
below reads `os.environ`. `.env.example` is checked against these fields by a test.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.errors import ConfigurationError

Names = Annotated[frozenset[str], NoDecode]


class Settings(BaseSettings):
    """The effective configuration. A field's alias is the environment variable's name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    # --- ElevenLabs
    elevenlabs_api_key: SecretStr | None = Field(
        None,
        alias="ELEVENLABS_API_KEY",
        description="The key of your ElevenLabs account. It never leaves the server.",
    )
    elevenlabs_agent_id: str | None = Field(
        None,
        alias="ELEVENLABS_AGENT_ID",
        description="The agent that the chat page talks to.",
        examples=["agent_..."],
    )
    elevenlabs_base_url: str = Field(
        "https://api.elevenlabs.io",
        alias="ELEVENLABS_BASE_URL",
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
        description="Seconds that connecting to ElevenLabs may take (TCP, TLS and upgrade together).",
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
        5.0,
        alias="VOCERO_POOL_AGENTS_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Seconds that a conversation may wait for a connection.",
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
        5.0,
        alias="VOCERO_POOL_SPEECH_TIMEOUT_SECONDS",
        gt=0,
        le=60,
        description="Seconds that a request may wait for a connection.",
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

    # --- Where we listen
    host: str = Field("127.0.0.1", alias="VOCERO_HOST", description="Address that the service listens on.")
    port: int = Field(8000, alias="VOCERO_PORT", ge=1, le=65535, description="Port that the service listens on.")
    public_url: str | None = Field(
        None,
        alias="VOCERO_PUBLIC_URL",
        pattern=r"^https?://[^/?#]+(/[^?#]*[^/?#])?$",
        description="The address that browsers and SDKs use, when a proxy stands in front; signed URLs are made of it."
        " Unset: the request's own host.",
        examples=["https://voice.example.com"],
    )
    trusted_proxies: int = Field(
        0,
        alias="VOCERO_TRUSTED_PROXIES",
        ge=0,
        le=8,
        description="How many proxies of yours stand in front; so many X-Forwarded-For hops are believed.",
    )
    workers: int = Field(1, alias="VOCERO_WORKERS", ge=1, le=64, description="Worker processes, one for each core.")
    worker_connections: int = Field(
        2000,
        alias="VOCERO_WORKER_CONNECTIONS",
        ge=10,
        le=50_000,
        description="Connections that one worker holds at most.",
    )

    # --- Who may talk
    public_agents: Names = Field(
        frozenset(),
        alias="VOCERO_PUBLIC_AGENTS",
        description="Agents that anybody may talk to without a key, by id, separated by commas.",
        examples=["agent_a,agent_b"],
    )
    allowed_origins: Names = Field(
        frozenset(),
        alias="VOCERO_ALLOWED_ORIGINS",
        description="Web origins besides our own from which browsers may open a conversation, separated by commas.",
        examples=["https://shop.example.com"],
    )
    page_languages: Names = Field(
        frozenset(),
        alias="VOCERO_PAGE_LANGUAGES",
        description="Languages that the page asks the agent for when the browser prefers them, separated by commas."
        " The agent's configuration must allow its language to be overridden.",
        examples=["en,es"],
    )
    ticket_seconds: int = Field(
        60,
        alias="VOCERO_TICKET_SECONDS",
        ge=1,
        le=600,
        description="Seconds for which the page's single-use ticket is good.",
    )
    signed_url_seconds: int = Field(
        900,
        alias="VOCERO_SIGNED_URL_SECONDS",
        ge=1,
        le=3600,
        description="Seconds for which a conversation may be started with an integrator's signed URL.",
    )
    tickets_per_minute: int = Field(
        30,
        alias="VOCERO_TICKETS_PER_MINUTE",
        ge=1,
        le=100_000,
        description="Tickets that one client address gets in a minute.",
    )

    # --- Bounds of a conversation
    first_frame_seconds: float = Field(
        10.0,
        alias="VOCERO_FIRST_FRAME_SECONDS",
        gt=0,
        le=60,
        description="Seconds that a client may take for its first frame.",
    )
    idle_seconds: float = Field(
        60.0,
        alias="VOCERO_IDLE_SECONDS",
        gt=0,
        le=3600,
        description="Seconds without a byte from the client (a pong counts) after which the conversation ends.",
    )
    write_deadline_seconds: float = Field(
        5.0,
        alias="VOCERO_WRITE_DEADLINE_SECONDS",
        gt=0,
        le=60,
        description="Seconds after which a peer is given up that takes nothing of what it is sent.",
    )
    max_client_message_bytes: int = Field(
        1_048_576,
        alias="VOCERO_MAX_CLIENT_MESSAGE_BYTES",
        ge=1024,
        le=16_777_216,
        description="Bytes that one message of a client may have.",
    )
    client_messages_per_second: int = Field(
        500,
        alias="VOCERO_CLIENT_MESSAGES_PER_SECOND",
        ge=0,
        description="Messages that a client may send in a second, with a burst of four times that; 0 is no limit.",
    )

    max_request_bytes: int = Field(
        2_097_152,
        alias="VOCERO_MAX_REQUEST_BYTES",
        ge=1024,
        le=67_108_864,
        description="Bytes that the body of an HTTP request may have.",
    )

    # --- What is kept
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        alias="VOCERO_REDIS_URL",
        pattern=r"^(rediss?|unix)://",
        description="Redis or Valkey: tickets and rate limits.",
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite:///.vocero/vocero.db"),
        alias="VOCERO_DATABASE_URL",
        description="SQLAlchemy URL of the database: SQLite or PostgreSQL.",
        examples=["postgresql+psycopg://vocero:password@db/vocero"],
    )

    # --- Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", alias="VOCERO_LOG_LEVEL", description="The least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", alias="VOCERO_LOG_FORMAT", description="json for machines, console for people."
    )

    @field_validator("public_agents", "allowed_origins", "page_languages", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator(
        "elevenlabs_api_key", "elevenlabs_agent_id", "public_url", "upstream_ca_file", "pool_agents_max_size",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: one line that names the first wrong variable and what is allowed; never its value.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # every field comes from the environment or its default
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{name}: {first['msg']}.") from None
