"""Become another command that dies with ``mm up``: ``python -m mm_pipeline.cli.up.exec PARENT COMMAND ...``.

Linux alone sends a signal when a parent dies, and keeps that wish over ``exec``. Elsewhere ``reaper`` is what ends
the children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies; nothing where the kernel cannot.

    Parameters
    ----------
    parent
        Process id of who started this one; where it is dead already, this process ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Replace this process by the command of its arguments."""
    parent, *command = sys.argv[1:]
    die_with_parent(int(parent))
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own command, no shell


if __name__ == "__main__":
    main()
