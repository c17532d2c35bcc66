"""Ends what ``mm up`` leaves behind when it dies without a word: ``python -m mm_pipeline.cli.up.reaper HOME FOLDER``.

``mm up`` holds the other end of its standard input. When that end closes, ``mm up`` is gone, whatever ended it, and
every process that bears its mark is killed: children, and the runs that they started.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from mm_pipeline.cli.up.family import MARK, end


def main() -> None:
    """Wait for the end of standard input, then end the family and remove its folder of sockets."""
    home, folder = Path(sys.argv[1]), Path(sys.argv[2])
    parent = int(os.environ[MARK].partition(":")[0])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends a terminal's processes must not end who tidies up
    while os.read(sys.stdin.fileno(), 1):
        pass
    end(home, of=parent)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
