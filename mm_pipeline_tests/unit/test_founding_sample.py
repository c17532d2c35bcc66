"""The founding review's own sample: price 2680.11 under a disabled grid whose stop the old system called SAFE."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.config.grid_files import check_grid_file
from mm_pipeline.domain.grid_analysis import grid_analysis
from mm_pipeline.domain.pipeline import evaluate, evaluations
from mm_pipeline_tests.markets import settings_of, simulated_candles, version_of, view_of_candles

PRICE = 2680.11
ETH_V3 = Path(__file__).parents[2] / "deploy" / "local" / "grids" / "eth-v3.yaml"


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """A simulated market scaled so that its last close is the sample's price."""
    market = simulated_candles(seed=4, days=70)
    scale = PRICE / market["close"][-1]
    return market.with_columns(pl.col("open", "high", "low", "close") * scale).with_columns(
        close=pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(PRICE).otherwise("close")
    )


def test_founding_grid_is_below_its_range_and_breached(candles: pl.DataFrame) -> None:
    settings = settings_of("seed")
    grid = check_grid_file(ETH_V3).model_copy(update={"started_at": candles["open_time"][-96]})
    view = view_of_candles(candles, settings)
    at_ms = int(view.bars.frame["close_time"].dt.epoch("ms")[-1])
    row = grid_analysis(version_of(grid), view, evaluations(at_ms, at_ms), settings.exit_state).row(0, named=True)
    assert row["price"] == PRICE
    assert row["position_health"] == "BELOW_GRID"
    assert row["stop_loss_risk"] == "BREACHED"
    assert row["distance_to_stop_atr"] < 0


def test_founding_grid_is_disabled_and_gets_entry_advice_only(candles: pl.DataFrame) -> None:
    settings = settings_of("seed")
    grid = check_grid_file(ETH_V3).model_copy(update={"started_at": candles["open_time"][-96]})
    assert not grid.enabled
    view = view_of_candles(candles, settings)
    at_ms = int(view.bars.frame["close_time"].dt.epoch("ms")[-1])
    advice = evaluate(version_of(grid), view, settings.advice, first_ms=at_ms, last_ms=at_ms)
    assert advice.exit_states.is_empty()
    assert advice.entry_states["state"].to_list()[0] in {"ENTER", "WAIT", "AVOID"}
    assert set(advice.entry_states.columns).isdisjoint({"stop_loss_risk", "counterfactual", "stop_loss_breached"})
