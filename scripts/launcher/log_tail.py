"""Showing what the children write to their logs, as it comes (`make run V=1`)."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.launcher.child import Child

LARGEST_READ = 65536


class LogTail:
    """Prints each new whole line with the name of its child in front."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._read = dict.fromkeys([child.name for child in children], 0)

    def print_new_lines(self) -> None:
        """Print what came since the last call, at most 64 kB a child."""
        for child in self._children:
            with child.log_path.open("rb") as log:
                log.seek(self._read[child.name])
                new = log.read(LARGEST_READ)
            whole = new[: new.rfind(b"\n") + 1] or (new if len(new) == LARGEST_READ else b"")
            self._read[child.name] += len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                print(f"{child.name:>8} | {line}", flush=True)
