"""``notifications`` and ``deliveries`` through real runs: a backfill shows pages, only a live run sends them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, metadata_of
from mm_pipeline_tests.paging_samples import calm_market, with_price

pytestmark = DAGSTER_WARNINGS
FELL = datetime(2025, 2, 27, 9, tzinfo=UTC)
AT = datetime(2025, 3, 3, 14, tzinfo=UTC)
MONTHS = (datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A market that fell below the grid at the end of February and stays there."""
    made = Installation(tmp_path, FixedSources({ETH: with_price(calm_market(), 2850.0, FELL)}))
    made.grid("eth", started_at="2025-02-20T00:00:00Z")
    return made


def told(installation: Installation, dataset: str = "notifications") -> pl.DataFrame:
    return installation.store.read(dataset, "eth", start=MONTHS[0], end=MONTHS[1])


def test_backfill_shows_what_would_have_been_paged_and_sends_nothing(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    rows = told(installation, "replayed_notifications")
    assert told(installation).is_empty()
    assert not rows["is_live"].any()
    mandatory = rows.filter(pl.col("notice") == "MANDATORY_EXIT")
    assert mandatory["evaluated_at"][0] < FELL + timedelta(hours=3)
    causes = mandatory["cause"].to_list()
    assert causes[0] == "change"
    assert causes[-1] == "reissue", "nobody answers"
    assert told(installation, "deliveries").is_empty()
    with installation.journal() as journal:
        assert (journal.notifications.pages(), journal.notifications.decisions()) == ([], [])
    assert not (frames_dir(installation.home).parent / "pages.jsonl").exists()


def test_month_by_month_goes_on_where_the_month_before_ended(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    together = told(installation, "replayed_notifications")
    for month in ("2025-02", "2025-03"):
        installation.run(AT, instance, months=(month, month))
    assert told(installation, "replayed_notifications").equals(together)


def test_live_run_shows_what_it_decided_and_sent(installation: Installation, instance: dg.DagsterInstance) -> None:
    result = installation.tick(AT, instance)
    (row,) = told(installation).rows(named=True)
    assert (row["notice"], row["cause"], row["is_live"]) == ("MANDATORY_EXIT", "change", True)
    sent = told(installation, "deliveries")
    assert set(sent["event"]) == {"started", "sent"}
    assert set(sent["channel"]) == {"console", "pages"}
    assert "MANDATORY_EXIT" in metadata_of(result, "notifications")["decided_now"]
    assert "not configured" in metadata_of(result, "deliveries")["heartbeat"]
    assert (frames_dir(installation.home).parent / "pages.jsonl").read_text().count("\n") == 1


def test_backfill_after_live_ticks_takes_nothing_from_the_journal(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick(AT, instance)
    with installation.journal() as journal:
        before = (journal.notifications.decisions(), journal.outbox.events())
    installation.run(AT + timedelta(minutes=1), instance, months=("2025-03", "2025-03"))
    with installation.journal() as journal:
        assert (journal.notifications.decisions(), journal.outbox.events()) == before
