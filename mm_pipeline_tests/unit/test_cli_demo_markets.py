"""The demo shows what it promises at every quarter of an hour of a day, whatever the day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mm_pipeline.adapters.config.calibration_files import load_calibration, shipped_calibration
from mm_pipeline.adapters.config.grid_files import load_grids
from mm_pipeline.cli.demo.markets import DEMO_MARKETS, demo_grid, paper_market, write_installation
from mm_pipeline.domain.candles import RAW_SCHEMA, fill_gaps
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.pipeline import MarketPolicy, evaluate, market_view
from mm_pipeline.settings import load_deployment, load_settings
from mm_pipeline_tests.markets import NOTHING_QUARANTINED

MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
EXPECTED = {
    "eth-calm": {"NORMAL"},
    "btc-strain": {"LATEST_ACCEPTABLE_EXIT"},
    "sol-break": {"MANDATORY_EXIT"},
    "eth-next": {"ENTER"},
}
BY_ID = {demo.grid_id: demo for demo in DEMO_MARKETS}


def judged(grid_id: str, *, now: datetime, hours: float) -> pl.DataFrame:
    """States of a demo grid at every close from ``now`` on."""
    settings = load_settings()
    policy = MarketPolicy(settings.metrics, settings.regime, load_calibration(shipped_calibration()), settings.risk)
    demo = BY_ID[grid_id]
    candles = paper_market(demo, now=now).source.load(price_increment=demo.price_increment).select(list(RAW_SCHEMA))
    view = market_view(fill_gaps(candles, quarantined_ms=None), NOTHING_QUARANTINED, policy)
    grid = demo_grid(demo, now=now)
    until = now + timedelta(hours=hours)
    advice = evaluate(
        [GridVersion(grid, grid.started_at)], view, settings.advice, first_ms=to_ms(now), last_ms=to_ms(until)
    )
    return advice.exit_states if demo.is_enabled else advice.entry_states


@pytest.mark.parametrize("grid_id", EXPECTED)
def test_situation_holds_all_day(grid_id: str) -> None:
    states = judged(grid_id, now=MIDNIGHT, hours=24)
    assert len(states) == 97
    assert set(states["state"]) == EXPECTED[grid_id]


def test_silent_market_is_unknown_and_tells_why() -> None:
    now = MIDNIGHT + timedelta(hours=10)
    row = judged("xrp-silent", now=now, hours=0).row(-1, named=True)
    assert (row["state"], row["last_known_state"]) == ("UNKNOWN", "NORMAL")
    assert any("180 min" in reason or "3 h" in reason or "old" in reason for reason in row["reasons"])


def test_states_are_at_least_four() -> None:
    assert len(set().union(*EXPECTED.values())) >= 4


def test_same_situation_on_another_day() -> None:
    here = judged("sol-break", now=MIDNIGHT, hours=6).select("state", "price", "closes_outside")
    there = judged("sol-break", now=MIDNIGHT + timedelta(days=77), hours=6).select("state", "price", "closes_outside")
    # `since` moves with the day; everything else is the same.
    same = pl.col("closes_outside").struct.field("value", "threshold", "margin", "fired")
    assert here.with_columns(same).drop("closes_outside").equals(there.with_columns(same).drop("closes_outside"))


def test_installation_is_written_as_files_that_can_be_read(tmp_path: Path) -> None:
    settings = write_installation(tmp_path, now=MIDNIGHT, paper_url="http://127.0.0.1:1234")
    deployment = load_deployment(settings)
    assert (deployment.settings.is_paper, deployment.settings.paper_url) == (True, "http://127.0.0.1:1234")
    folder = load_grids(deployment.grids_folder)
    assert folder.problems == ()
    assert {grid.id: grid for grid in folder.grids} == {
        demo.grid_id: demo_grid(demo, now=MIDNIGHT) for demo in DEMO_MARKETS
    }
