"""Room on the disk: a reserve that is given up when the disk is full, and how much is free."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.config.home import reserve_file
from mm_pipeline.adapters.last_resort.policy import LastResortPolicy

MB: Final = 1_000_000
FULL_BYTES: Final = MB
"""With less than this free, SQLite and Dagster's records fail at any moment."""


class RoomState(StrEnum):
    """How much room there is."""

    ENOUGH = "enough"
    LOW = "low"
    RELEASED = "released"
    FULL = "full"


@dataclass(frozen=True)
class Room:
    """The disk that holds a home.

    Attributes
    ----------
    home
        Any folder of it, made or not.
    """

    home: Path
    policy: LastResortPolicy

    @property
    def free_mb(self) -> float:
        """What may still be written, in MB (1e6 bytes), without the reserve."""
        return self._free_bytes() / MB

    def check(self) -> RoomState:
        """Give up the reserve where the disk is full, and say how much room there is. Never raises."""
        free = self._free_bytes()
        if free < FULL_BYTES:
            return RoomState.RELEASED if self.release() else RoomState.FULL
        # A reserve that was given up and does not fit again is no less a warning: the next time there is none.
        is_short = free < 2 * self.policy.reserve_mb * MB and not reserve_file(self.home).exists()
        return RoomState.LOW if free < self.policy.warn_free_mb * MB or is_short else RoomState.ENOUGH

    def reserve(self) -> bool:
        """Keep ``reserve_mb`` free for bad times, where that leaves as much again; whether it is kept. Never raises."""
        size, file = self.policy.reserve_mb * MB, reserve_file(self.home)
        with suppress(OSError):
            if file.stat().st_size == size and file.stat().st_blocks * 512 >= size:
                return True
        self.release()
        if not size or self._free_bytes() < 2 * size:
            return False
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the reserve up; False where there was none. Never raises."""
        try:
            reserve_file(self.home).unlink()
        except OSError:
            return False
        return True

    def _free_bytes(self) -> int:
        there = next(path for path in (self.home, *self.home.absolute().parents) if path.exists())
        try:
            return shutil.disk_usage(there).free
        except OSError:
            return 0
