"""The settings as they are: each with its value, where that comes from, and whether it is the default.

The key decision: of a secret it is told that it is set, and nothing else. Its length would help whoever guesses it more
than whoever looks for a mistake: `python -m service check` tries it. Addresses are shown without their passwords.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from service.allowed_values import is_secret
from service.setting_groups import HEADINGS, grouped
from service.variables import Origin, VariablesSettings, find_all

HIDDEN, UNSET = "(set, hidden)", "(unset)"
LONGEST_SHOWN = 100
_ADDRESSES = frozenset({"VOCERO_DATABASE_URL"})
"""Secrets of which all but the password is shown: one has to see which database it is."""


@dataclass(frozen=True)
class EffectiveSetting:
    """One of them; `value` is fit to be shown, and `origin` may be ".env" too."""

    group: str
    variable: str
    value: str
    origin: str
    is_default: bool


def effective(
    settings: VariablesSettings, *, of_env_file: Collection[str] = (), headings: Mapping[str, str] = HEADINGS
) -> list[EffectiveSetting]:
    """All of `settings`, in the order of their groups; `of_env_file` are the variables that a file called .env set."""
    fields = type(settings).model_fields
    found = find_all([field.alias or name for name, field in fields.items()])
    said = []
    for group, members in grouped(fields, headings):
        for name, field in members.items():
            variable = field.alias or name
            origin = found[variable].origin if variable in found else Origin.DEFAULT
            value = getattr(settings, name)
            said.append(
                EffectiveSetting(
                    group=group,
                    variable=variable,
                    value=shown(value, field),
                    origin=".env" if variable in of_env_file else origin.value,
                    is_default=value == field.default,
                )
            )
    return said


def shown(value: Any, field: FieldInfo) -> str:
    """A value as people may see it."""
    if value is None:
        return UNSET
    if is_secret(field):
        return _without_password(value.get_secret_value()) if field.alias in _ADDRESSES else HIDDEN
    return _without_password(_text(value))


def as_text(settings: list[EffectiveSetting]) -> str:
    """For people: a paragraph a group; a star stands before what is not the default."""
    width = max(len(setting.variable) for setting in settings)
    lines, group = [], None
    for setting in settings:
        if setting.group != group:
            group = setting.group
            lines += ["", group]
        star = " " if setting.is_default else "*"
        value = setting.value if len(setting.value) <= LONGEST_SHOWN else f"{setting.value[: LONGEST_SHOWN - 3]}..."
        origin = "" if setting.origin == Origin.DEFAULT else f"  [{setting.origin}]"
        lines.append(f"{star} {setting.variable:<{width}}  {value}{origin}")
    return "\n".join(lines[1:])


def as_json(settings: list[EffectiveSetting]) -> list[dict[str, Any]]:
    """For machines."""
    return [asdict(setting) for setting in settings]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(sorted(value)) or UNSET
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, SecretStr):
        return HIDDEN
    return " ".join(str(value).split()) or UNSET


def _without_password(text: str) -> str:
    """An address without what may be a password in it: all between the user's name and the last @, and the query."""
    if "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    rest = re.sub(r"^([^:@/]*):.*@", r"\1:(hidden)@", rest, flags=re.DOTALL)
    place, question, query = rest.partition("?")
    return f"{scheme}://{place}" + (f"?{'(hidden)' if query else ''}" if question else "")
