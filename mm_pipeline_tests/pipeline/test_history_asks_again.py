"""A backfill asks once more for bars that no answer brought, and on request for all of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    metadata_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
FEBRUARY, MARCH = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
MONTH = ("2025-02", "2025-02")
HOLE = (datetime(2025, 2, 10, tzinfo=UTC), datetime(2025, 2, 12, tzinfo=UTC))
MARKET = "kucoin_ETH-USDT"


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)


@pytest.fixture
def installation(tmp_path: Path, candles: pl.DataFrame) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: candles}))
    made.grid("eth", started_at="2025-02-05T00:00:00Z")
    return made


def stored(installation: Installation) -> pl.DataFrame:
    return installation.store.read("candles", MARKET, start=FEBRUARY, end=MARCH)


def backfill(installation: Installation, instance: dg.DagsterInstance, at: datetime = AT, **tags: str) -> Any:
    return installation.run(at, instance, months=MONTH, tags={f"mm/{name}": value for name, value in tags.items()})


def test_hole_that_the_exchange_has_filled_is_filled_here(
    installation: Installation, instance: dg.DagsterInstance, candles: pl.DataFrame
) -> None:
    is_there = ~pl.col("open_time").is_between(*HOLE, closed="left")
    installation.sources.candles[ETH] = candles.filter(is_there)
    for number in range(3):  # by then the bars count as quiet
        backfill(installation, instance, AT + number * timedelta(hours=1))
    assert stored(installation).height == 26 * 96
    installation.sources.candles[ETH] = candles
    result = backfill(installation, instance, AT + timedelta(hours=4))

    assert stored(installation).height == 28 * 96
    assert "kucoin:ETH/USDT" in metadata_of(result, "candles")["markets"]


def test_tick_asks_for_no_quiet_bar_again(
    installation: Installation, instance: dg.DagsterInstance, candles: pl.DataFrame
) -> None:
    at = datetime(2025, 2, 20, tzinfo=UTC)
    is_there = ~pl.col("open_time").is_between(*HOLE, closed="left")
    installation.sources.candles[ETH] = candles.filter(is_there)
    requests = [
        metadata_of(installation.tick(at + timedelta(hours=number), instance), "candles")["requests_made"]
        for number in range(4)
    ]
    assert requests[-1] == 1


def test_revised_candles_come_with_a_refetch_alone_and_are_told_by_month(
    installation: Installation, instance: dg.DagsterInstance, candles: pl.DataFrame
) -> None:
    backfill(installation, instance)
    before = stored(installation)
    is_revised = pl.col("open_time").is_between(*HOLE, closed="left")
    low = pl.when(is_revised).then(pl.col("low") * 0.8).otherwise("low")
    installation.sources.candles[ETH] = candles.with_columns(low=low)
    backfill(installation, instance)
    assert stored(installation).equals(before)

    result = backfill(installation, instance, refetch="true")
    assert stored(installation)["low"].min() < before["low"].min() * 0.9
    assert metadata_of(result, "candles")["revised_bars"] == 2 * 96
    states = installation.store.read("exit_states", "eth", start=FEBRUARY, end=MARCH)
    assert states.filter(pl.col("evaluated_at") > HOLE[1])["state"].to_list()[0] == "MANDATORY_EXIT"


def test_partition_tells_its_own_revisions(
    installation: Installation, instance: dg.DagsterInstance, candles: pl.DataFrame
) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    is_revised = pl.col("open_time").is_between(HOLE[0], MARCH + timedelta(hours=1), closed="left")
    installation.sources.candles[ETH] = candles.with_columns(
        volume=pl.when(is_revised).then(pl.col("volume") + 1).otherwise("volume")
    )
    result = installation.run(AT, instance, months=("2025-02", "2025-03"), tags={"mm/refetch": "true"})
    told = {
        event.partition: event.step_materialization_data.materialization.metadata["revised_bars"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("candles")
    }
    assert told == {"2025-02": 19 * 96, "2025-03": 4}
