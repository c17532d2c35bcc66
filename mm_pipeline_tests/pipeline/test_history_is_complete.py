"""A month with fewer rows than it has evaluations or bars fails its contract check by name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.domain import pipeline
from mm_pipeline.orchestration.assets import grid_analysis, positions, regime, states
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
START = datetime(2024, 12, 20, tzinfo=UTC)
HOLE = datetime(2025, 3, 2, tzinfo=UTC)
AT = datetime(2025, 3, 3, 12, tzinfo=UTC)
MONTH = ("2025-03", "2025-03")


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(START, 80, seed=3)


@pytest.fixture
def installation(tmp_path: Path, candles: pl.DataFrame) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: candles}))
    made.grid("eth", started_at="2025-03-01T06:00:00Z")
    made.grid("idle", enabled=False)
    return made


def _before_hole(frame: pl.DataFrame) -> pl.DataFrame:
    column = "evaluated_at" if "evaluated_at" in frame.columns else "close_time"
    return frame.filter(pl.col(column) <= HOLE)


def _told(result: dg.ExecuteInProcessResult, asset: str) -> str:
    check = check_of(result, asset, "contract")
    assert not check.passed
    return " ".join(str(value.value) for value in check.metadata.values())


def test_whole_months_pass(installation: Installation, instance: dg.DagsterInstance) -> None:
    result = installation.run(AT, instance, months=("2025-02", "2025-03"))
    for asset in ("regime_metrics", "regime", "grid_analysis", "positions", "risk", "exit_states", "entry_states"):
        assert check_of(result, asset, "contract").passed, check_of(result, asset, "contract").metadata


@pytest.mark.parametrize(
    ("asset", "told"),
    [
        ("regime_metrics", "2025-03 has 24 of 60 bars of 1h, none at 2025-03-02 00:00 UTC"),
        ("regime", "2025-03 has 24 of 60 bars of 1h, none at 2025-03-02 00:00 UTC"),
        ("grid_analysis", "2025-03 has 73 of 217 evaluations, none at 2025-03-02 00:15 UTC"),
        ("positions", "2025-03 has 73 of 217 evaluations, none at 2025-03-02 00:15 UTC"),
        ("risk", "2025-03 has 73 of 217 evaluations, none at 2025-03-02 00:15 UTC"),
        ("exit_states", "2025-03 has 73 of 217 evaluations, none at 2025-03-02 00:15 UTC"),
        ("entry_states", "2025-03 has 96 of 240 evaluations, none at 2025-03-02 00:15 UTC"),
    ],
)
def test_short_month_is_named(
    installation: Installation,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    asset: str,
    told: str,
) -> None:
    installation.run(AT, instance, months=MONTH)
    _shorten(monkeypatch, asset)
    result = installation.run(AT, instance, months=MONTH, assets=[asset], raises=False)
    assert told in _told(result, asset)


def _shorten(monkeypatch: pytest.MonkeyPatch, asset: str) -> None:
    """Let the stage of an asset make rows up to the hole alone."""

    def frames_of(make: Any) -> Any:
        return lambda *given: {name: _before_hole(frame) for name, frame in make(*given).items()}

    def frame_of(make: Any) -> Any:
        return lambda *given: _before_hole(make(*given))

    def advice_of(make: Any) -> Any:
        def shortened(*given: Any) -> Any:
            advice = make(*given)
            return type(advice)(_before_hole(advice.exit_states), _before_hole(advice.entry_states))

        return shortened

    if asset == "regime_metrics":
        monkeypatch.setattr(regime, "metrics_of", frames_of(pipeline.metrics_of))
    elif asset == "regime":
        monkeypatch.setattr(regime, "regime_of", frames_of(pipeline.regime_of))
    elif asset == "grid_analysis":
        monkeypatch.setattr(grid_analysis, "analysis_of", frame_of(grid_analysis.analysis_of))
    elif asset in {"positions", "risk"}:
        monkeypatch.setattr(positions, "risk_rows", frame_of(positions.risk_rows))
    else:
        monkeypatch.setattr(states, "decide", advice_of(states.decide))


def test_month_whose_candles_are_missing_is_named(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    (frames_dir(installation.home) / "candles" / "kucoin_ETH-USDT" / "2025-02.parquet").unlink()
    result = installation.run(AT, instance, months=("2025-02", "2025-03"), assets=["regime_metrics"])
    assert "2025-02 has 0 of 672 bars of 1h, none at 2025-02-01 00:00 UTC" in _told(result, "regime_metrics")


def test_market_that_is_younger_than_its_month_is_whole(
    tmp_path: Path, instance: dg.DagsterInstance, candles: pl.DataFrame
) -> None:
    listed = candles.filter(pl.col("open_time") >= HOLE)
    made = Installation(tmp_path, FixedSources({ETH: listed}))
    made.grid("eth", started_at="2025-03-02T06:00:00Z")
    result = made.run(AT, instance, months=MONTH)
    assert check_of(result, "regime_metrics", "contract").passed
    assert check_of(result, "exit_states", "contract").passed


def test_tick_is_not_asked_for_a_whole_month(installation: Installation, instance: dg.DagsterInstance) -> None:
    result = installation.tick(AT, instance)
    assert check_of(result, "positions", "contract").passed
    assert installation.store.read("positions", "eth", start=HOLE, end=datetime(2025, 4, 1, tzinfo=UTC)).height == 1
