"""`python -m scripts.env_example`: write .env.example from the settings' own fields, so that it cannot go stale."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from dashboard.settings import DashboardSettings
from scripts.launcher.plan import LauncherSettings
from scripts.reversal.options import RollbackSettings
from service.config import Settings

TARGET = Path(__file__).resolve().parent.parent / ".env.example"
HEAD = """\
# Every setting of Vocero with its meaning and default; written by `python -m scripts.env_example`, checked by a test.
# `make run` reads a copy of this file called .env; everywhere else these are variables of the environment.
# Nothing is needed for a first look: without ELEVENLABS_API_KEY, `make run` starts a sandbox and sets
# ELEVENLABS_BASE_URL, ELEVENLABS_AGENT_ID, VOCERO_SANDBOX and VOCERO_PUBLIC_AGENTS for it, and it always brings
# a Valkey and a database of its own where VOCERO_REDIS_URL and VOCERO_DATABASE_URL are not set.
"""
DASHBOARD_HEAD = "\n\n# ----- The dashboard, which reads the others too\n"
LAUNCHER_HEAD = "\n\n# ----- Read by `make run` only\n"
ROLLBACK_HEAD = "\n\n# ----- Read by `python -m scripts.rollback` only\n"
SIGNS = ((Ge, "ge", "at least"), (Gt, "gt", "more than"), (Le, "le", "at most"), (Lt, "lt", "less than"))


def text() -> str:
    """The whole file."""
    blocks = [_block(field) for field in Settings.model_fields.values()]
    dashboard = [
        _block(field) for name, field in DashboardSettings.model_fields.items() if name not in Settings.model_fields
    ]
    launcher = [_block(field) for field in LauncherSettings.model_fields.values()]
    rollback = [_block(field) for field in RollbackSettings.model_fields.values()]
    return "".join([HEAD, *blocks, DASHBOARD_HEAD, *dashboard, LAUNCHER_HEAD, *launcher, ROLLBACK_HEAD, *rollback])


def variables(settings: type[BaseSettings]) -> list[str]:
    """The names of the environment variables that `settings` reads."""
    return [field.alias or name for name, field in settings.model_fields.items()]


def _block(field: FieldInfo) -> str:
    meaning = " ".join(filter(None, [field.description, _bounds(field), _example(field)]))
    lines = textwrap.wrap(meaning, width=116)
    return "\n" + "".join(f"# {line}\n" for line in lines) + f"# {field.alias}={_default(field.default)}\n"


def _bounds(field: FieldInfo) -> str:
    found = [
        f"{word} {getattr(rule, name)}"
        for rule in field.metadata
        for kind, name, word in SIGNS
        if isinstance(rule, kind)
    ]
    return f"({', '.join(found)})" if found else ""


def _example(field: FieldInfo) -> str:
    return f"For example: {field.examples[0]}" if field.examples else ""


def _default(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def main() -> int:
    """Write the file."""
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
