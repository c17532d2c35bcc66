"""A run over whole months owns them: no frame stays of a grid that nothing declares, and none is lost that one does."""

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.application.undeclared import undeclared_frames
from mm_pipeline.orchestration.jobs import HOURLY_JOB
from mm_pipeline_tests.dagster_samples import (
    BTC,
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    metadata_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
START = datetime(2024, 12, 20, tzinfo=UTC)
MARCH, APRIL = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
AT = datetime(2025, 3, 3, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
MONTHS = ("2025-03", "2025-03")
ENABLED = ("grid_analysis", "positions", "risk", "exit_states", "replayed_notifications")


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(START, 80, seed=3)


@pytest.fixture
def installation(tmp_path: Path, candles: pl.DataFrame) -> Installation:
    # The seed's triggers fire in a quiet market too, so that there are pages to replay.
    made = Installation(tmp_path, FixedSources({ETH: candles, BTC: candles}), settings={"policy": "seed"})
    made.grid("a")
    made.grid("b", symbol="BTC/USDT")
    return made


def rows(installation: Installation, dataset: str, key: str) -> int:
    if key not in installation.store.keys(dataset):
        return 0
    return installation.store.read(dataset, key, start=MARCH, end=APRIL).height


def backfill(installation: Installation, instance: dg.DagsterInstance, at: datetime = AT) -> dg.ExecuteInProcessResult:
    return installation.run(at, instance, months=MONTHS)


def test_frames_of_a_removed_grid_leave_with_the_next_run_of_their_month(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.backfill_once(AT, MONTHS)
    assert all(rows(installation, dataset, "b") for dataset in ENABLED[:-1])
    (installation.folder / "grids" / "b.yaml").unlink()
    result = backfill(installation, instance)

    assert [rows(installation, dataset, "b") for dataset in ENABLED] == [0] * len(ENABLED)
    assert "kucoin_BTC-USDT" not in "".join(installation.store.keys("regime_1h"))
    assert metadata_of(result, "exit_states")["removed"] == "b 2025-03"
    assert rows(installation, "exit_states", "a") == 240


def test_grid_that_was_disabled_has_states_of_one_kind(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.backfill_once(AT, MONTHS)
    installation.grid("a", enabled=False)
    backfill(installation, instance)

    assert [rows(installation, dataset, "a") for dataset in ("exit_states", "positions", "risk")] == [0, 0, 0]
    assert rows(installation, "entry_states", "a") == 240


def test_grid_that_starts_later_has_no_month_before(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.backfill_once(AT, MONTHS)
    installation.grid("b", symbol="BTC/USDT", started_at="2025-04-10T00:00:00Z")
    backfill(installation, instance)

    assert rows(installation, "exit_states", "b") == 0


def test_input_is_read_of_the_plan_alone(installation: Installation, instance: dg.DagsterInstance) -> None:
    """Asked for alone, pages come of what is declared, whatever else is stored."""
    installation.backfill_once(AT, MONTHS)
    stored = installation.store.read("exit_states", "a", start=MARCH, end=APRIL)
    installation.grid("a", enabled=False)
    installation.run(AT, instance, months=MONTHS, assets=["entry_states"])
    assert rows(installation, "exit_states", "a") == stored.height  # it was not asked for

    installation.run(AT, instance, months=MONTHS, assets=["replayed_notifications"])
    kinds = set(installation.store.read("replayed_notifications", "a", start=MARCH, end=APRIL)["kind"])
    assert kinds <= {"entry"}


def test_grid_whose_computation_fails_keeps_its_rows(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.backfill_once(AT, MONTHS)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("mm_pipeline.orchestration.assets.positions.risk_rows", fail)
    installation.run(AT, instance, months=MONTHS, assets=["positions", "risk"])

    assert (rows(installation, "positions", "a"), rows(installation, "risk", "b")) == (240, 240)


def test_file_that_cannot_be_read_takes_no_history_with_it(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.backfill_once(AT, MONTHS)
    (installation.folder / "grids" / "b.yaml").write_text("id: b\nlower: [")
    backfill(installation, instance)

    assert rows(installation, "exit_states", "b") == 240


def test_tick_takes_nothing_out(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.backfill_once(AT, MONTHS)
    (installation.folder / "grids" / "b.yaml").unlink()
    installation.tick(AT + BAR, instance)

    assert rows(installation, "exit_states", "b") == 240


def test_check_names_the_frames_that_nothing_declares(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.backfill_once(AT, MONTHS)
    with installation.watch(AT) as watch:
        assert undeclared_frames(watch) == []
    (installation.folder / "grids" / "b.yaml").unlink()
    installation.grid("a", enabled=False)

    with installation.watch(AT) as watch:
        found = undeclared_frames(watch)
    assert {(frame.asset, frame.grid) for frame in found} == {
        *product(ENABLED, ("b",)),
        *product(("positions", "risk", "exit_states"), ("a",)),
    }
    assert {frame.month for frame in found} == {"2025-03"}
    hourly = installation.run(AT, instance, job=HOURLY_JOB, month="2025-03", raises=False)
    assert not check_of(hourly, "exit_states", "frames_declared").passed


def test_rows_later_than_the_run_stay_of_a_removed_grid(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    backfill(installation, instance, AT + timedelta(hours=6))
    (installation.folder / "grids" / "b.yaml").unlink()
    backfill(installation, instance)

    assert rows(installation, "exit_states", "b") == 24
