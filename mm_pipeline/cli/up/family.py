"""Which processes belong to ``mm up`` of a home: one lock a home, and a mark in the environment of every descendant."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.config.home import HOME_VARIABLE, dagster_dir
from mm_pipeline.domain.errors import PipelineError, StorageError

MARK: Final = "MM_UP"
"""Environment variable of every descendant: process id of ``mm up``, a colon, its home."""
NOTE_FILE: Final = "up.pid"
"""File in the home with the process id of the ``mm up`` that runs; one that ends in order takes it away."""
_GONE_WITHIN_S: Final = 10.0
_POLL_S: Final = 0.05
_LOOKED_AT_WITHIN_S: Final = 1.0


@dataclass(frozen=True)
class Member:
    """A running process that ``mm up`` started, or that one of its children did."""

    pid: int
    mark: str


def mark_of(home: Path) -> str:
    """The mark of this process's descendants."""
    return f"{os.getpid()}:{home}"


@contextmanager
def only_one(home: Path) -> Iterator[int | None]:
    """Hold the home's lock, which dies with this process.

    It lies on Dagster's folder: a file could be deleted while it is held, and a second holder would make a new one.

    Yields
    ------
    int or None
        Process id of the last holder, where that one was killed and could not take its id away.

    Raises
    ------
    PipelineError
        When another ``mm up`` holds it, with its process id.
    StorageError
        When the home cannot be written.
    """
    folder, note = dagster_dir(home), home / NOTE_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)  # children do not inherit it
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        if not _take(descriptor, folder):
            raise PipelineError(
                f"mm up runs on {home} already (process {_noted(home) or 'unknown'}).",
                f"Stop that process, or set {HOME_VARIABLE} to another folder.",
            )
        killed = _noted(home)
        try:
            note.write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise _unusable(note, error) from error
        yield killed
        with suppress(OSError):
            note.unlink()
    finally:
        os.close(descriptor)


def holder(home: Path) -> int | None:
    """Process id of the ``mm up`` that runs on this home; None where none does, 0 where it has not said which."""
    try:
        descriptor = os.open(dagster_dir(home), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted(home) or 0
    except OSError:
        return None
    else:
        return None
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> bool:
    """Whether the lock could be had; a doctor that looks holds it for a moment, and is waited for."""
    end_s = time.monotonic() + _LOOKED_AT_WITHIN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                return False
            time.sleep(_POLL_S)
        except OSError as error:
            raise _unusable(folder, error) from error
        else:
            return True


def _noted(home: Path) -> int | None:
    try:
        return int((home / NOTE_FILE).read_text())
    except (OSError, ValueError):
        return None


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be used: {error.strerror or error}.",
        f"Check the path and its permissions, or set {HOME_VARIABLE} to another folder.",
    )


def members(home: Path, *, of: int | None = None) -> list[Member]:
    """Descendants of any ``mm up`` on this home, or of the one with process id ``of``; never this process."""
    found = [
        Member(pid, mark)
        for pid, mark in _marked()
        if mark.partition(":")[2] == str(home) and (of is None or mark.partition(":")[0] == str(of))
    ]
    return [member for member in found if member.pid != os.getpid()]


def end(home: Path, *, of: int | None = None) -> list[Member]:
    """Kill every descendant and wait until all are gone; those that were killed.

    A process may start another while it is being killed, so it looks until there is none.
    """
    killed: dict[int, Member] = {}
    end_s = time.monotonic() + _GONE_WITHIN_S
    while (left := members(home, of=of)) and time.monotonic() < end_s:
        for member in left:
            killed[member.pid] = member
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)
        time.sleep(_POLL_S)
    return list(killed.values())


def _marked() -> Iterator[tuple[int, str]]:
    """Process ids and marks of all processes of this user that bear one."""
    if Path("/proc/self/environ").exists():
        yield from _marked_in_proc()
    else:
        yield from _marked_in_ps()


def _marked_in_proc() -> Iterator[tuple[int, str]]:
    wanted = f"{MARK}=".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            entries = (folder / "environ").read_bytes().split(b"\0")  # empty for a zombie: that one is gone
        except OSError:
            continue
        for entry in entries:
            if entry.startswith(wanted):
                yield int(folder.name), os.fsdecode(entry[len(wanted) :])


def _marked_in_ps() -> Iterator[tuple[int, str]]:
    """macOS shows the environment of one's own processes behind their arguments, parted by blanks."""
    command = ["/bin/ps", "-axEww", "-o", "pid=,command="]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    for line in shown.stdout.splitlines():
        pid, _, rest = line.strip().partition(" ")
        _, found, mark = rest.partition(f" {MARK}=")
        if found and pid.isdigit():
            yield int(pid), _up_to_next_variable(mark)


def _up_to_next_variable(text: str) -> str:
    """The value of a variable, of which nothing but the next ``NAME=`` marks the end."""
    words = text.split(" ")
    end = next((place for place, word in enumerate(words) if place and word.partition("=")[0].isidentifier()
                and "=" in word), len(words))  # fmt: skip
    return " ".join(words[:end])
