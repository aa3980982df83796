"""`python -m scripts.env_example`: write .env.example from the settings' own fields, so that it cannot go stale."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from dashboard.settings import DashboardSettings
from scripts.launcher.plan import LauncherSettings
from scripts.reversal.options import RollbackSettings
from service.allowed_values import allowed
from service.config import Settings
from service.setting_groups import HEADINGS, grouped

TARGET = Path(__file__).resolve().parent.parent / ".env.example"
HEAD = """\
# Every setting of Vocero with its meaning, what is allowed, and its default, which is what counts if it is unset or
# empty. Written by `python -m scripts.env_example`, checked by a test; docs/configuration.md says how it all works.
# `make run` reads a copy of this file called .env; everywhere else these are variables of the environment, or files of
# that name in VOCERO_SECRETS_FOLDER.
# Nothing is needed for a first look: without ELEVENLABS_API_KEY, `make run` starts a sandbox and sets
# ELEVENLABS_BASE_URL, ELEVENLABS_AGENT_ID, VOCERO_SANDBOX and VOCERO_PUBLIC_AGENTS for it, and it always brings
# a Valkey and a database of its own where VOCERO_REDIS_URL and VOCERO_DATABASE_URL are not set.
"""
DASHBOARD_HEADINGS = {
    "dashboard_host": "The dashboard, which reads all of the above too",
    "oidc_name": "Signing in to the dashboard by a provider of OpenID Connect",
}
OTHERS = {
    "GUNICORN_CMD_ARGS": "More options of gunicorn's for the service and the dashboard. For example:"
    " --max-requests 50000 --max-requests-jitter 10000",
    "OTEL_EXPORTER_OTLP_HEADERS": "Headers that the collector wants, as a secret key; not read from files. For"
    " example: authorization=Bearer%20...",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "Seconds that the collector may take. Unset: 10.",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "How spans are compressed. Unset: not at all. For example: gzip",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "File of CA certificates (PEM) that the collector's certificate is checked"
    " against. Unset: certifi's.",
    "OTEL_SERVICE_NAME": "What we are called in traces. Unset: vocero.",
    "OTEL_RESOURCE_ATTRIBUTES": "What else every span says of us. For example: deployment.environment=staging",
    "OTEL_TRACES_SAMPLER": "Which conversations are traced. Unset: all. For example: parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "The share of them, with that sampler. For example: 0.1",
    "V": "`make run` shows the logs of all processes if this is set. For example: 1",
}
"""Variables that are not in our settings: of gunicorn, of OpenTelemetry's packages, of the command line."""


def text() -> str:
    """The whole file."""
    theirs = {
        name: field for name, field in DashboardSettings.model_fields.items() if name not in Settings.model_fields
    }
    return "".join([
        HEAD,
        _groups(Settings.model_fields, HEADINGS),
        _groups(theirs, DASHBOARD_HEADINGS),
        _heading("Read by `make run` only"),
        *map(_block, LauncherSettings.model_fields.values()),
        _heading("Read by `python -m scripts.rollback` only"),
        *map(_block, RollbackSettings.model_fields.values()),
        _heading("Read by others on our behalf: gunicorn, OpenTelemetry's packages, `make run`"),
        *(_paragraph(meaning, name, "") for name, meaning in OTHERS.items()),
    ])  # fmt: skip


def variables(settings: type[BaseSettings]) -> list[str]:
    """The names of the environment variables that `settings` reads."""
    return [field.alias or name for name, field in settings.model_fields.items()]


def _groups(fields: Mapping[str, FieldInfo], headings: Mapping[str, str]) -> str:
    return "".join(
        _heading(title) + "".join(map(_block, members.values())) for title, members in grouped(fields, headings)
    )


def _heading(title: str) -> str:
    return f"\n\n# ----- {title}\n"


def _block(field: FieldInfo) -> str:
    meaning = " ".join(filter(None, [field.description, _bounds(field), _example(field)]))
    return _paragraph(meaning, field.alias or "", _default(field.default))


def _paragraph(meaning: str, name: str, default: str) -> str:
    lines = textwrap.wrap(meaning, width=116)
    return "\n" + "".join(f"# {line}\n" for line in lines) + f"# {name}={default}\n"


def _bounds(field: FieldInfo) -> str:
    words = allowed(field)
    return "" if words in {"text", "a path"} else f"({words})"


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
