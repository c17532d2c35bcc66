"""One suite of the journal, held against SQLite and a real Postgres alike."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from mm_pipeline.adapters.journal import Incident, Journal, ResponseRecord, sqlite_url
from mm_pipeline.adapters.journal import schema as declared
from mm_pipeline.adapters.journal.database import Database
from mm_pipeline.adapters.journal.migrations import MIGRATIONS, Migration
from mm_pipeline.adapters.journal.upgrade import _apply, migrate
from mm_pipeline.domain.candles import HEALTHY, CircuitState
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Response, ResponseKind
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.journal_samples import BAR, NOON, evaluation, grid, race
from mm_pipeline_tests.notification_watch import MovingClock, ScriptedProvider, ScriptedRow, ScriptedWatch

STARTED = datetime(2024, 3, 1, tzinfo=UTC)
NEXT = MIGRATIONS[-1].version + 1


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "home" / "journal.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def journal(url: str) -> Iterator[Journal]:
    with Journal(url) as opened:
        yield opened


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url)) as opened:
        yield opened


def test_evaluation_is_read_back_as_it_was_recorded(journal: Journal) -> None:
    recorded = evaluation(reasons=("stale",), price=None, state="UNKNOWN", is_live=False)
    assert journal.record_evaluations([recorded]) == 1
    assert journal.last_evaluation("eth-v3") == recorded
    assert journal.last_evaluation("other") is None


def test_text_from_outside_is_kept_without_control_characters(journal: Journal) -> None:
    hostile = "ann\x00\x1b[2J\r\x9b1m"
    at = NOON + timedelta(minutes=1)
    response = Response(grid="eth-v3", at=at, kind=ResponseKind.FLAT)
    made = ResponseRecord(
        response=response, source="mm flat", by_whom=hostile, recorded_at=at, settings_hash="", code_version=""
    )
    assert journal.responses.record([made])
    journal.record_notices([Incident(market="grid:eth", tick_at=NOON, code="grid_file", message=f"a\nb\t{hostile}")])
    (answer,) = journal.responses.select(grid="eth-v3")
    assert answer.by_whom == r"ann\x00\x1b[2J\r\x9b1m"
    (notice,) = journal.notices(market="grid:eth")
    assert notice.message == "a\nb\t" + answer.by_whom


def test_price_that_is_not_a_number_is_read_back_as_none(journal: Journal) -> None:
    journal.record_evaluations([evaluation(price=float("nan"))])
    found = journal.last_evaluation("eth-v3")
    assert found is not None
    assert found.price is None


def test_same_evaluation_twice_is_one_row_and_the_first_stays(journal: Journal) -> None:
    assert journal.record_evaluations([evaluation(), evaluation(), evaluation(1)]) == 2
    assert journal.record_evaluations([evaluation(state="WARNING"), evaluation(2)]) == 1
    assert [found.state for found in journal.evaluations()] == ["NORMAL"] * 3
    assert journal.record_evaluations([]) == 0


def test_batch_of_a_month_is_recorded_whole_and_in_order(journal: Journal) -> None:
    month = [evaluation(bar) for bar in range(4 * 24 * 30)]
    assert journal.record_evaluations(reversed(month)) == len(month)
    assert journal.evaluations() == month


def test_batch_with_one_bad_row_records_none(journal: Journal) -> None:
    with pytest.raises(StorageError):
        journal.record_evaluations([evaluation(), evaluation(1, settings_hash=None), evaluation(2)])
    assert journal.evaluations() == []


def test_revised_candle_is_a_second_evaluation_and_the_later_counts(journal: Journal) -> None:
    journal.record_evaluations([evaluation(input_hash="ffff", state="NORMAL")])
    journal.record_evaluations([evaluation(input_hash="0000", state="MANDATORY_EXIT")])
    assert [found.input_hash for found in journal.evaluations("eth-v3")] == ["ffff", "0000"]
    last = journal.last_evaluation("eth-v3")
    assert last is not None
    assert last.input_hash == "0000"
    assert journal.last_known_state("eth-v3", NOON + BAR) == "MANDATORY_EXIT"


def test_exit_and_entry_of_one_bar_do_not_meet(journal: Journal) -> None:
    entry = evaluation(kind=EvaluationKind.ENTRY, state="ENTER")
    assert journal.record_evaluations([evaluation(), entry]) == 2
    assert journal.last_evaluation("eth-v3", kind=EvaluationKind.ENTRY) == entry
    assert journal.last_known_state("eth-v3", NOON + BAR) == "NORMAL"
    assert journal.evaluations(kind=EvaluationKind.EXIT) == [evaluation()]


def test_evaluations_are_cut_by_grid_and_time(journal: Journal) -> None:
    journal.record_evaluations([evaluation(bar, grid=name) for bar in range(4) for name in ("a", "b")])
    found = journal.evaluations("a", since=NOON + BAR, until=NOON + 3 * BAR)
    assert found == [evaluation(1, grid="a"), evaluation(2, grid="a")]
    assert len(journal.evaluations()) == 8


def test_unknown_passes_over_to_the_last_known_state(journal: Journal) -> None:
    states = ["WARNING", "MANDATORY_EXIT", "UNKNOWN", "UNKNOWN"]
    journal.record_evaluations([evaluation(bar, state=state) for bar, state in enumerate(states)])
    assert journal.last_known_state("eth-v3", NOON + 4 * BAR) == "MANDATORY_EXIT"
    assert journal.standing_mandatory("eth-v3", NOON + 4 * BAR) == evaluation(1, state="MANDATORY_EXIT")
    assert journal.last_known_state("eth-v3", NOON + BAR) == "WARNING"
    assert journal.standing_mandatory("eth-v3", NOON + BAR) is None
    assert journal.last_known_state("eth-v3", NOON) is None


def test_known_state_after_a_mandatory_ends_it(journal: Journal) -> None:
    states = ["MANDATORY_EXIT", "NORMAL", "UNKNOWN"]
    journal.record_evaluations([evaluation(bar, state=state) for bar, state in enumerate(states)])
    assert journal.standing_mandatory("eth-v3", NOON + 3 * BAR) is None


def test_mandatory_of_an_earlier_range_does_not_stand(journal: Journal) -> None:
    journal.record_evaluations([evaluation(state="MANDATORY_EXIT"), evaluation(5, state="UNKNOWN")])
    assert journal.standing_mandatory("eth-v3", NOON + 6 * BAR, since=NOON + BAR) is None
    assert journal.last_known_state("eth-v3", NOON + 6 * BAR, since=NOON + BAR) is None
    assert journal.standing_mandatory("eth-v3", NOON + 6 * BAR, since=NOON) is not None


def test_first_version_of_a_grid_is_valid_from_its_start(journal: Journal) -> None:
    assert journal.observe_grids([grid()], NOON) == ["eth-v3"]
    (version,) = journal.grid_versions("eth-v3")
    assert (version.grid, version.valid_from) == (grid(), STARTED)


def test_first_version_of_a_grid_that_starts_later_is_valid_from_now(journal: Journal) -> None:
    journal.observe_grids([grid()], STARTED - BAR)
    assert journal.grid_versions("eth-v3")[0].valid_from == STARTED - BAR


def test_unchanged_grid_adds_no_version(journal: Journal) -> None:
    journal.observe_grids([grid()], NOON)
    assert journal.observe_grids([grid()], NOON + BAR) == []
    assert len(journal.grid_history("eth-v3")) == 1


def test_changed_grid_is_in_force_from_now_and_never_before(journal: Journal) -> None:
    changed = grid(upper=3200.0)
    journal.observe_grids([grid()], NOON)
    assert journal.observe_grids([changed], NOON + BAR) == ["eth-v3"]
    assert [version.valid_from for version in journal.grid_versions("eth-v3")] == [STARTED, NOON + BAR]
    before, after = (journal.grid_in_force("eth-v3", at) for at in (NOON + BAR - timedelta(milliseconds=1), NOON + BAR))
    assert before is not None
    assert before.grid == grid()
    assert after is not None
    assert after.grid == changed
    assert journal.grid_in_force("eth-v3", STARTED - BAR) is None


def test_vanished_grid_is_removed_until_it_returns(journal: Journal) -> None:
    journal.observe_grids([grid(), grid("btc-v1")], NOON)
    assert journal.observe_grids([grid("btc-v1")], NOON + BAR) == ["eth-v3"]
    assert journal.observe_grids([grid("btc-v1")], NOON + 2 * BAR) == []
    gone = journal.grid_in_force("eth-v3", NOON + 2 * BAR)
    assert gone is not None
    assert (gone.grid, gone.is_gone) == (grid(), True)
    assert journal.observe_grids([grid("btc-v1"), grid()], NOON + 3 * BAR) == ["eth-v3"]
    assert journal.grid_in_force("eth-v3", NOON + 3 * BAR) is not None
    assert [row.grid is None for row in journal.grid_history("eth-v3")] == [False, True, False]
    assert journal.known_grids() == ["btc-v1", "eth-v3"]


def test_retired_grid_is_in_force_no_more_and_begins_anew_with_its_file(journal: Journal) -> None:
    journal.observe_grids([grid()], NOON)
    journal.observe_grids([], NOON + BAR)
    assert journal.retire_grid("eth-v3", NOON + 2 * BAR, by="me")
    assert not journal.retire_grid("eth-v3", NOON + 3 * BAR, by="me")
    assert journal.grid_in_force("eth-v3", NOON + BAR) is not None
    assert journal.grid_in_force("eth-v3", NOON + 3 * BAR) is None
    assert [row.retired_by for row in journal.grid_history("eth-v3")] == [None, None, "me"]
    assert journal.observe_grids([], NOON + 4 * BAR) == []
    assert journal.observe_grids([grid()], NOON + 5 * BAR) == ["eth-v3"]
    assert journal.grid_in_force("eth-v3", NOON + 5 * BAR) is not None


def test_last_known_state_of_a_range_leaves_out_what_other_versions_were(journal: Journal) -> None:
    journal.record_evaluations([evaluation(0, state="MANDATORY_EXIT"), evaluation(1, state="UNKNOWN")])
    assert journal.last_known_state("eth-v3", NOON + 2 * BAR) == "MANDATORY_EXIT"
    assert journal.last_known_state("eth-v3", NOON + 2 * BAR, versions=["another"]) is None


def test_grid_whose_file_cannot_be_read_stays_in_force(journal: Journal) -> None:
    journal.observe_grids([grid()], NOON)
    assert journal.observe_grids([], NOON + BAR, unreadable=["eth-v3"]) == []
    assert journal.grid_in_force("eth-v3", NOON + BAR) is not None


def test_clock_that_jumped_back_still_puts_the_newest_version_in_force(journal: Journal) -> None:
    journal.observe_grids([grid()], NOON)
    journal.observe_grids([grid(levels=7)], NOON + 2 * BAR)
    journal.observe_grids([grid(levels=8)], NOON + BAR)
    version = journal.grid_in_force("eth-v3", NOON + 3 * BAR)
    assert version is not None
    assert version.grid.levels == 8


def test_notice_is_kept_once_a_tick_and_code(journal: Journal) -> None:
    notice = Incident(market="kucoin:ETH/USDT", tick_at=NOON, code="rate_limited", message="429 for a minute")
    other = Incident(market="kucoin:BTC/USDT", tick_at=NOON + BAR, code="rate_limited", message="429")
    assert journal.record_notices([notice, other]) == 2
    assert journal.record_notices([notice]) == 0
    assert journal.notices() == [notice, other]
    assert journal.notices("kucoin:BTC/USDT") == [other]
    assert journal.notices(since=NOON, until=NOON + BAR) == [notice]


def test_circuit_state_outlives_the_process(journal: Journal, url: str) -> None:
    assert journal.circuits.load("kucoin") == HEALTHY
    tripped = CircuitState(failures=5, open_until_ms=1_709_294_400_000, problem="502 — Bad Gateway")
    journal.circuits.save("kucoin", tripped, at_ms=to_ms(NOON))
    with Journal(url) as another:
        assert another.circuits.load("kucoin") == tripped
        another.circuits.save("kucoin", HEALTHY, at_ms=to_ms(NOON + BAR))
    assert journal.circuits.load("kucoin") == HEALTHY


def test_each_change_of_a_circuit_is_a_signed_row(journal: Journal) -> None:
    failing, tripped = CircuitState(1, None, "502"), CircuitState(5, to_ms(NOON + BAR), "502")
    journal.circuits.save("kucoin", HEALTHY, at_ms=to_ms(NOON))
    journal.circuits.save("kucoin", failing, at_ms=to_ms(NOON))
    journal.circuits.save("kucoin", failing, at_ms=to_ms(NOON + BAR))
    journal.sign({"settings_hash": "s", "code_version": "c"})
    journal.circuits.save("kucoin", tripped, at_ms=to_ms(NOON + BAR))
    journal.circuits.save("channel:phone", failing, at_ms=to_ms(NOON + 2 * BAR))
    told = [(one.name, one.at, one.state, one.settings_hash, one.code_version) for one in journal.circuits.changes()]
    assert told == [
        ("kucoin", NOON, failing, "", ""),
        ("kucoin", NOON + BAR, tripped, "s", "c"),
        ("channel:phone", NOON + 2 * BAR, failing, "s", "c"),
    ]
    assert journal.circuits.changes(since=NOON + BAR, until=NOON + 2 * BAR) == journal.circuits.changes()[1:2]


@pytest.mark.parametrize("table", ["grid_versions", "evaluations", "market_notices", "circuit_states"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = 'other'", "DELETE FROM {}"])
def test_rows_cannot_be_changed_or_deleted(journal: Journal, database: Database, table: str, change: str) -> None:
    journal.observe_grids([grid()], NOON)
    journal.record_evaluations([evaluation()])
    journal.record_notices([Incident(market="m", tick_at=NOON, code="c", message="")])
    journal.circuits.save("kucoin", CircuitState(1, None, ""), at_ms=0)
    column = {"market_notices": "market", "circuit_states": "name"}.get(table, "grid")
    with pytest.raises(StorageError, match=f"{table} is append-only"), database.writing() as connection:
        connection.exec_driver_sql(change.format(table, column))
    with database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) == 1


def test_naive_time_is_refused(journal: Journal) -> None:
    with pytest.raises(StorageError, match="time zone"):
        journal.evaluations(since=datetime(2024, 3, 1))  # noqa: DTZ001


def test_migrating_twice_does_nothing_the_second_time(database: Database) -> None:
    assert migrate(database) == [migration.version for migration in MIGRATIONS]
    assert migrate(database) == []


def test_migrated_tables_are_the_declared_ones(database: Database) -> None:
    migrate(database)
    with database.reading() as connection:
        found = sa.MetaData()
        found.reflect(connection)
    assert set(found.tables) == {*declared.metadata.tables, "journal_migrations"}
    for name, table in declared.metadata.tables.items():
        assert [column.name for column in found.tables[name].columns] == [column.name for column in table.columns]
        nullable = {column.name for column in table.columns if column.nullable}
        assert {column.name for column in found.tables[name].columns if column.nullable} - {"id", "name"} == nullable


UNSIGNED = ("settings_hash TEXT NOT NULL,", "code_version TEXT NOT NULL,")


def before_events_were_signed(migration: Migration) -> Migration:
    """Step 2 as it was before it was edited: delivery events named neither settings nor code."""

    def unsigned(statement: str) -> str:
        if "CREATE TABLE delivery_events" not in statement:
            return statement
        return "".join(line for line in statement.splitlines(keepends=True) if line.strip() not in UNSIGNED)

    return replace(
        migration,
        sqlite=tuple(map(unsigned, migration.sqlite)),
        postgresql=tuple(map(unsigned, migration.postgresql)),
    )


def pages_sent(journal: Journal) -> int:
    """How many pages a phone takes of an exit that is decided now."""
    clock = MovingClock(NOON + timedelta(seconds=40))
    phone = ScriptedProvider("phone", clock)
    content = load_settings().model_dump(mode="json") | {"channels": [{"name": "phone", "kind": "console"}]}
    watch = ScriptedWatch(journal, {"phone": phone}, Settings.model_validate(content), clock)
    declared_grid = grid("eth")
    journal.observe_grids([declared_grid], NOON)
    rows = {"eth": [ScriptedRow(NOON, "M", declared_grid)]}
    watch.record(NOON, rows)
    watch.tell(NOON, rows)
    watch.delivery().relay.run()
    return len(phone.accepted)


@pytest.mark.parametrize("version", [2, 3, MIGRATIONS[-1].version])
def test_journal_from_before_an_edited_step_is_repaired_and_can_send(
    database: Database, url: str, version: int
) -> None:
    old = tuple(map(before_events_were_signed, MIGRATIONS[:version]))
    with database.writing() as connection:
        _apply(connection, old)
        columns = {column["name"] for column in sa.inspect(connection).get_columns("delivery_events")}
        assert "settings_hash" not in columns
    with Journal(url) as journal:
        assert pages_sent(journal) == 1
    assert migrate(database) == []


def test_journal_that_lacks_a_column_is_refused_by_its_name(database: Database, url: str) -> None:
    migrate(database)
    with database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE outbox DROP COLUMN owner")
    with pytest.raises(StorageError, match="table outbox has no column owner"):
        Journal(url)


@pytest.mark.parametrize("is_paper", [True, False])
def test_journal_of_real_markets_is_none_of_simulated_ones_nor_the_other_way_round(url: str, *, is_paper: bool) -> None:
    with Journal(url) as journal:
        journal.claim(is_paper=is_paper, is_new=False)  # a command that reads claims nothing
        journal.claim(is_paper=is_paper)
        journal.claim(is_paper=is_paper)
    with Journal(url) as journal, pytest.raises(StorageError, match=r"is of (paper|real) markets.*MM_JOURNAL_URL"):
        journal.claim(is_paper=not is_paper)
    with Journal(url) as journal, pytest.raises(StorageError, match="markets"):
        journal.claim(is_paper=not is_paper, is_new=False)
    with Journal(url) as journal:
        journal.claim(is_paper=is_paper)


def test_failing_migration_leaves_the_version_before(database: Database) -> None:
    migrate(database)
    statements = ("CREATE TABLE later (id INTEGER)", "CREATE TABLE nonsense (")
    broken = Migration(version=NEXT, name="broken", sqlite=statements, postgresql=statements)
    with pytest.raises(StorageError):
        migrate(database, (*MIGRATIONS, broken))
    assert migrate(database) == []
    with database.reading() as connection:
        assert not sa.inspect(connection).has_table("later")


def test_later_migration_keeps_what_was_recorded(journal: Journal, database: Database) -> None:
    journal.record_evaluations([evaluation()])
    statements = ("CREATE TABLE later (id INTEGER)",)
    assert migrate(database, (*MIGRATIONS, Migration(NEXT, "later", statements, statements))) == [NEXT]
    assert journal.last_evaluation("eth-v3") == evaluation()


def test_journal_of_a_newer_version_is_refused_with_the_mend(database: Database, url: str) -> None:
    migrate(database, (*MIGRATIONS, Migration(999, "of the future", (), ())))
    with pytest.raises(StorageError, match=r"version 999.*newer mm_pipeline"):
        Journal(url)


FIRST_START = """
import sys
from mm_pipeline.adapters.journal import Journal
from mm_pipeline_tests.journal_samples import NOON, grid

print("ready", flush=True)
sys.stdin.readline()
with Journal(sys.argv[1]) as journal:
    print(",".join(journal.observe_grids([grid()], NOON)))
"""


def test_first_start_of_several_processes_at_once_makes_one_journal(url: str) -> None:
    answers = race(FIRST_START, url, processes=3)
    assert sorted(answers) == ["", "", "eth-v3"]
    with Journal(url) as journal:
        assert len(journal.grid_history("eth-v3")) == 1
