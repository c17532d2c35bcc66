"""What ``mm up`` says while it runs: lines from several threads, to a terminal that may go away."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


def hush_libraries() -> None:
    """Keep off the terminal what libraries say through no logger of their own.

    Dagster's storage warns so of each attempt to connect; an outage is one of :class:`Conditions`, and said once.
    """
    logging.getLogger().addFilter(_has_a_name)


def _has_a_name(record: logging.LogRecord) -> bool:
    return record.name != "root"


class Terminal:
    """Prints whole lines. A terminal that was closed, or a pipe that nobody reads, ends no watch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, line: str | Text) -> None:
        """Print one line; nothing where there is nobody to read it."""
        from mm_pipeline.cli.output import stdout

        with self._lock, suppress(OSError, ValueError, SystemExit):  # rich ends the program at a broken pipe
            stdout().print(line, soft_wrap=True, markup=False, highlight=False)

    def say_at(self, line: str) -> None:
        """Print one line behind the time of day (UTC)."""
        from mm_pipeline.adapters.clock import SystemClock

        self.say(f"{SystemClock().now():%m-%d %H:%M:%S}   {line}")


class Conditions:
    """Things that last, such as an outage: each is said when it begins and when it ends, not in between."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._standing: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, name: str, line: str) -> bool:
        """Say that it is so; False where that was said already."""
        with self._lock:
            is_new = name not in self._standing
            self._standing.add(name)
        if is_new:
            self._terminal.say_at(line)
        return is_new

    def end(self, name: str, line: str) -> None:
        """Say that it is over; nothing where it never began."""
        with self._lock:
            was_standing = name in self._standing
            self._standing.discard(name)
        if was_standing:
            self._terminal.say_at(line)
