"""Where a setting's value comes from: the environment, or else a file of VOCERO_SECRETS_FOLDER that bears its name.

The key decision: this stands in the place of pydantic-settings' own two sources. Its environment also takes a field's
bare name for a variable (`PORT`, `WORKERS`), which any platform may set; its folder of secrets reads a file of any
size, takes a name in any case, only warns about what it cannot read, and cuts blanks off that may be the secret's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.errors import SettingsError

FOLDER_VARIABLE = "VOCERO_SECRETS_FOLDER"
OURS = ("VOCERO_", "ELEVENLABS_", "VAULT_", "SECRETS_", "OTEL_")
"""How the variables begin that mean something to us; any of them may hold a secret."""

LARGEST_FILE = 64 * 1024
"""Bytes. What is larger than every value that makes sense was put there by mistake."""


class Origin(StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    SECRETS_FILE = "secrets file"


@dataclass(frozen=True)
class Found:
    """A variable's value, which its text does not show, and where it was found."""

    value: str
    origin: Origin

    def __repr__(self) -> str:
        return f"Found(hidden, {self.origin.value!r})"


class VariablesSettings(BaseSettings):
    """Settings that are read by us: from variables of their aliases' names, exactly, and from nowhere else."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    def clashes(self) -> Iterator[str]:
        """What cannot be as it is because of two settings together: sentences that name both variables."""
        yield from ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class's)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the same)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the same)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given by name, then ours."""
        return init_settings, _OurSource(settings_cls)


class _OurSource(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field, as the base class wants it told."""
        name = field.alias or field_name
        found = find(name)
        return (None if found is None else found.value), name, False

    def __call__(self) -> dict[str, Any]:
        """The values of all fields that have one."""
        names = [field.alias or name for name, field in self.settings_cls.model_fields.items()]
        return {name: found.value for name, found in find_all(names).items()}


def find(name: str, environment: Mapping[str, str] | None = None) -> Found | None:
    """The value of a variable; None if it has none. An empty one is none.

    Raises:
        SettingsError: its file, or the folder of them, cannot be used.
    """
    return find_all([name], environment).get(name)


def find_all(names: Iterable[str], environment: Mapping[str, str] | None = None) -> dict[str, Found]:
    """The values of those variables that have one; raises as `find`."""
    environment = os.environ if environment is None else environment
    folder = secrets_folder(environment)
    files = set() if folder is None else set(names_in(folder))
    values = {}
    for name in names:
        if environment.get(name):
            values[name] = Found(environment[name], Origin.ENVIRONMENT)
        elif folder is not None and name in files:
            value = _read(folder / name)
            if value:
                values[name] = Found(value, Origin.SECRETS_FILE)
    return values


def set_names(environment: Mapping[str, str] | None = None) -> list[str]:
    """The names of all variables of the environment, whosever they are."""
    return list(os.environ if environment is None else environment)


def secrets_folder(environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder of secrets; None: there is none."""
    given = (os.environ if environment is None else environment).get(FOLDER_VARIABLE)
    return Path(given) if given else None


def names_in(folder: Path) -> list[str]:
    """The names of ours in the folder of secrets; what else lies there (Kubernetes has `..data`) is not ours.

    Raises:
        SettingsError: the folder cannot be read.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "no path"
        raise SettingsError(f"{FOLDER_VARIABLE}: the folder {folder} cannot be read ({reason}).") from None
    return sorted(name for name in names if name.startswith(OURS) and name != FOLDER_VARIABLE)


def without_ours(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment (this process's) for one that needs none of our settings, and so none of our secrets."""
    environment = os.environ if environment is None else environment
    return {name: value for name, value in environment.items() if not name.startswith(OURS)}


def _read(path: Path) -> str:
    try:
        # Not blocking: a pipe that nobody writes to would hold up the start for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise _unusable(path, f"cannot be read ({exc.strerror})") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unusable(path, "is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as exc:
        raise _unusable(path, f"cannot be read ({exc.strerror})") from None
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_FILE:
        raise _unusable(path, f"has more than {LARGEST_FILE // 1024} KiB")
    try:
        # What wrote the file ended its line; anything else at the ends may belong to the secret.
        value = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise _unusable(path, "is no text in UTF-8") from None
    if "\0" in value:
        raise _unusable(path, "has a NUL byte, which no variable can have")
    return value


def _unusable(path: Path, reason: str) -> SettingsError:
    return SettingsError(f"{path.name}: the file {path} {reason}.")
