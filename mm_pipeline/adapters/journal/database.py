"""One database, SQLite or Postgres, behind two kinds of transaction. Knows no table."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal.valid import END_OF_TIME, up_to
from mm_pipeline.domain.errors import StorageError

LOCK_WAIT = timedelta(seconds=30)
"""How long a transaction waits for another writer (busy_timeout, lock_timeout) before it gives up."""

CONNECT_WAIT = timedelta(seconds=10)
"""How long a server that does not answer is waited for."""

_WRITES = "journal_writes"


def sqlite_url(file: Path) -> str:
    """URL of a SQLite journal in this file."""
    return f"sqlite:///{file.absolute()}"


def parsed_url(url: str) -> sa.URL:
    """Parts of a database's address.

    Raises
    ------
    ArgumentError
        When it is no address; without its text, which may hold a password.
    """
    try:
        return sa.make_url(url)
    except ArgumentError:
        raise ArgumentError("it is not a database address") from None
    except ValueError:
        raise ArgumentError("its port is not a number") from None


class Database:
    """Transactions on the journal's database.

    Parameters
    ----------
    url
        ``sqlite:////absolute/path/journal.db`` or ``postgresql://user@host/name``.
    lock_wait
        How long to wait for another writer.

    Attributes
    ----------
    clock
        Rows of a time later than its, by more than ``tolerance``, are not believed (see ``valid``); None believes all.
    tolerance
        How far the clocks of two writers may be apart.

    Raises
    ------
    StorageError
        From everything here, naming the database (never its password) and the hint.
    """

    def __init__(self, url: str, *, lock_wait: timedelta = LOCK_WAIT) -> None:
        self.clock: Clock | None = None
        self.tolerance = timedelta(0)
        self._lock_wait_ms = lock_wait // timedelta(milliseconds=1)
        try:
            self._engine = self._open(parsed_url(url))
        except (ArgumentError, ImportError) as error:
            raise StorageError(
                f"the journal's address cannot be used: {error}.",
                "Write it like sqlite:////path/journal.db or postgresql://user@host/name.",
            ) from error
        self._writer = self._engine.execution_options(**{_WRITES: True})

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._transaction(self._engine) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is committed whole at the end of the block, or not at all.

        On SQLite it takes the write lock at once (``BEGIN IMMEDIATE``): one taken later cannot be waited for.
        """
        with self._transaction(self._writer) as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        limit = END_OF_TIME if self.clock is None else self.clock.now() + self.tolerance
        try:
            with up_to(limit), engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._failed(error) from error

    def _open(self, url: sa.URL) -> sa.Engine:
        if url.get_backend_name() == "sqlite":
            return self._open_sqlite(url)
        if url.get_backend_name() == "postgresql":
            options = f"-c lock_timeout={self._lock_wait_ms}"
            wait_s = int(CONNECT_WAIT.total_seconds())
            return sa.create_engine(
                url, pool_pre_ping=True, connect_args={"options": options, "connect_timeout": wait_s}
            )
        raise ArgumentError(f"{url.get_backend_name()} is neither sqlite nor postgresql")

    def _open_sqlite(self, url: sa.URL) -> sa.Engine:
        if not url.database or not os.path.isabs(url.database):
            raise ArgumentError(f"the journal's file {url.database!r} is not an absolute path")
        file = Path(url.database)
        engine = sa.create_engine(url, connect_args={"timeout": self._lock_wait_ms / 1000})
        sa.event.listen(engine, "connect", _prepare_connection)
        sa.event.listen(engine, "begin", _begin)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with _alone_in(file.parent):
                with suppress(FileExistsError):
                    os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
                with engine.connect():
                    pass
        except (OSError, SQLAlchemyError) as error:
            engine.dispose()
            raise StorageError(
                f"journal {file} cannot be opened: {_reason(error)}.", "Check the path, its permissions and the disk."
            ) from error
        return engine

    def _failed(self, error: SQLAlchemyError) -> StorageError:
        name = self._engine.url.render_as_string(hide_password=True)
        is_outage = isinstance(error, OperationalError | InterfaceError | PoolTimeout)
        hint = (
            "Check that the database is running, reachable and has space; the next tick tries again."
            if is_outage
            else "Nothing was written; the rows or the tables are not what this version expects: see mm doctor."
        )
        return StorageError(f"journal {name}: {_reason(error)}.", hint)


def _prepare_connection(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    """Leave transactions to ``_begin``; make commits survive a power cut."""
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two first starts that both switch a new file to WAL would fail with "locked"."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())
