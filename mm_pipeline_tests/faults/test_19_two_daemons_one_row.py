"""Row 19 for the journal: two processes that decide the same leave one row each bar, by a key in the database."""

from pathlib import Path

import pytest

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline_tests.journal_samples import evaluation, race
from mm_pipeline_tests.postgres_server import session_server

pytestmark = pytest.mark.fault

DAEMON = """
import sys
from mm_pipeline.adapters.journal import Journal
from mm_pipeline_tests.journal_samples import evaluation

with Journal(sys.argv[1]) as journal:
    journal.last_evaluation("eth-v3")
    print("ready", flush=True)
    sys.stdin.readline()
    batches = [[evaluation(bar) for bar in range(start, start + 40)] for start in range(0, 1200, 20)]
    print(sum(journal.record_evaluations(batch) for batch in batches))
"""
BARS = 1220


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_19_two_daemons_at_once_record_each_evaluation_once(tmp_path: Path, kind: str) -> None:
    url = sqlite_url(tmp_path / "journal.db") if kind == "sqlite" else session_server().new_database()
    answers = [int(answer) for answer in race(DAEMON, url, processes=2)]
    assert sum(answers) == BARS
    with Journal(url) as journal:
        assert journal.evaluations() == [evaluation(bar) for bar in range(BARS)]
