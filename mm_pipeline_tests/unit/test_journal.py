import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.migrations import MIGRATIONS
from mm_pipeline.adapters.journal.schema import JsonText
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline_tests.journal_samples import NOON, evaluation, grid

NOWHERE = "postgresql://operator:secret@127.0.0.1:9/journal"

floats = st.floats(allow_nan=False)
triggers = st.dictionaries(
    st.text(max_size=8),
    st.fixed_dictionaries(
        {
            "value": st.none() | floats,
            "threshold": floats | st.text(max_size=5),
            "fired": st.booleans(),
            "since": st.none() | st.integers(0, 4_102_444_800_000).map(from_ms),
        }
    ),
    max_size=4,
)


@given(triggers)
def test_any_triggers_survive_the_journal(content: dict[str, object]) -> None:
    column, dialect = JsonText(), sqlite.dialect()
    assert column.process_result_value(column.process_bind_param(content, dialect), dialect) == content


def test_journal_in_a_new_folder_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "journal.db"
    with Journal(sqlite_url(file)) as journal:
        journal.record_evaluations([evaluation()])
        modes = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm"), 384)


def test_every_connection_is_set_to_survive_a_power_cut(tmp_path: Path) -> None:
    with closing(Database(sqlite_url(tmp_path / "journal.db"))) as database, database.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}


def test_writer_is_waited_for_and_readers_are_not_held_up(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "journal.db")
    with Journal(url) as journal, closing(Database(url)) as writer, writer.writing():
        assert journal.last_evaluation("eth-v3") is None
        impatient = Database(url, lock_wait=NOON - NOON)
        with (
            closing(impatient),
            pytest.raises(StorageError, match=r"locked.*next tick tries again"),
            impatient.writing(),
        ):
            pass


def test_replacing_a_row_by_hand_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    with Journal(sqlite_url(file)) as journal:
        journal.record_evaluations([evaluation()])
        with closing(sqlite3.connect(file)) as connection:
            columns = "grid, evaluated_at, kind, input_hash, state, fired, triggers, reasons, grid_version, "
            columns += "settings_hash, code_version, is_live, recorded_at"
            connection.execute(
                f"INSERT OR REPLACE INTO evaluations ({columns}) "  # noqa: S608
                "VALUES ('eth-v3', ?, 'exit', '0f3a', 'WARNING', '[]', '{}', '[]', '', '', '', 1, 0)",
                [int(NOON.timestamp() * 1000)],
            )
            connection.commit()
        assert journal.evaluations() == [evaluation()]


def test_tables_are_readable_without_this_program(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    with Journal(sqlite_url(file)) as journal:
        journal.observe_grids([grid()], NOON)
        journal.record_evaluations([evaluation()])
    with closing(sqlite3.connect(file)) as connection:
        definition, valid_from = connection.execute("SELECT definition, valid_from FROM grid_versions").fetchone()
        text, evaluated_at = connection.execute("SELECT triggers, evaluated_at FROM evaluations").fetchone()
    assert json.loads(definition)["stop_loss"] == 2990.0
    assert valid_from == datetime(2024, 3, 1, tzinfo=UTC).timestamp() * 1000
    assert json.loads(text)["volatility_expanded"]["since"] == "2024-03-01T12:00:00.000+00:00"
    assert evaluated_at == NOON.timestamp() * 1000


@pytest.mark.parametrize(
    "url", ["sqlite:///journal.db", "sqlite://", "mysql://localhost/journal", "postgres://h/j", "nonsense", ""]
)
def test_address_that_cannot_be_used_is_refused_with_the_mend(url: str) -> None:
    with pytest.raises(StorageError, match="Write it like"):
        Journal(url)


def test_database_away_is_named_without_its_password() -> None:
    with pytest.raises(StorageError, match="running, reachable") as caught:
        Journal(NOWHERE)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_folder_that_cannot_be_made_is_an_error_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Check the path"):
        Journal(sqlite_url(tmp_path / "file" / "journal.db"))


def test_file_that_is_no_database_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    file.write_bytes(b"not a database, but the operator's notes " * 100)
    before = file.read_bytes()
    with pytest.raises(StorageError, match="not a database"):
        Journal(sqlite_url(file))
    assert file.read_bytes() == before


def test_trigger_value_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with Journal(sqlite_url(tmp_path / "journal.db")) as journal:
        with pytest.raises(StorageError, match="cannot be journalled"):
            journal.record_evaluations([evaluation(triggers={"a": {"value": object()}})])
        assert journal.evaluations() == []


def test_grid_definition_this_version_cannot_read_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    with Journal(sqlite_url(file)) as journal:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(
                "INSERT INTO grid_versions VALUES (1, 'eth-v3', 'ff', 0, 0, 0, '{\"id\": \"eth-v3\"}', NULL)"
            )
            connection.commit()
        with pytest.raises(StorageError, match="eth-v3 cannot be read"):
            journal.grid_versions("eth-v3")


def test_migrations_are_numbered_in_order_without_a_gap() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
