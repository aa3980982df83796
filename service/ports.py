"""Whether a port can be had, asked before it is opened: so that it costs one line that names the variable."""

from __future__ import annotations

import errno
import socket
from typing import Any

from service.errors import ConfigurationError


def why_not_free(host: str, port: int) -> str | None:
    """Say why nothing could listen at (host, port); None if something could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does: TIME_WAIT is no obstacle
        try:
            trial.bind((host, port))
        except PermissionError:
            return "needs root's rights"
        except OSError as exc:
            return "is taken" if exc.errno == errno.EADDRINUSE else f"cannot be used ({exc.strerror or exc})"
    return None


def check_free(host: str, port: int, *, port_variable: str, host_variable: str) -> None:
    """Make sure of it.

    Raises:
        ConfigurationError: it cannot be had; one line that names what to change.
    """
    reason = why_not_free(host, port)
    if reason is None:
        return
    hint = f"see {host_variable}" if reason.startswith("cannot") else f"{port_variable} chooses another"
    raise ConfigurationError(f"Port {port} on {host} {reason}: {hint}.")


def check_listeners(server: Any, *, port_variable: str, host_variable: str) -> None:
    """The same for all addresses of a gunicorn, who would try for five seconds and then name no variable."""
    if "LISTEN_FDS" in server.cfg.env_orig:
        return  # systemd has opened the socket
    for address in server.cfg.address:
        if isinstance(address, tuple):
            check_free(*address, port_variable=port_variable, host_variable=host_variable)
