"""Locks that the system takes back when the process that holds them dies, however it dies."""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mm_pipeline.domain.errors import StorageError

if TYPE_CHECKING:
    import sqlalchemy as sa

_MOST_SHOWN: Final = 200
_KEEP_ALIVE: Final = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""A server ends the session of a machine that vanished within 25 s, and its locks with it."""


class Lock(Protocol):
    """Held by one process at most, and by none that is dead."""

    def try_take(self, what: str) -> bool:
        """Take it without waiting; ``what`` tells others who holds it. False where another holds it."""

    def is_held(self) -> bool:
        """Whether this object holds it now."""

    def holder(self) -> str:
        """Who holds it, in words; empty where nobody says."""

    def free(self) -> None:
        """Let it go; nothing where it is not held."""


class FileLock:
    """An exclusive ``flock`` on a file, which the kernel frees with the last process that has the file open.

    It works between processes of one machine, and between machines that mount the folder by NFS 4.
    The file stays when the lock is let go: removing it would let two processes lock two files of one name.

    Raises
    ------
    StorageError
        Where the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_take(self, what: str) -> bool:
        """Take it without waiting."""
        if self._descriptor is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be opened: {error.strerror or error}.", "Check the folder and its permissions."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_still_there(descriptor):
                os.close(descriptor)
                return False
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        with suppress(OSError):  # a full disk takes the words, not the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}: {what}"[:_MOST_SHOWN].encode(), 0)
        return True

    def is_held(self) -> bool:
        """Whether this object holds it now."""
        return self._descriptor is not None

    def holder(self) -> str:
        """What the last holder wrote."""
        try:
            return self._path.read_text(errors="replace")[:_MOST_SHOWN]
        except OSError:
            return ""

    def free(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_still_there(self, descriptor: int) -> bool:
        """Whether the locked file is the one under its name: somebody may have removed it in between."""
        try:
            named, locked = os.stat(self._path), os.fstat(descriptor)
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == (locked.st_dev, locked.st_ino)


class AdvisoryLock:
    """A Postgres advisory lock, which the server frees with the session: for frames that several machines write.

    Raises
    ------
    StorageError
        Where the database cannot be asked.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        self._engine: sa.Engine | None = None
        self._session: sa.Connection | None = None

    def try_take(self, what: str) -> bool:
        """Take it without waiting, in a session of its own."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        if self.is_held():
            return True
        self.free()
        try:
            session = self._open(what).connect()
            is_taken = bool(session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar())
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise StorageError(
                f"the lock on frames in the journal's database cannot be taken: {reason}.",
                "Check that the database is running and reachable; the next tick tries again.",
            ) from error
        if is_taken:
            self._session = session
        else:
            session.close()
        return is_taken

    def is_held(self) -> bool:
        """Whether its session still lives: a server that was restarted has forgotten the lock."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        if self._session is None:
            return False
        try:
            self._session.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def holder(self) -> str:
        """The name of the session that holds it."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        asked = text(
            "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
            " AND granted AND (classid::bigint << 32 | objid::bigint) = :key"
        )
        try:
            with self._open("asking").connect() as session:
                return str(session.execute(asked, {"key": self._key}).scalar() or "")
        except SQLAlchemyError:
            return ""

    def free(self) -> None:
        """End the session."""
        from sqlalchemy.exc import SQLAlchemyError

        if self._session is not None:
            with suppress(SQLAlchemyError):
                self._session.close()
        if self._engine is not None:
            self._engine.dispose()
        self._session = self._engine = None

    def _open(self, what: str) -> sa.Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        if self._engine is None:
            name = f"mm {os.uname().nodename} {os.getpid()}: {what}"[:63]
            self._engine = create_engine(
                self._url,
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args={"options": _KEEP_ALIVE, "connect_timeout": 10, "application_name": name},
            )
        return self._engine
