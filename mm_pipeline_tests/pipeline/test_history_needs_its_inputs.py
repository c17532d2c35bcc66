"""A month whose input is missing fails by name, and what is stored of it stays."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

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
FEBRUARY, MARCH, APRIL = (datetime(2025, month, 1, tzinfo=UTC) for month in (2, 3, 4))
AT = datetime(2025, 3, 3, 12, tzinfo=UTC)
MONTHS = ("2025-02", "2025-03")
MARKET = "kucoin_ETH-USDT"


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(START, 80, seed=3)


@pytest.fixture
def installation(tmp_path: Path, candles: pl.DataFrame) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: candles}))
    made.grid("eth", started_at="2025-02-25T00:00:00Z")
    made.grid("later", started_at="2025-03-02T00:00:00Z")
    return made


@pytest.mark.parametrize(
    ("lost", "key", "asked"),
    [
        ("regime_metrics_1h", MARKET, {"regime": "regime_1h"}),
        ("regime_4h", MARKET, {"grid_analysis": "grid_analysis"}),
        ("grid_analysis", "eth", {"exit_states": "exit_states"}),
        ("exit_states", "eth", {"replayed_notifications": "replayed_notifications"}),
    ],
)
def test_month_whose_input_is_missing_keeps_its_rows_and_is_named(
    installation: Installation, instance: dg.DagsterInstance, lost: str, key: str, asked: dict[str, str]
) -> None:
    installation.backfill_once(AT, MONTHS)
    store = installation.store
    ((asset, dataset),) = asked.items()
    own = MARKET if asset == "regime" else "eth"
    before = store.read(dataset, own, start=FEBRUARY, end=APRIL)
    store.remove(lost, key, start=FEBRUARY, end=MARCH, newest=AT)
    result = installation.run(AT, instance, months=MONTHS, assets=[asset])

    assert store.read(dataset, own, start=FEBRUARY, end=APRIL).equals(before)
    check = check_of(result, asset, "contract")
    assert not check.passed
    assert any(f"there is no {lost} of {key} of 2025-02." in str(told.value) for told in check.metadata.values())


def test_input_that_was_never_made_gives_unknown_by_name(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.run(AT, instance, months=MONTHS, assets=["candles", "regime_metrics", "regime"])
    result = installation.run(AT, instance, months=MONTHS, assets=["exit_states"])

    assert set(installation.store.read("exit_states", "eth", start=FEBRUARY, end=APRIL)["state"]) == {"UNKNOWN"}
    assert not check_of(result, "exit_states", "contract").passed


def test_grid_that_starts_in_the_second_month_lacks_nothing_in_the_first(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    for month in MONTHS:
        installation.run(AT, instance, months=(month, month))
    result = installation.run(AT, instance, months=MONTHS, assets=["exit_states"])

    assert check_of(result, "exit_states", "contract").passed
    assert installation.store.read("exit_states", "later", start=MARCH, end=APRIL).height == 145
