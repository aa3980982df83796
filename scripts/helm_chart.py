"""`python -m scripts.helm_chart`: write what the Helm chart has from elsewhere, so that it cannot go stale.

That is its version (setup.cfg), which plain variables `config` may have and within which bounds (the settings' own
fields, into values.schema.json), and the table of the values in docs/kubernetes.md (the comments of values.yaml). The
rest of values.schema.json is written by hand. A test runs this and finds nothing changed.
"""

from __future__ import annotations

import configparser
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from dashboard.settings import DashboardSettings
from service.allowed_values import is_secret

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "vocero"
DOCUMENT = ROOT / "docs" / "kubernetes.md"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"

URLS = frozenset({"VOCERO_REDIS_URL", "VOCERO_DATABASE_URL"})
"""May be plain (without a password) or secret."""

OURS = frozenset(
    {
        "VOCERO_PORT",
        "VOCERO_OPS_PORT",
        "VOCERO_DASHBOARD_PORT",
        "VOCERO_SECRETS_FOLDER",
        "VOCERO_DEVELOPMENT",
        "VAULT_ADDR",
        "VAULT_TOKEN",
        "VAULT_SECRET_ID",
        "VAULT_TOKEN_FILE",
        "VAULT_CACERT",
        "VAULT_SKIP_VERIFY",
        "VAULT_KUBERNETES_ROLE",
        "VAULT_KUBERNETES_MOUNT",
        "VAULT_KUBERNETES_TOKEN_FILE",
        "VAULT_APPROLE_MOUNT",
        "VAULT_ROLE_ID",
        "VAULT_ROLE_ID_FILE",
        "VAULT_SECRET_ID_FILE",
        "VAULT_SECRET_ID_WRAPPED",
    }
)
"""The chart sets these by values of its own, or they make no sense in a cluster."""

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COMMENT = re.compile(r"^(?P<indent> *)# (?P<text>.*)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_]+):")


def secret_names() -> list[str]:
    """The variables that may be secrets, sorted."""
    return sorted(URLS | {name for name, field in _fields() if is_secret(field)} - OURS)


def config_schema() -> dict[str, Any]:
    """What `config` may have: every plain variable of the service and the dashboard."""
    described = DashboardSettings.model_json_schema(by_alias=True)["properties"]
    plain = {
        name: _plain(described[name])
        for name, field in _fields()
        if name not in OURS and (name in URLS or not is_secret(field))
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["VOCERO_WORKERS", "VOCERO_DRAIN_TURN_SECONDS"],
        "patternProperties": {"^OTEL_": {"type": ["string", "number", "boolean"]}},
        "properties": dict(sorted(plain.items())),
    }


def schema_text() -> str:
    """values.schema.json, with what stands in it by hand as it is."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    names = {"type": "array", "uniqueItems": True, "items": {"enum": secret_names()}}
    schema["properties"]["config"] = config_schema()
    schema["properties"]["secrets"]["properties"].update({"names": names, "dashboardNames": names})
    return json.dumps(schema, indent=2) + "\n"


def chart_text() -> str:
    """Chart.yaml, with the project's version."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]
    text = (CHART / "Chart.yaml").read_text()
    text = re.sub(r"(?m)^version: .*$", f"version: {version}", text)
    return re.sub(r"(?m)^appVersion: .*$", f'appVersion: "{version}"', text)


def document_text() -> str:
    """docs/kubernetes.md, with the table of the values."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [f"| `{path}` | {_shown(default)} | {meaning} |" for path, default, meaning in values()]
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def values() -> Iterator[tuple[str, object, str]]:
    """Each value that has a comment `# -- ...`: its path, its default and its meaning."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    above: list[str] = []
    words: list[str] = []
    for line in text.splitlines():
        if comment := _COMMENT.match(line):
            if comment["text"].startswith("-- "):
                words = [comment["text"][3:]]
            elif words:
                words.append(comment["text"])
        elif key := _KEY.match(line):
            above = [*above[: len(key["indent"]) // 2], key["key"]]
            if words:
                found = defaults
                for part in above:
                    found = found[part]
                yield ".".join(above), found, " ".join(words)
            words = []


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    for name, field in DashboardSettings.model_fields.items():
        yield field.alias or name, field


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """What JSON schema says of a variable; lists and the like are text in the environment."""
    kinds = [kind for kind in described.get("anyOf", [described]) if kind.get("type") != "null"]
    kind = kinds[0] if len(kinds) == 1 else {}
    about = {"description": described.get("description", "")}
    if kind.get("type") in {"integer", "number"}:
        return {**about, "type": kind["type"], **{bound: kind[bound] for bound in _BOUNDS if bound in kind}}
    if kind.get("type") == "boolean":
        return {**about, "type": "boolean"}
    if "enum" in kind:
        return {**about, "type": "string", "enum": kind["enum"]}
    if kind.get("type") == "string" and "pattern" in kind:
        return {**about, "type": "string", "pattern": kind["pattern"]}
    return {**about, "type": "string"}


def _shown(default: object) -> str:
    text = json.dumps(default).replace("|", "\\|")
    return f"`{text}`" if default not in ("", [], {}) else ""


def main() -> int:
    """Write the three files."""
    (CHART / "values.schema.json").write_text(schema_text())
    (CHART / "Chart.yaml").write_text(chart_text())
    DOCUMENT.write_text(document_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
