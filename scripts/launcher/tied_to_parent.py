"""Become another command that the kernel ends when the process that started us is gone, even by kill -9.

The key decision: this is a program in front of the command and not a `preexec_fn`, which must not run Python between
fork and exec in a process that has threads. Usage: tied_to_parent.py PARENT_PID COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); it survives execve, and only Linux has it


def main() -> None:
    """Tie, then replace ourselves with the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we were tied
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
