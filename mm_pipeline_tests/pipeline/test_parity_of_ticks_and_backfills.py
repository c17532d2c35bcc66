"""Recorded candles: a year in one run, month by month, and tick by tick give the same table.

Frames of a single-run backfill are compared with those of monthly ones, with the live function on nothing but the bars
of its own look-back, and with real Dagster ticks.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mm_pipeline.application.record_evaluations import fired_in
from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation
from mm_pipeline_tests.effort import IS_SEARCH, tries
from mm_pipeline_tests.live_function import LiveTicks

pytestmark = [*DAGSTER_WARNINGS, pytest.mark.slow]
RECORDED = "kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet"
MONTHS = ("2025-04", "2025-05", "2025-06")
START, END = datetime(2025, 4, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
NOW = END + timedelta(minutes=1)
BAR = timedelta(minutes=15)
LIVE_BARS = 2000
HISTORY_DAYS = 60
"""Of risk; the shipped 180 would reach back before the recorded candles."""
EVERY = 1 if IS_SEARCH else 37
"""Bars from one live tick to the next: 37 meets every quarter of an hour and every hour of the day in turn."""
DAGSTER_TICKS = tries(8)
GRIDS = {
    "held": {"lower": 2450, "upper": 2650, "stop_loss": 2440, "started_at": "2025-05-14T06:30:00Z"},
    "flat": {"lower": 2450, "upper": 2650, "stop_loss": 2280, "started_at": "2025-05-12T00:00:00Z", "enabled": False},
}


def installation(folder: Path, candles: pl.DataFrame) -> Installation:
    settings = {"extra_markets": [str(ETH)], "risk": {"history_days": HISTORY_DAYS}}
    made = Installation(folder, FixedSources({ETH: candles}), settings=settings)
    for grid, declared in GRIDS.items():
        made.grid(grid, **declared)
    return made


@pytest.fixture(scope="module")
def candles(recorded_data: Path) -> pl.DataFrame:
    return pl.read_parquet(recorded_data / RECORDED).select(list(RAW_SCHEMA))


@pytest.fixture(scope="module")
def one_run(candles: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = installation(tmp_path_factory.mktemp("one_run"), candles)
    with dg.DagsterInstance.ephemeral() as instance:
        made.run(NOW, instance, months=(MONTHS[0], MONTHS[-1]))
    return made


def frames(made: Installation) -> dict[tuple[str, str], pl.DataFrame]:
    """Everything stored of the months under test, without what decides nothing: candles and look-back."""
    datasets = ("regime_metrics_1h", "regime_metrics_4h", "regime_1h", "regime_4h")
    datasets += ("grid_analysis", "exit_states", "entry_states")
    return {
        (dataset, key): made.store.read(dataset, key, start=START, end=END)
        for dataset in datasets
        for key in made.store.keys(dataset)
    }


def decisions(made: Installation, grid: str) -> pl.DataFrame:
    dataset = "entry_states" if grid == "flat" else "exit_states"
    return made.store.read(dataset, grid, start=START, end=END)


def test_month_by_month_equals_one_run(candles: pl.DataFrame, one_run: Installation, tmp_path: Path) -> None:
    monthly = installation(tmp_path, candles)
    with dg.DagsterInstance.ephemeral() as instance:
        for month in (MONTHS[1], MONTHS[2], MONTHS[0]):
            monthly.run(NOW, instance, months=(month, month))
    expected, found = frames(one_run), frames(monthly)
    assert set(found) == set(expected)
    assert len(expected) == 4 + 2 + 1 + 1
    for key, frame in expected.items():
        assert_frame_equal(found[key], frame, check_exact=False, rel_tol=1e-9, abs_tol=1e-12)
    for grid in GRIDS:
        names = ["evaluated_at", "state", "reasons", "input_hash"]
        assert decisions(monthly, grid).select(names).equals(decisions(one_run, grid).select(names))


def test_live_function_at_each_tick_equals_one_run(candles: pl.DataFrame, one_run: Installation) -> None:
    first = datetime(2025, 5, 14, 0, 15, tzinfo=UTC)  # ticks of three weeks, over the end of a month
    ticks = [first + index * BAR for index in range(0, LIVE_BARS, EVERY)]
    workers = min(4, os.cpu_count() or 1)
    job = LiveTicks(candles=candles, grids=one_run.folder / "grids", settings_file=one_run.settings_file)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(job, [ticks[part::workers] for part in range(workers)]))
    live = pl.concat(parts)
    compared = 0
    for grid in GRIDS:
        batch = decisions(one_run, grid).select("grid", "evaluated_at", "state", "reasons", "price")
        both = live.filter(pl.col("grid") == grid).join(batch, on=["grid", "evaluated_at"], suffix="_batch")
        assert both.filter(pl.col("state") != pl.col("state_batch")).is_empty()
        assert both.filter(pl.col("reasons") != pl.col("reasons_batch")).is_empty()
        assert both.filter(pl.col("price") != pl.col("price_batch")).is_empty()
        compared += both.height
    assert compared == live.height
    assert live["evaluated_at"].n_unique() == len(ticks)
    assert set(live["state"]) >= {"NORMAL", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT", "ENTER", "AVOID"}


def test_dagster_ticks_equal_one_run(candles: pl.DataFrame, one_run: Installation, tmp_path: Path) -> None:
    made = installation(tmp_path, candles)
    first = datetime(2025, 5, 31, 22, 30, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        for index in range(DAGSTER_TICKS):
            made.tick(first + index * BAR, instance)
    with made.journal() as journal:
        decided = journal.evaluations()
    rows = {
        (grid, row["evaluated_at"]): row for grid in GRIDS for row in decisions(one_run, grid).iter_rows(named=True)
    }
    assert len(decided) == len(GRIDS) * DAGSTER_TICKS
    for evaluation in decided:
        row = rows[evaluation.grid, evaluation.evaluated_at]
        assert (evaluation.state, evaluation.input_hash) == (row["state"], row["input_hash"])
        assert evaluation.fired == fired_in(row)
        assert evaluation.is_live


def test_bars_after_a_tick_and_before_its_look_back_are_not_there(candles: pl.DataFrame, one_run: Installation) -> None:
    job = LiveTicks(candles=candles, grids=one_run.folder / "grids", settings_file=one_run.settings_file)
    at = datetime(2025, 5, 20, tzinfo=UTC)
    seen = job.bars_at(at)
    assert seen["close_time"][-1] == at
    assert seen["open_time"][0] == at - timedelta(days=7 + HISTORY_DAYS + 30) - BAR
