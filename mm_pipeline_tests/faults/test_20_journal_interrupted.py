"""Row 20, and its like for processes: an interrupted transaction is gone whole, and the next tick heals."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.domain.errors import StorageError
from mm_pipeline_tests.journal_samples import NOON, evaluation, grid, start_process
from mm_pipeline_tests.postgres_server import PostgresServer, session_server

pytestmark = pytest.mark.fault

KILLED = """
import os, signal, sys
from mm_pipeline.adapters.journal import evaluations, grid_versions
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline_tests.journal_samples import NOON, evaluation, grid

with Database(sys.argv[1]).writing() as connection:
    evaluations.record(connection, [evaluation(bar) for bar in range(1, 2000)], again_at=NOON)
    grid_versions.observe(connection, [grid()], NOON, unreadable=())
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_20_process_killed_inside_a_transaction_leaves_nothing_of_it(tmp_path: Path, kind: str) -> None:
    url = sqlite_url(tmp_path / "journal.db") if kind == "sqlite" else session_server().new_database()
    with Journal(url) as journal:
        journal.record_evaluations([evaluation()])
        process = start_process(KILLED, url)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == -signal.SIGKILL
        assert journal.evaluations() == [evaluation()]
        assert journal.known_grids() == []
        assert journal.record_evaluations([evaluation(1)]) == 1
        assert journal.observe_grids([grid()], NOON) == ["eth-v3"]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    shared = session_server()
    yield shared
    shared.start()


def test_20_postgres_stopped_loses_nothing_and_the_next_tick_heals(server: PostgresServer) -> None:
    with Journal(server.new_database()) as journal:
        journal.record_evaluations([evaluation()])
        server.stop_at_once()
        with pytest.raises(StorageError, match="next tick tries again"):
            journal.record_evaluations([evaluation(1)])
        with pytest.raises(StorageError):
            journal.last_evaluation("eth-v3")
        server.start()
        assert journal.record_evaluations([evaluation(), evaluation(1)]) == 1
        assert journal.evaluations() == [evaluation(), evaluation(1)]
