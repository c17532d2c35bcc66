"""Months that an earlier version wrote, without a column of today, are read by every stage."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.contracts.stored import STORED
from mm_pipeline.orchestration.assets import declaration
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
FEBRUARY, MARCH = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
MARKET = "kucoin_ETH-USDT"


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)


@pytest.mark.parametrize(
    "older",
    [
        ("exit_states", "eth", "confidence"),
        ("entry_states", "idle", "confidence"),
        ("grid_analysis", "eth", "unearned"),
        ("positions", "eth", "known_until"),
        ("risk", "eth", "risk_unknown"),
        ("regime_metrics_1h", MARKET, "ou_kappa_baseline"),
        ("regime_1h", MARKET, "is_in_sample"),
    ],
)
def test_month_without_a_column_of_today_fails_no_run(
    tmp_path: Path, candles: pl.DataFrame, instance: dg.DagsterInstance, older: tuple[str, str, str]
) -> None:
    dataset, key, column = older
    installation = Installation(tmp_path, FixedSources({ETH: candles}))
    installation.grid("eth", started_at="2025-02-25T00:00:00Z")
    installation.grid("idle", started_at="2025-02-25T00:00:00Z", enabled=False)
    installation.run(AT, instance, months=("2025-02", "2025-02"))
    store = installation.store
    without = store.read_with_context(dataset, key, start=FEBRUARY, end=MARCH).drop(column)
    store.write(dataset, key, without, start=FEBRUARY, end=MARCH)

    made_of_it = [asset for asset in ("regime", "grid_analysis", "exit_states", "replayed_notifications")
                  if not dataset.startswith(asset)]  # fmt: skip
    again = installation.run(AT, instance, months=("2025-02", "2025-02"), assets=made_of_it)
    for asset in made_of_it:
        assert check_of(again, asset, "contract").passed, check_of(again, asset, "contract").metadata
    result = installation.run(AT, instance, months=("2025-03", "2025-03"))
    assert check_of(result, "exit_states", "contract").passed
    assert check_of(result, "replayed_notifications", "contract").passed


def test_every_stored_frame_has_its_contract(tmp_path: Path) -> None:
    installation = Installation(tmp_path, FixedSources({}))
    assets = build_definitions(installation.overrides(AT)).resolve_asset_graph()
    checked = {key.asset_key.to_user_string() for key in assets.asset_check_keys if key.name == declaration.CONTRACT}
    coarse = {f"{asset}_{timeframe}" for asset in ("regime_metrics", "regime") for timeframe in ("1h", "4h")}
    assert set(STORED) == (checked - {"regime_metrics", "regime"}) | coarse
