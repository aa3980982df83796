"""A disk that can be full: a small file system in memory where we may mount one, else a bound on the size of files."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTES = 48
CHUNK = bytes(65_536)


class SmallDisk:
    """The disk of `folder`. Without a file system of its own, `fill` bounds the files that the process may write."""

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder = folder
        self.is_mounted = is_mounted

    def fill(self, pid: int) -> None:
        """From now on nothing can be written here by process `pid`."""
        if not self.is_mounted:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
            return
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for piece in (CHUNK, b"x"):
                try:
                    while filler.write(piece):
                        pass
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A small disk at `folder`."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0700", "vocero-tests", str(folder)]
    is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield SmallDisk(folder, is_mounted=is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
