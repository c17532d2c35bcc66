"""Whether journal and disk can be written now, and whether an error says that they cannot."""

from __future__ import annotations

import errno
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from mm_pipeline.domain.errors import PipelineError, StorageError

_WRITTEN_BYTES: Final = 256 * 1024
_LOCK_WAIT: Final = timedelta(seconds=5)
_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK: Final = _SPACE | {errno.EROFS, errno.EIO}
_SPACE_WORDS: Final = ("disk is full", "no space left", "disk quota exceeded", "could not extend file")


def is_out_of_space(error: BaseException) -> bool:
    """Whether the error, or one that caused it, says that the disk is full."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _SPACE)
        or any(word in str(cause).lower() for word in _SPACE_WORDS)
        for cause in _causes(error)
    )


def is_storage_failure(error: BaseException) -> bool:
    """Whether the error, or one that caused it, is about journal, frames, disk or Dagster's own storage."""
    from sqlalchemy.exc import DBAPIError  # heavy, and only needed once something has failed

    return any(
        isinstance(cause, StorageError | DBAPIError | sqlite3.Error)
        or (isinstance(cause, OSError) and cause.errno in _DISK)
        or type(cause).__name__ == "DagsterPostgresException"
        for cause in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it arose from, nearest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


@dataclass(frozen=True)
class StorageProbe:
    """Asks the real parts.

    Attributes
    ----------
    journal_url
        The journal's database.
    folders
        Where frames and Dagster's own records are written; those not there yet are left out.
    is_paper
        Whether the markets are simulated: a journal of the others refuses every tick.
    """

    journal_url: str
    folders: tuple[Path, ...]
    is_paper: bool

    def problem(self, *, is_thorough: bool = False) -> PipelineError | None:
        """What is wrong now; None where journal and folders take a write.

        Parameters
        ----------
        is_thorough
            Also read all of a SQLite journal: damage may lie anywhere (a second for each 200 MB).
        """
        return next(self._problems(is_thorough=is_thorough), None)

    def _problems(self, *, is_thorough: bool) -> Iterator[PipelineError]:
        yield from _unwritable(self.folders)
        try:
            self._write_journal(is_thorough=is_thorough)
            self._open_journal()
        except PipelineError as error:
            yield error
        except Exception as error:  # whatever keeps it from being written is the outage
            yield StorageError(f"the journal cannot be used: {error}.", "Check the database; see mm doctor.")

    def _open_journal(self) -> None:
        """As a tick does: one of another version, or of other markets, takes a write and refuses each tick."""
        from mm_pipeline.adapters.journal import Journal

        with Journal(self.journal_url, lock_wait=_LOCK_WAIT) as journal:
            journal.claim(is_paper=self.is_paper, is_new=False)

    def _write_journal(self, *, is_thorough: bool) -> None:
        from mm_pipeline.adapters.journal.database import Database

        with closing(Database(self.journal_url, lock_wait=_LOCK_WAIT)) as database:
            with database.writing() as connection:
                if database.dialect == "sqlite":
                    # Written as it is: a page goes to the log, which a full or read-only disk does not take.
                    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                    connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")
                else:
                    connection.exec_driver_sql("CREATE TEMPORARY TABLE mm_probe (at integer) ON COMMIT DROP")
            if is_thorough and database.dialect == "sqlite":
                with database.reading() as connection:
                    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
                if found != "ok":
                    raise StorageError(
                        f"the journal {self.journal_url.removeprefix('sqlite:///')} is damaged: {found}.",
                        "Put back a copy of it, or move it aside: the next tick then begins a new one.",
                    )


def _unwritable(folders: Iterable[Path]) -> Iterator[StorageError]:
    for folder in folders:
        if not folder.is_dir():
            continue
        file = folder / f".probe-{uuid.uuid4().hex}"
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(bytes(_WRITTEN_BYTES))
                opened.flush()
                os.fsync(descriptor)
        except OSError as error:
            hint = "Free disk space: the watch goes on by itself." if error.errno in _SPACE else "Check the disk."
            yield StorageError(f"{folder} cannot be written: {error.strerror or error}.", hint)
        finally:
            with suppress(OSError):
                file.unlink()
