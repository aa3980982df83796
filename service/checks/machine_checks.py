"""This machine: ports, memory for metrics, descriptors, temporary files, and the backup's voice and ears."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator

from service.checks.finding import Finding, failed, ok, warning
from service.config import Settings
from service.errors import ConfigurationError
from service.fallback import local_ears
from service.fallback.backup import make_backup
from service.metrics_files import chosen_folder
from service.ports import why_not_free

PROBE_SECONDS = 2.0
METRICS_BYTES_A_WORKER = 8 * 1024 * 1024
_MEBIBYTE = 1024 * 1024
_EARS = (*local_ears.PACKAGES, "av", "webrtcvad")


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Free, or ours already."""
    wanted = [("VOCERO_PORT", settings.host, settings.port)]
    if settings.ops_port:
        wanted.append(("VOCERO_OPS_PORT", settings.ops_host, settings.ops_port))
    for variable, host, port in wanted:
        yield check_port(variable, host, port, who_listens=_vocero_at)


def check_port(variable: str, host: str, port: int, *, who_listens: Callable[[str, int], str | None]) -> Finding:
    """One port; `who_listens` says who of ours answers there, None: nobody of ours."""
    reason = why_not_free(host, port)
    if reason is None:
        return ok("ports", f"{port} ({variable}) is free")
    if (who := who_listens(host, port)) is not None:
        return ok("ports", f"{port} ({variable}) is served by {who} already")
    return failed("ports", f"{port} on {host} {reason}", f"another {variable}, or end what listens there")


def reachable_name(host: str) -> str:
    """The address at which a listener on `host` is asked from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _vocero_at(host: str, port: int) -> str | None:
    connection = http.client.HTTPConnection(reachable_name(host), port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/version", headers={"Host": "127.0.0.1"})
        found = json.loads(connection.getresponse().read(65_536))
        return f"Vocero {found['version']}"[:40] if "schema" in found else None
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return None
    finally:
        connection.close()


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Room for metrics, descriptors, temporary files."""
    yield from _metrics_room(settings)
    yield from _descriptors(settings)
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 4096)
            file.flush()
        yield ok("machine", f"{tempfile.gettempdir()} can be written")
    except OSError as exc:
        yield failed("machine", f"no temporary file can be written ({exc.strerror})", "TMPDIR, or a tmpfs at /tmp")


def _metrics_room(settings: Settings) -> Iterator[Finding]:
    if not settings.ops_port:
        return
    above = chosen_folder().parent
    wanted = settings.workers * METRICS_BYTES_A_WORKER
    try:
        room = os.statvfs(above)
    except OSError as exc:
        yield failed("machine", f"{above} cannot be looked at ({exc.strerror})", "a tmpfs at /dev/shm")
        return
    free = room.f_bavail * room.f_frsize
    if not os.access(above, os.W_OK | os.X_OK):
        yield failed("machine", f"metrics cannot be written to {above}", "a tmpfs at /dev/shm")
    elif free < wanted:
        said = f"{above} has {free // _MEBIBYTE} MiB free, and metrics of {settings.workers} workers may need"
        yield warning("machine", f"{said} {wanted // _MEBIBYTE}", "--shm-size, or an emptyDir of medium: Memory")
    else:
        yield ok("machine", f"{above} has {free // _MEBIBYTE} MiB free for metrics")


def _descriptors(settings: Settings) -> Iterator[Finding]:
    wanted = settings.descriptors
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        yield warning(
            "machine",
            f"a worker may open {hard} files, and its VOCERO_WORKER_CONNECTIONS want {wanted}",
            "a higher limit (ulimit -Hn, LimitNOFILE=, --ulimit nofile), or fewer connections",
        )
    else:
        yield ok("machine", f"a worker may open the {wanted} files that its connections want")


def check_backup(settings: Settings) -> Iterator[Finding]:
    """The voice, the words and the ears of the agent on this machine, if it is in the chain."""
    if "local" not in settings.fallback_chain:
        return
    if importlib.util.find_spec("espeakng_loader") is None and settings.openai_speech_model is None:
        yield warning("backup", "it has no voice that people may hear", "pip install vocero[local]")
    try:
        backup = make_backup(settings)
        with contextlib.closing(backup):
            backup.start()
    except ConfigurationError as exc:
        yield failed("backup", str(exc).rstrip("."), "see VOCERO_FALLBACK_FAQ and VOCERO_FALLBACK_VOICES")
        return
    missing = [name for name in _EARS if importlib.util.find_spec(name) is None] if settings.fallback_ears else []
    if missing and settings.openai_transcription_model is None:
        yield warning(
            "backup", f"it hears nobody, and asks its users to type (without {', '.join(missing)})",
            "pip install vocero[local], or VOCERO_FALLBACK_EARS=false",
        )  # fmt: skip
        return
    yield ok("backup", "it speaks" + (" and hears" if settings.fallback_ears else ", and its users type"))
