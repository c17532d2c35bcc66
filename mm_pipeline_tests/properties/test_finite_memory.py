"""Cutting off the future, or the past beyond the lookback, changes no metric, verdict or state (SPEC 1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.pipeline import evaluate
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.markets import (
    ETH_2022_2025,
    grid_around,
    recorded_candles,
    settings_of,
    simulated_candles,
    version_of,
    view_of_candles,
)

CUTS = 40
HALT = datetime(2023, 3, 24, 14, 15, tzinfo=UTC)


def cut(candles: pl.DataFrame, at: datetime, days: int) -> pl.DataFrame:
    """Candles that closed in ``(at - days, at]``."""
    opened = pl.col("open_time")
    step = timedelta(minutes=15)
    return candles.filter(opened >= at - timedelta(days=days), opened + step <= at)


def cut_times(candles: pl.DataFrame, count: int, days: int, seed: int) -> Iterator[datetime]:
    """Random evaluations with warm-up behind; where the halt is recorded, many whose window starts or ends in it."""
    random = np.random.default_rng(seed)
    first, last = candles["open_time"][0] + timedelta(days=days), candles["open_time"][-1]
    slots = int((last - first) / timedelta(minutes=15))
    for position in range(count):
        if position % 10 == 0 and first < HALT < last:
            base = HALT + timedelta(days=days if position % 20 else 0)
            yield base + timedelta(minutes=15) * int(random.integers(-10, 10))
        else:
            yield first + timedelta(minutes=15) * int(random.integers(slots))


def last_rows(view: MarketView, at: datetime) -> dict[str, pl.DataFrame]:
    """The newest 1h and 4h row known at an evaluation."""
    at_ms = np.array([round(at.timestamp() * 1000)])
    return {str(timeframe): view.timeline(timeframe).at(at_ms).frame for timeframe in (Timeframe.H1, Timeframe.H4)}


def grid_at(candles: pl.DataFrame, at: datetime, random: np.random.Generator) -> Grid:
    """A grid started up to five days ago at the price of then: the window behind its start fits into the cut."""
    started_at = at - timedelta(hours=int(random.integers(1, 120)), minutes=int(random.integers(0, 60)))
    price = candles.filter(pl.col("open_time") < started_at)["close"][-1]
    return grid_around(price, started_at, width=float(random.uniform(0.02, 0.2)), enabled=bool(random.integers(4)))


def assert_same(actual: pl.DataFrame, expected: pl.DataFrame, what: str) -> None:
    try:
        assert_frame_equal(actual, expected, rel_tol=1e-9, abs_tol=1e-12)
    except AssertionError as error:
        error.add_note(what)
        raise


def assert_cut_changes_nothing(candles: pl.DataFrame, *, count: int, seed: int) -> None:
    settings = settings_of("seed")
    days = settings.data.warm_up_days
    whole = view_of_candles(candles, settings)
    random = np.random.default_rng(seed + 1)
    seen = set()
    for at in cut_times(candles, count, days + 8, seed):
        view = view_of_candles(cut(candles, at, days), settings)
        expected_rows, rows = last_rows(whole, at), last_rows(view, at)
        for timeframe in rows:
            assert_same(rows[timeframe], expected_rows[timeframe], f"{timeframe} row at {at}")
        versions = version_of(grid_at(candles, at, random))
        at_ms = round(at.timestamp() * 1000)
        expected, actual = (
            evaluate(versions, market, settings.advice, first_ms=at_ms, last_ms=at_ms) for market in (whole, view)
        )
        seen.update(expected.exit_states["state"], expected.entry_states["state"])
        assert_same(actual.entry_states, expected.entry_states, f"entry state at {at}")
        # The state before a blind spell is looked up, not computed: it is the one column with a longer memory.
        looked_up = "last_known_state"
        assert_same(actual.exit_states.drop(looked_up), expected.exit_states.drop(looked_up), f"exit state at {at}")
    assert len(seen) >= 5, f"cut points met too few states to mean anything: {seen}"


@pytest.mark.slow
def test_recorded_market_cut_at_random_points_judges_the_same(recorded_data) -> None:
    candles = recorded_candles(recorded_data / ETH_2022_2025)
    assert_cut_changes_nothing(candles, count=tries(CUTS), seed=1)


def test_simulated_market_cut_at_random_points_judges_the_same() -> None:
    assert_cut_changes_nothing(simulated_candles(), count=tries(15), seed=2)
