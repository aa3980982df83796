"""What each worker says of its readiness in a file beside its metrics, and what that makes of them together.

The key decision: a worker writes, nobody asks it. So the ops listener knows whether the service is ready without a key,
a connection or a library, and a worker that hangs is noticed by its silence: what is older than `FRESH_SECONDS` is not
believed. Times are the machine's monotonic clock, which all its processes share and nobody sets.

Standard library only, because the ops listener runs beside every service.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OK = "ok"
FRESH_SECONDS = 5.0
NO_WORKER = "no worker answers"

_PREFIX = "readiness_"
_SUFFIX = ".json"
_BYTES = 8192
"""Of a file: always the same, so that it can be written over where there is no room for another."""

_LONGEST_TEXT = 300


def _monotonic() -> float:
    return time.monotonic()


@dataclass(frozen=True)
class WorkerReadiness:
    """What one worker says: `dependencies` by name, each "ok" or why it is not.

    `conversations` go on, of `capacity`; `code_schema` is the schema that its code is made for, `database_schema` the
    one that it has found; `said_at` is monotonic.
    """

    dependencies: Mapping[str, str]
    draining: bool = False
    maintenance: str | None = None
    conversations: int = 0
    capacity: int = 0
    code_schema: str | None = None
    database_schema: str | None = None
    said_at: float = field(default_factory=_monotonic)

    @property
    def is_ready(self) -> bool:
        """Whether it takes a conversation now (if it has a place)."""
        return not self.draining and self.maintenance is None and set(self.dependencies.values()) <= {OK}


def write(folder: Path, place: int, said: WorkerReadiness) -> None:
    """Say it, in the place of what was said before.

    Raises:
        OSError: the folder is gone, or there is no room even for the first time.
    """
    file = folder / f"{_PREFIX}{place}{_SUFFIX}"
    data = _packed(said)
    unfinished = file.with_suffix(".new")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(file)
    except OSError:  # the disk is full; a reader that comes in the middle finds nonsense, and reads it again
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)


def read_all(folder: Path) -> list[WorkerReadiness]:
    """What the workers say that have said something lately."""
    now = time.monotonic()
    found = (_read(file) for file in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")))
    return [said for said in found if said is not None and 0 <= now - said.said_at <= FRESH_SECONDS]


def together(all_said: list[WorkerReadiness]) -> dict[str, Any]:
    """The service's readiness as JSON: ready if one worker is; of each dependency the worst that a worker says."""
    is_ready = any(said.is_ready for said in all_said)
    names = list(dict.fromkeys(name for said in all_said for name in said.dependencies))
    states = {name: [said.dependencies[name] for said in all_said if name in said.dependencies] for name in names}
    return {
        "status": OK if is_ready else "unavailable",
        **({} if all_said else {"reason": NO_WORKER}),
        **{name: _worst(said) for name, said in states.items()},
        "draining": bool(all_said) and all(said.draining for said in all_said),
        "maintenance": next((said.maintenance for said in all_said if said.maintenance is not None), None),
        "dependencies": {
            name: {"ok": said.count(OK), "failing": len(said) - said.count(OK), "reason": _worst(said, or_else=None)}
            for name, said in states.items()
        },
        "workers": {
            "answering": len(all_said),
            "ready": sum(said.is_ready for said in all_said),
            "draining": sum(said.draining for said in all_said),
            "conversations": sum(said.conversations for said in all_said),
            "capacity": sum(said.capacity for said in all_said),
        },
    }


def schemas(all_said: list[WorkerReadiness]) -> dict[str, Any]:
    """The schemas that the workers' code is made for, and that they have found."""
    return {
        "code": sorted({said.code_schema for said in all_said if said.code_schema}),
        "database": sorted({said.database_schema for said in all_said if said.database_schema}),
    }


def _worst(said: list[str], *, or_else: str | None = OK) -> str | None:
    """The failure that most workers tell."""
    failures = [each for each in said if each != OK]
    return max(failures, key=failures.count) if failures else or_else


def _packed(said: WorkerReadiness) -> bytes:
    fields = asdict(said)
    fields["maintenance"] = said.maintenance and said.maintenance[:_LONGEST_TEXT]
    fields["dependencies"] = {name: text[:_LONGEST_TEXT] for name, text in said.dependencies.items()}
    return json.dumps(fields).encode()[:_BYTES].ljust(_BYTES)


def _read(file: Path) -> WorkerReadiness | None:
    for _ in range(2):
        try:
            with file.open("rb") as opened:
                return _checked(json.loads(opened.read(_BYTES)))
        except (ValueError, TypeError):
            continue  # it was being written over, or it is nonsense
        except OSError:
            return None
    return None


def _checked(found: dict[str, Any]) -> WorkerReadiness:
    said = WorkerReadiness(**found)
    if not isinstance(said.dependencies, dict) or not isinstance(said.said_at, int | float):
        raise TypeError
    if not all(isinstance(text, str) for each in said.dependencies.items() for text in each):
        raise TypeError
    if not (isinstance(said.conversations, int) and isinstance(said.capacity, int)):
        raise TypeError
    return said
