"""What `make run` will start, decided from the environment before anything is started.

The key decision: a variable that the user has set is never overridden; each part of ours only fills a gap. So the same
command runs against the real ElevenLabs, a company's Redis or a PostgreSQL, whichever of them is named.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from dashboard.settings import DashboardSettings, load_dashboard_settings
from scripts.launcher import valkey
from scripts.launcher.first_look import SANDBOX_AGENTS, SANDBOX_KEY
from service.config import load
from service.env_file import fill_environment
from service.errors import ConfigurationError, SettingsError
from service.ports import why_not_free
from service.variables import OURS, VariablesSettings, find


class LauncherSettings(VariablesSettings):
    """The variables that only `make run` reads."""

    state_dir: Path = Field(
        Path(".vocero"),
        alias="VOCERO_STATE_DIR",
        description="Folder of what `make run` keeps: database, Valkey's data, logs, the development API key.",
    )
    sandbox_port: int = Field(
        8011,
        alias="VOCERO_SANDBOX_PORT",
        ge=1,
        le=65535,
        description="Port of the sandbox that `make run` starts when ELEVENLABS_API_KEY is not set.",
    )


@dataclass(frozen=True)
class Plan:
    """What is started, and with what. `environment` is that of every child."""

    settings: DashboardSettings
    environment: Mapping[str, str]
    state: Path
    valkey_socket: Path | None
    sandbox_port: int | None
    has_own_database: bool

    @property
    def page(self) -> str:
        """The page's address for a browser on this machine (a microphone needs https or this machine)."""
        return _address(self.settings.host, self.settings.port)

    @property
    def metrics(self) -> str | None:
        """The metrics' address on this machine; None if there is no ops listener."""
        if not self.settings.ops_port:
            return None
        return f"{_address(self.settings.ops_host, self.settings.ops_port)}/metrics"

    @property
    def dashboard(self) -> str | None:
        """The dashboard's address on this machine; None if there is none."""
        if not self.settings.dashboard_port:
            return None
        return _address(self.settings.dashboard_host, self.settings.dashboard_port)

    @property
    def database_url(self) -> str:
        return self.settings.database_url.get_secret_value()


def make_plan(root: Path, env_file: Path) -> Plan:
    """Decide what to start; the process's environment becomes that of the children.

    `env_file` (it need not be there) fills what the environment leaves open; an empty value counts as unset.

    Raises:
        ConfigurationError: a variable is wrong or missing; one line that names it.
    """
    _fill_from_file(env_file)
    launcher = load(LauncherSettings)
    state = (root / launcher.state_dir).resolve()
    sandbox_port = _plan_elevenlabs(launcher.sandbox_port)
    socket = None
    if find("VOCERO_REDIS_URL") is None:
        socket = valkey.socket_path(state / "valkey")
        os.environ["VOCERO_REDIS_URL"] = valkey.redis_url(socket)
    has_own_database = find("VOCERO_DATABASE_URL") is None
    if has_own_database:
        os.environ["VOCERO_DATABASE_URL"] = f"sqlite:///{state}/vocero.db"
    return Plan(
        settings=load_dashboard_settings(),
        environment={**os.environ, "PYTHONUNBUFFERED": "1"},
        state=state,
        valkey_socket=socket,
        sandbox_port=sandbox_port,
        has_own_database=has_own_database,
    )


def check_ports(plan: Plan) -> None:
    """Make sure that every port is free, before anything is started.

    Raises:
        ConfigurationError: one is not; the line names the variable that changes it.
    """
    wanted = [("VOCERO_PORT", plan.settings.host, plan.settings.port)]
    if plan.sandbox_port is not None:
        wanted.append(("VOCERO_SANDBOX_PORT", "127.0.0.1", plan.sandbox_port))
    if plan.settings.ops_port:
        wanted.append(("VOCERO_OPS_PORT", plan.settings.ops_host, plan.settings.ops_port))
    if plan.settings.dashboard_port:
        wanted.append(("VOCERO_DASHBOARD_PORT", plan.settings.dashboard_host, plan.settings.dashboard_port))
    for variable, host, port in wanted:
        reason = why_not_free(host, port)
        if reason is not None:
            raise ConfigurationError(f"Port {port} on {host} {reason}. Choose another: {variable}={port + 1} make run")


def _address(host: str, port: int) -> str:
    if host in {"0.0.0.0", "::"}:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _fill_from_file(path: Path) -> None:
    fill_environment(path)
    for name in [name for name, value in os.environ.items() if name.startswith(OURS) and not value]:
        del os.environ[name]


def _plan_elevenlabs(sandbox_port: int) -> int | None:
    """Choose between ElevenLabs and the sandbox; the sandbox's port if it is the sandbox."""
    for variable in ("ELEVENLABS_API_KEY", "VAULT_ADDR"):
        if find(variable) is not None:
            if find("ELEVENLABS_AGENT_ID") is None:
                raise SettingsError(
                    f"ELEVENLABS_AGENT_ID is not set: with {variable} the page needs an agent of your account."
                )
            return None
    if find("ELEVENLABS_BASE_URL") is not None:
        raise SettingsError(
            "ELEVENLABS_API_KEY is not set, but ELEVENLABS_BASE_URL is: set both, or neither to get the sandbox."
        )
    os.environ["ELEVENLABS_API_KEY"] = SANDBOX_KEY
    os.environ["ELEVENLABS_BASE_URL"] = f"http://127.0.0.1:{sandbox_port}"
    for name, value in (
        ("ELEVENLABS_AGENT_ID", SANDBOX_AGENTS[0]),
        ("VOCERO_PUBLIC_AGENTS", ",".join(SANDBOX_AGENTS)),
        ("VOCERO_PAGE_LANGUAGES", "en,es"),
        ("VOCERO_SANDBOX", "true"),
    ):
        if find(name) is None:
            os.environ[name] = value
    return sandbox_port
