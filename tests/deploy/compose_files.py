"""The Compose files as they are written, and as Compose sees them."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
BASE, PRODUCTION = ROOT / "docker-compose.yml", ROOT / "docker-compose.production.yml"
FILES = (BASE, PRODUCTION)
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+)(?::?([-?])([^}]*))?\}")
SETTINGS = re.compile(r"^# ([A-Z0-9_]+)=(.*)$", re.MULTILINE)


class Overridden(yaml.SafeLoader):
    """YAML with Compose's own tags, which say how two files are put together."""


@cache
def read(path: Path) -> dict[str, Any]:
    """A file as YAML, with its aliases and merges done and its variables as they are written."""
    found: dict[str, Any] = yaml.load(path.read_text(), Overridden)  # a safe loader
    return found


def services(path: Path = BASE) -> dict[str, dict[str, Any]]:
    """The services of a file."""
    found: dict[str, dict[str, Any]] = read(path)["services"]
    return found


def filled(text: str, **given: str) -> str:
    """The text with each variable's default (or what is given) in its place."""
    return VARIABLE.sub(lambda found: given.get(found[1], found[3] or ""), text)


def environment() -> dict[str, str]:
    """An environment in which only what the files say counts."""
    ours = ("VOCERO_", "COMPOSE_", "ELEVENLABS_", "VAULT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
