"""What the operator's side asks gives the same from Postgres as from SQLite, and no journal is made there either."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.application.operator.journal_story import DEFAULT_KINDS, Span, journal_lines
from mm_pipeline.cli.journal_access import open_journal
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.settings import load_deployment
from mm_pipeline_tests.operator_samples import operated_home
from mm_pipeline_tests.unit.test_cli_journal import tell_the_story
from mm_pipeline_tests.unit.test_kpis import AS_OF, journal_the_day

DAY = datetime(2024, 3, 1, tzinfo=UTC)


def test_both_databases_give_the_same_answers(postgres_url: str, tmp_path: Path) -> None:
    with Journal(postgres_url) as postgres, Journal(sqlite_url(tmp_path / "journal.db")) as sqlite:
        for journal in (postgres, sqlite):
            journal_the_day(journal)
        ours, theirs = OperatorQueries(sqlite), OperatorQueries(postgres)
        asked = {"since": DAY, "until": DAY + timedelta(days=1), "as_of": AS_OF}
        mine, other = ours.facts(**asked), theirs.facts(**asked)
        assert (mine.notified, mine.deliveries, mine.responses) == (other.notified, other.deliveries, other.responses)
        assert_frame_equal(mine.evaluations, other.evaluations)
        assert ours.changes("eth", limit=4) == theirs.changes("eth", limit=4) != []
        assert ours.newest_told("eth", EvaluationKind.EXIT) == theirs.newest_told("eth", EvaluationKind.EXIT)
        newest = sqlite.last_evaluation("eth")
        assert newest is not None
        assert ours.state_began(newest) == theirs.state_began(newest)


def test_story_is_the_same_from_both_databases(postgres_url: str, tmp_path: Path) -> None:
    span = Span(since=DAY, until=DAY + timedelta(days=1), limit=50)
    with Journal(postgres_url) as postgres, Journal(sqlite_url(tmp_path / "journal.db")) as sqlite:
        told = []
        for journal in (postgres, sqlite):
            tell_the_story(journal)
            told.append(journal_lines(journal, span, DEFAULT_KINDS))
        assert told[0] == told[1] != []
        assert postgres.circuits.changes() == sqlite.circuits.changes()


def test_empty_database_is_an_error_and_stays_empty(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOURNAL_VARIABLE, postgres_url)
    home = operated_home(tmp_path)
    with pytest.raises(StorageError, match="there is no journal in postgresql://"):
        open_journal(load_deployment(home.settings_file))
    engine = sa.create_engine(postgres_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    with Journal(postgres_url):
        pass
    with open_journal(load_deployment(home.settings_file)) as journal:
        assert journal.known_grids() == []
