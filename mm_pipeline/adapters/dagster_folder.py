"""The folder of Dagster's own storage: made, configured, and opened by one process at a time. Knows no Dagster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.config.home import HOME_VARIABLE, dagster_dir
from mm_pipeline.adapters.writing import FileLock
from mm_pipeline.domain.errors import StorageError

INSTANCE_SETTINGS: Final = Path(__file__).parents[1] / "settings" / "dagster.yaml"
"""What a fresh home is configured with."""
LOCK_FILE: Final = "opening.lock"
_OPENED_WITHIN_S: Final = 30.0
"""Opening takes a second or two. One that hangs longer makes no databases any more."""
_POLL_S: Final = 0.02


@contextmanager
def opening(home: Path) -> Iterator[Path]:
    """Hold the folder's lock while its storage is opened, which makes it where it is not there yet.

    Of two processes that both make Dagster's databases in SQLite one would fail: "table alembic_version already
    exists". Where the lock cannot be had it is gone on without, for databases that are there can be opened by many.

    Yields
    ------
    Path
        The folder, with its ``dagster.yaml``.

    Raises
    ------
    StorageError
        When the home cannot be written.
    """
    folder = dagster_dir(home)
    lock = FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _wait_for(lock)
        _configure(folder / "dagster.yaml")
    except OSError as error:
        lock.free()
        raise StorageError(
            f"{folder} cannot be made: {error.strerror or error}.",
            f"Check the path and its permissions, or set {HOME_VARIABLE} to another folder.",
        ) from error
    try:
        yield folder
    finally:
        lock.free()


def _wait_for(lock: FileLock) -> None:
    end_s = time.monotonic() + _OPENED_WITHIN_S
    with suppress(StorageError):  # a disk that takes no lock file takes no new database either
        while not lock.try_take("opening Dagster's storage") and time.monotonic() < end_s:
            time.sleep(_POLL_S)


def _configure(settings: Path) -> None:
    """Write the settings of a fresh home whole or not at all: half of them would be taken for an operator's choice."""
    if settings.is_file():
        return
    staged = settings.with_name(f".{settings.name}.{os.getpid()}")
    try:
        staged.write_bytes(INSTANCE_SETTINGS.read_bytes())
        staged.replace(settings)
    finally:
        staged.unlink(missing_ok=True)
