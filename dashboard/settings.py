"""The settings that only the dashboard reads, beside the service's, which it reads too.

The key decision: none of them has a default that lets somebody in. Who may enter stands in the database, or is told by
a provider of OpenID Connect.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from service.allowed_values import NAMES, allow
from service.config import Names, Settings, load
from service.secrets_settings import is_this_machine


class DashboardSettings(Settings):
    """The effective configuration of the dashboard. A field's alias is the environment variable's name."""

    dashboard_host: str = Field(
        "127.0.0.1", alias="VOCERO_DASHBOARD_HOST", description="Address that the dashboard listens on."
    )
    dashboard_port: int = Field(
        8002,
        alias="VOCERO_DASHBOARD_PORT",
        ge=0,
        le=65535,
        description="Port of the dashboard. 0: `make run` starts none.",
    )
    dashboard_url: str | None = Field(
        None,
        alias="VOCERO_DASHBOARD_URL",
        json_schema_extra=allow("http:// or https:// with a host, and no path"),
        pattern=r"^https?://[^/?#\s]+$",
        description="The address that admins' browsers use, when a proxy stands in front; with https, cookies are sent"
        " over https alone. Unset: the dashboard answers to names of this machine only.",
        examples=["https://vocero-admin.example.com"],
    )
    dashboard_trusted_proxies: int = Field(
        0,
        alias="VOCERO_DASHBOARD_TRUSTED_PROXIES",
        ge=0,
        le=8,
        description="How many proxies of yours stand in front of the dashboard; so many X-Forwarded-For hops are"
        " believed.",
    )
    dashboard_idle_seconds: float = Field(
        900.0,
        alias="VOCERO_DASHBOARD_IDLE_SECONDS",
        gt=0,
        le=86_400,
        description="Seconds without a request by a person after which a session ends.",
    )
    dashboard_session_seconds: float = Field(
        28_800.0,
        alias="VOCERO_DASHBOARD_SESSION_SECONDS",
        gt=0,
        le=604_800,
        description="Seconds after which a session ends, whatever happens in it.",
    )
    dashboard_login_threads: int = Field(
        2,
        alias="VOCERO_DASHBOARD_LOGIN_THREADS",
        ge=1,
        le=16,
        description="Passwords that are checked at the same time; each check takes some tenth of a second of one core"
        " and 19 MiB.",
    )
    dashboard_streams: int = Field(
        200,
        alias="VOCERO_DASHBOARD_STREAMS",
        ge=1,
        le=10_000,
        description="Open pages that are kept up to date at the same time; one more is told to ask again later.",
    )

    # --- Signing in by a provider of OpenID Connect
    oidc_name: str = Field(
        "OpenID Connect",
        alias="VOCERO_OIDC_NAME",
        min_length=1,
        max_length=60,
        description="What the provider is called on the sign-in page's button.",
        examples=["Keycloak"],
    )
    oidc_client_id: str | None = Field(
        None, alias="VOCERO_OIDC_CLIENT_ID", description="What the provider knows the dashboard as."
    )
    oidc_client_secret: SecretStr | None = Field(
        None,
        alias="VOCERO_OIDC_CLIENT_SECRET",
        description="The client's secret at the provider. Unset: a public client, which PKCE alone protects.",
    )
    oidc_scopes: str = Field(
        "openid profile email",
        alias="VOCERO_OIDC_SCOPES",
        json_schema_extra=allow("names separated by single blanks, with openid among them"),
        pattern=r"^([!#-\[\]-~]+ )*openid( [!#-\[\]-~]+)*$",
        description="What the provider is asked for; some want `groups` beside it.",
    )
    oidc_groups_claim: str = Field(
        "groups",
        alias="VOCERO_OIDC_GROUPS_CLAIM",
        min_length=1,
        description="The ID token's claim that has the names of somebody's groups.",
    )
    oidc_admin_groups: Names = Field(
        frozenset(),
        alias="VOCERO_OIDC_ADMIN_GROUPS",
        json_schema_extra=allow(NAMES),
        description="Groups whose members are admins: whole names, no patterns, separated by commas.",
    )
    oidc_operator_groups: Names = Field(
        frozenset(),
        alias="VOCERO_OIDC_OPERATOR_GROUPS",
        json_schema_extra=allow(NAMES),
        description="Groups whose members are operators.",
    )
    oidc_viewer_groups: Names = Field(
        frozenset(),
        alias="VOCERO_OIDC_VIEWER_GROUPS",
        json_schema_extra=allow(NAMES),
        description="Groups whose members are viewers.",
    )
    # Last, because its check looks at those above.
    oidc_issuer: str | None = Field(
        None,
        alias="VOCERO_OIDC_ISSUER",
        json_schema_extra=allow("https:// with a host (http:// on this machine alone), and no user's name or query"),
        pattern=r"^(https://[^/?#@\s]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?)(/[^?#\s]*)?$",
        description="The provider's issuer, exactly as the provider writes it; https, unless it is on this machine."
        " Unset: people sign in by password alone.",
        examples=["https://sso.example.com/realms/ops"],
    )

    @field_validator("oidc_admin_groups", "oidc_operator_groups", "oidc_viewer_groups", mode="before")
    @classmethod
    def _split_groups(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _has_what_it_needs(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not info.data.get("oidc_client_id"):
            raise ValueError("set VOCERO_OIDC_CLIENT_ID too")
        if not any(info.data.get(f"oidc_{role}_groups") for role in ("admin", "operator", "viewer")):
            raise ValueError("set VOCERO_OIDC_ADMIN_GROUPS (or _OPERATOR_, _VIEWER_) too; nobody could enter without")
        return value

    def clashes(self) -> Iterator[str]:
        """As the base class says."""
        yield from super().clashes()
        for name, port in (("VOCERO_PORT", self.port), ("VOCERO_OPS_PORT", self.ops_port)):
            if self.dashboard_port and self.dashboard_port == port:
                yield f"VOCERO_DASHBOARD_PORT and {name} are the same; two listeners need two ports."
        if self.dashboard_url is not None and not self.development:
            parts = urlsplit(self.dashboard_url)
            if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
                yield (
                    "VOCERO_DASHBOARD_URL: plain http to another machine shows admins' passwords to whoever is on the"
                    " way: use https, or VOCERO_DEVELOPMENT=true."
                )


def load_dashboard_settings() -> DashboardSettings:
    """Read the environment; raises as `service.config.load`."""
    return load(DashboardSettings)
