"""Whose turn it is to write frames: one writer at a time, and a tick before everything else.

There are two locks. The writer's is held by each stage of a run, from before it reads to after it has written. The
gate is held by a tick from its first stage to its last, and while it is, no other run begins a stage. So a tick waits
for one stage of a backfill at most, and is not interrupted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.writing.locks import AdvisoryLock, FileLock, Lock
from mm_pipeline.adapters.writing.policy import WritingPolicy
from mm_pipeline.domain.errors import StorageError

_POLL_S: Final = 0.1


class Turns:
    """One run's part in the order of writers.

    Parameters
    ----------
    gate, writer
        The two locks; both are this run's own objects.
    policy
        How long to wait.
    """

    def __init__(self, gate: Lock, writer: Lock, policy: WritingPolicy) -> None:
        self._gate = gate
        self._writer = writer
        self._policy = policy
        self._refused = gate
        self._stuck: str | None = None

    @contextmanager
    def urgent(self, what: str) -> Iterator[str | None]:
        """A tick's stage: it goes on without the lock rather than not at all.

        Yields
        ------
        str or None
            Who holds the lock that did not come in ``writing.tick_wait``; None where it came. Going on is safe for what
            is stored: each file is replaced whole, and a run that is resumed keeps rows later than its own evaluation.
        """
        if self._stuck is None:
            end_s = _end(self._policy.tick_wait)
            while not self._take_both(what):
                if time.monotonic() >= end_s:
                    self._stuck = self._holder()
                    break
                time.sleep(_POLL_S)
        elif self._take_both(what):
            self._stuck = None
        try:
            yield self._stuck
        finally:
            self._writer.free()

    @contextmanager
    def ordinary(self, what: str) -> Iterator[None]:
        """A stage of any other run: it waits until no tick is under way and nobody writes.

        Raises
        ------
        StorageError
            When that takes longer than ``writing.give_up_after``: a run that waits may itself hold a tick up.
        """
        end_s = _end(self._policy.give_up_after)
        while not self._take_ordinary(what):
            if time.monotonic() >= end_s:
                raise StorageError(
                    f"frames are being written by another process ({self._holder()}).",
                    "Wait until it has ended, or end it if it hangs; then start this again.",
                )
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            self._writer.free()

    def end(self) -> None:
        """Let everything go."""
        self._writer.free()
        self._gate.free()

    def _take_ordinary(self, what: str) -> bool:
        try:
            return self._take_both(what)
        finally:
            self._gate.free()

    def _take_both(self, what: str) -> bool:
        for lock in (self._gate, self._writer):
            if not lock.try_take(what):
                self._refused = lock
                return False
        return True

    def _holder(self) -> str:
        return self._refused.holder() or "it does not say which"


def turns_of(frames_root: str, journal_url: str, policy: WritingPolicy) -> Turns:
    """Turns of the writers of a frame store.

    Frames on a disk are locked beside their folder. Those in an object store, which has no locks, are locked in the
    journal's database where that is Postgres, so that several machines may write them. With a journal in a file there
    is one machine, and the locks lie beside the journal.
    """
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

    fs, path = url_to_fs(frames_root)
    lock_of: Callable[[str], Lock]
    if isinstance(fs, LocalFileSystem):
        beside = Path(str(path).rstrip("/"))
        lock_of = lambda kind: FileLock(beside.with_name(f"{beside.name}.{kind}.lock"))  # noqa: E731
    elif journal_url.startswith("sqlite:"):
        folder = Path(journal_url.removeprefix("sqlite:///")).parent
        name = hashlib.sha256(frames_root.encode()).hexdigest()[:16]
        lock_of = lambda kind: FileLock(folder / f"frames-{name}.{kind}.lock")  # noqa: E731
    else:
        lock_of = lambda kind: AdvisoryLock(journal_url, f"mm frames {kind} {frames_root}")  # noqa: E731
    return Turns(lock_of("tick"), lock_of("writer"), policy)


def _end(wait: timedelta) -> float:
    return time.monotonic() + wait.total_seconds()
