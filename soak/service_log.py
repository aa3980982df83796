"""What must not stand in the service's log, whatever its peers did: that something failed which nobody foresaw."""

from __future__ import annotations

from pathlib import Path

ALARMING = ("Traceback (most recent call last)", "conversation failed", "conversation socket failed", "[CRITICAL]")
SHOWN_LINES = 25


def failures_in(log_path: Path) -> list[str]:
    """A failure if there is an alarming line in the log, with what follows the first one."""
    lines = log_path.read_text(errors="replace").splitlines()
    alarming = [index for index, line in enumerate(lines) if any(word in line for word in ALARMING)]
    if not alarming:
        return []
    shown = "\n      ".join(lines[alarming[0] : alarming[0] + SHOWN_LINES])
    return [f"the service's log has {len(alarming)} alarming lines; the first one:\n      {shown}"]
