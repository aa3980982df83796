"""What `make run` tells: where the page is, what is real and what is not, the key, the logs."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from dashboard.access.first_user import FIRST_USER
from scripts.launcher.plan import Plan

NO_LOCAL = "none: the `local` extra is not installed (make run without LOCAL=0)"


@dataclass(frozen=True)
class Entrance:
    """The dashboard's: `is_open` when there is somebody who can enter; `password` of a user who was made just now."""

    is_open: bool
    password: str | None = None


def banner(plan: Plan, key: str | None, entrance: Entrance) -> str:
    """The text to print once everything answers. `key` is the development API key, if there is one."""
    rows = [
        ("ElevenLabs", _elevenlabs(plan)),
        ("secrets", _secrets(plan)),
        ("voice", _spoken(plan, "espeakng_loader", "real speech by espeak-ng, in the sandbox")),
        ("ears", _spoken(plan, "faster_whisper", "real recognition by Whisper (base), in the sandbox")),
        ("Redis", "a real Valkey, embedded" if plan.valkey_socket else "yours (VOCERO_REDIS_URL)"),
        ("database", _database(plan)),
        ("metrics", plan.metrics or "none (VOCERO_OPS_PORT=0)"),
    ]
    shown_key = key or "none; make one: .venv/bin/python -m scripts.api_keys create NAME"
    lines = [
        "",
        f"  Vocero is ready: {plan.page}/",
        "",
        *(f"    {name:<12}{value}" for name, value in rows),
        "",
        *_dashboard(plan, entrance),
        f"  API key     {shown_key}",
        f'  Python SDK  ElevenLabs(base_url="{plan.page}", api_key="{key or "..."}")',
        f"  Logs        {_short(plan.state)}/logs/*.log",
        "  Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines)


def _dashboard(plan: Plan, entrance: Entrance) -> list[str]:
    if plan.dashboard is None:
        return ["  Dashboard   none (VOCERO_DASHBOARD_PORT=0)"]
    command = ".venv/bin/python -m scripts.admin_users"
    if not entrance.is_open:
        return [f"  Dashboard   not started, nobody may enter; make a user: {command} create NAME --role admin"]
    lines = [f"  Dashboard   {plan.dashboard}/"]
    if entrance.password is not None:
        lines.append(f"  Sign in as  {FIRST_USER}, with the password {entrance.password} (shown this once)")
    elif plan.has_own_database:
        lines.append(f"  Sign in as  {FIRST_USER} (password lost: {command} reset-password {FIRST_USER})")
    return lines


def _elevenlabs(plan: Plan) -> str:
    if plan.sandbox_port is None:
        return f"real, with your key: {plan.settings.elevenlabs_base_url}, agent {plan.settings.elevenlabs_agent_id}"
    address = plan.settings.elevenlabs_base_url
    return f"SANDBOX on {address} (real: set ELEVENLABS_API_KEY and ELEVENLABS_AGENT_ID)"


def _secrets(plan: Plan) -> str:
    settings = plan.settings
    if plan.sandbox_port is not None:
        return "none needed: the sandbox takes any key (real: VAULT_ADDR, docs/secrets.md)"
    if settings.vault_addr is None:
        return "the environment (ELEVENLABS_API_KEY); in production set VAULT_ADDR"
    return f"Vault: {settings.vault_addr}, {settings.vault_kv_mount}/{settings.vault_kv_path}"


def _spoken(plan: Plan, module: str, text: str) -> str:
    if plan.sandbox_port is None:
        return "real, by ElevenLabs"
    return text if importlib.util.find_spec(module) else NO_LOCAL


def _database(plan: Plan) -> str:
    if plan.has_own_database:
        return f"SQLite, embedded: {_short(plan.state / 'vocero.db')}"
    return "yours (VOCERO_DATABASE_URL)"


def _short(path: Path) -> str:
    """`path` as seen from here, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
