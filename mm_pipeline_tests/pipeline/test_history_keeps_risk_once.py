"""Exit states are stored without ``risk``, and read with it; months of a version that stored it lose nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.domain.risk.columns import RISK_STRUCT
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    ranging_candles,
)
from mm_pipeline_tests.paging_samples import calm_market, with_price

pytestmark = DAGSTER_WARNINGS
FEBRUARY, MARCH, APRIL = (datetime(2025, month, 1, tzinfo=UTC) for month in (2, 3, 4))
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
OF_FEBRUARY, OF_MARCH = (("2025-02", "2025-02"), ("2025-03", "2025-03"))
TOLD = 123.0
"""What no run computes: whoever tells it has read the month's own column."""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)}))
    made.grid("eth", started_at="2025-02-25T00:00:00Z")
    return made


def as_an_earlier_version_stored(installation: Installation, start: datetime, end: datetime) -> pl.DataFrame:
    """The month's exit states, whose own column ``risk`` tells something else than the two frames."""
    made = installation.read("exit_states", "eth", start=start, end=end)
    own = pl.col("risk").struct.with_fields(pl.lit(TOLD).alias("worst_case_quote")).cast(RISK_STRUCT)
    earlier = made.with_columns(risk=own)
    installation.store.write("exit_states", "eth", earlier, start=start, end=end)
    return earlier


def test_row_is_read_with_what_the_two_frames_say_of_it(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    assert "risk" not in installation.store.read("exit_states", "eth", start=FEBRUARY, end=APRIL).columns

    read = installation.read("exit_states", "eth", start=FEBRUARY, end=APRIL)
    positions, figures = (
        {row["evaluated_at"]: row for row in installation.store.read(name, "eth", start=FEBRUARY, end=APRIL).to_dicts()}
        for name in ("positions", "risk")
    )
    assert read.height == len(positions) == len(figures) == 4 * 96 + 1 + 36 * 4
    for row in read.iter_rows(named=True):
        expected = figures[row["evaluated_at"]] | positions[row["evaluated_at"]]
        assert row["risk"] == {name: expected[name] for name in row["risk"]}


def test_tick_tells_the_same_in_journal_frame_and_command(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    for number in range(2):
        installation.tick(AT + number * BAR, instance)
    with installation.journal() as journal:
        journalled = {one.evaluated_at: one.risk for one in journal.evaluations("eth")}
    read = installation.read("exit_states", "eth", start=MARCH, end=APRIL)
    for row in read.filter(pl.col("evaluated_at") >= AT).iter_rows(named=True):
        known = {name: value for name, value in row["risk"].items() if value is not None}
        assert journalled[row["evaluated_at"]] == {"level": row["risk_level"], **known}
        assert known["worst_case_quote"] > 0


def test_month_of_an_earlier_version_keeps_its_own_column(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run(AT, instance, months=OF_FEBRUARY)
    earlier = as_an_earlier_version_stored(installation, FEBRUARY, MARCH)
    result = installation.run(AT, instance, months=OF_MARCH)

    assert check_of(result, "replayed_notifications", "contract").passed
    read = installation.read("exit_states", "eth", start=FEBRUARY, end=APRIL)
    assert read.head(earlier.height).equals(earlier)
    told = read["risk"].struct.field("worst_case_quote")
    assert (told[0], told.null_count()) == (TOLD, 0)
    assert told[-1] != TOLD


def test_first_run_of_this_version_over_a_month_of_an_earlier_one_loses_no_row(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    """Rows later than the run stay as they are stored, but for the column that two other frames hold."""
    installation.run(AT, instance, months=OF_MARCH)
    before = installation.read("exit_states", "eth", start=MARCH, end=APRIL)
    as_an_earlier_version_stored(installation, MARCH, APRIL)
    installation.run(AT - timedelta(hours=6), instance, months=OF_MARCH)
    assert installation.read("exit_states", "eth", start=MARCH, end=APRIL).equals(before)

    as_an_earlier_version_stored(installation, MARCH, APRIL)
    installation.tick(AT + BAR, instance)
    read = installation.read("exit_states", "eth", start=MARCH, end=APRIL)
    assert read.head(before.height)["risk"].equals(before["risk"])


@pytest.fixture
def fallen(tmp_path: Path) -> Installation:
    """A market that fell below the grid in February."""
    made = Installation(tmp_path, FixedSources({ETH: with_price(calm_market(), 2850.0, MARCH - 2 * timedelta(days=1))}))
    made.grid("eth", started_at="2025-02-20T00:00:00Z")
    return made


def test_pages_are_replayed_with_what_the_grid_held(fallen: Installation, instance: dg.DagsterInstance) -> None:
    fallen.run(AT, instance, months=OF_FEBRUARY)
    pages = fallen.store.read("replayed_notifications", "eth", start=FEBRUARY, end=MARCH)
    emergencies = pages.filter((pl.col("notice") == "MANDATORY_EXIT") & pl.col("held_back").is_null())
    assert emergencies.height
    assert all("now leaves about " in text for text in emergencies["text"]), "PnL is known from what was held"


@pytest.mark.parametrize("lost", ["positions", "risk"])
def test_replay_without_what_was_held_is_named_and_replaces_nothing(
    fallen: Installation, instance: dg.DagsterInstance, lost: str
) -> None:
    fallen.run(AT, instance, months=OF_FEBRUARY)
    before = fallen.store.read("replayed_notifications", "eth", start=FEBRUARY, end=MARCH)
    fallen.store.remove(lost, "eth", start=FEBRUARY, end=MARCH, newest=AT)
    result = fallen.run(AT, instance, months=OF_FEBRUARY, assets=["replayed_notifications"])

    check = check_of(result, "replayed_notifications", "contract")
    assert not check.passed
    assert check.metadata["eth"].value.startswith(f"there is no {lost} of eth of 2025-02.")
    assert fallen.store.read("replayed_notifications", "eth", start=FEBRUARY, end=MARCH).equals(before)


def test_month_with_its_own_column_needs_no_other_frame(fallen: Installation, instance: dg.DagsterInstance) -> None:
    fallen.run(AT, instance, months=OF_FEBRUARY)
    as_an_earlier_version_stored(fallen, FEBRUARY, MARCH)
    for lost in ("positions", "risk"):
        fallen.store.remove(lost, "eth", start=FEBRUARY, end=MARCH, newest=AT)
    result = fallen.run(AT, instance, months=OF_FEBRUARY, assets=["replayed_notifications"])
    assert check_of(result, "replayed_notifications", "contract").passed


def test_state_is_paged_although_the_figures_of_the_month_are_lost(
    fallen: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick whose positions and risk both fail has a state, and tells it."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mm_pipeline.orchestration.assets.positions.risk_rows", fail)
    fallen.tick(AT, instance)
    with fallen.journal() as journal:
        assert [page.notice for page in journal.notifications.pages()] == ["MANDATORY_EXIT"]
