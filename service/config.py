"""Every setting, read once from the environment: its name, default, unit, bounds and meaning stand in one place.

The key decision: `Settings` is a frozen value that the entry points load and the composition root hands on; nothing
below reads `os.environ`. What concerns the way to ElevenLabs is in `upstream_settings.py`, how long something is kept
in `keeping_settings.py`, what happens when something fails in `fallback_settings.py`, what is told of it all in
`observability_settings.py`. `.env.example` is checked against these fields by a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator

from service.allowed_values import ADDRESS, NAMES, allow, allowed, checked_address, shape
from service.errors import SettingsError
from service.observability_settings import ObservabilitySettings
from service.variables import Origin, VariablesSettings, find

Names = frozenset[str]
_DATABASES = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
_HOST = r"^[^\s/?#@]+$"
_HOST_WORDS = "an IP address or the name of a host"
S = TypeVar("S", bound=VariablesSettings)


class Settings(ObservabilitySettings):
    """The effective configuration. A field's alias is the environment variable's name."""

    # --- Where we listen
    host: str = Field(
        "127.0.0.1",
        alias="VOCERO_HOST",
        pattern=_HOST,
        json_schema_extra=allow(_HOST_WORDS),
        description="Address that the service listens on.",
    )
    port: int = Field(8000, alias="VOCERO_PORT", ge=1, le=65535, description="Port that the service listens on.")
    ops_host: str = Field(
        "127.0.0.1",
        alias="VOCERO_OPS_HOST",
        pattern=_HOST,
        json_schema_extra=allow(_HOST_WORDS),
        description="Address of the ops listener, which is for Prometheus and health checks and has no login.",
    )
    ops_port: int = Field(
        8001,
        alias="VOCERO_OPS_PORT",
        ge=0,
        le=65535,
        description="Port of the ops listener: /metrics of all workers, /livez, /readyz, /version. 0: there is none.",
    )
    public_url: str | None = Field(
        None,
        alias="VOCERO_PUBLIC_URL",
        json_schema_extra=allow(ADDRESS),
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
        json_schema_extra=allow(NAMES),
        description="Agents that anybody may talk to without a key, by id, separated by commas.",
        examples=["agent_a,agent_b"],
    )
    allowed_origins: Names = Field(
        frozenset(),
        alias="VOCERO_ALLOWED_ORIGINS",
        json_schema_extra=allow(NAMES),
        description="Web origins besides our own from which browsers may open a conversation, separated by commas.",
        examples=["https://shop.example.com"],
    )
    page_languages: Names = Field(
        frozenset(),
        alias="VOCERO_PAGE_LANGUAGES",
        json_schema_extra=allow(NAMES),
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
        repr=False,
        json_schema_extra=allow("redis://, rediss:// or unix://, and where it is"),
        pattern=r"^(rediss?|unix)://",
        description="Redis or Valkey: tickets and rate limits.",
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite:///.vocero/vocero.db"),
        alias="VOCERO_DATABASE_URL",
        json_schema_extra=allow(_DATABASES),
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

    @field_validator("redis_url")
    @classmethod
    def _leads_to_redis(cls, value: str) -> str:
        return checked_address(value)

    @field_validator("database_url")
    @classmethod
    def _is_one_of_ours(cls, value: SecretStr) -> SecretStr:
        if not re.match(r"(sqlite|postgresql)(\+\w+)?://", value.get_secret_value()):
            raise ValueError(f"must be {_DATABASES}, and is something else")
        return value

    @property
    def descriptors(self) -> int:
        """File descriptors that a worker wants: for each connection the client's socket and ElevenLabs', and some."""
        return 2 * self.worker_connections + 256

    def clashes(self) -> Iterator[str]:
        """As the base class says."""
        yield from super().clashes()
        if self.ops_port == self.port:
            yield "VOCERO_OPS_PORT and VOCERO_PORT are the same; two listeners need two ports."


def load_settings() -> Settings:
    """Read the environment and the folder of secrets; raises as `load`."""
    return load(Settings)


def load_service_settings() -> Settings:
    """As `load_settings`, for the service itself, which needs a key of ElevenLabs' or somewhere to read it."""
    settings = load_settings()
    lack = settings.lack_of_key()
    if lack is not None:
        raise SettingsError(lack)
    return settings


def load(kind: type[S]) -> S:
    """Read settings of this kind, from the environment and from the folder of secrets if there is one.

    Raises:
        SettingsError: one line that names the first wrong variable, what it looks like and what is allowed; or the two
            that contradict each other. Never a value.
    """
    try:
        settings = kind()
    except ValidationError as exc:
        raise SettingsError(_complaint(kind, exc)) from None
    clash = next(settings.clashes(), None)
    if clash is not None:
        raise SettingsError(clash)
    return settings


def _complaint(kind: type[VariablesSettings], error: ValidationError) -> str:
    fields = {field.alias: field for field in kind.model_fields.values()}
    # By the name: what is wrong inside of a value (one entry of a map) is told as the whole value's fault.
    first, *others = {str(each["loc"][0]): each for each in error.errors(include_url=False)}.values()
    name = str(first["loc"][0])
    found = find(name)
    where = " (from its file)" if found is not None and found.origin is Origin.SECRETS_FILE else ""
    if first["type"] == "value_error":
        complaint = str(first["ctx"]["error"])
    else:
        value = found.value if found is not None else first["input"]
        is_like = shape(value, fields[name], first["type"])
        complaint = f"must be {allowed(fields[name])}, and is {is_like}"
    also = f" Wrong too: {', '.join(str(each['loc'][0]) for each in others)}." if others else ""
    return f"{name}: {complaint}{where}.{also}"
