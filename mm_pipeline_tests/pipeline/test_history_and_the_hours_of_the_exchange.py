"""Stored months against the exchange's own 1h candles: what differs is named, and what was not compared too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.config.price_ticks import PriceTicks
from mm_pipeline.application.reconciliation import hourly_differences
from mm_pipeline.domain.candles import RAW_SCHEMA, fill_gaps, resample
from mm_pipeline.domain.errors import ExchangeUnavailable
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
WRONG = datetime(2025, 2, 10, 7, tzinfo=UTC)
MONTHS = ("2025-02", "2025-03")


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)


@pytest.fixture(scope="module")
def hours(candles: pl.DataFrame) -> pl.DataFrame:
    """As the exchange adds them up itself."""
    return resample(fill_gaps(candles, quarantined_ms=None), Timeframe.H1).select(list(RAW_SCHEMA))


@pytest.fixture
def installation(tmp_path: Path, candles: pl.DataFrame) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: candles}))
    made.grid("eth", started_at="2025-02-25T00:00:00Z")
    return made


def compared(installation: Installation, instance: dg.DagsterInstance, months: tuple[str, str] = MONTHS) -> Any:
    result = installation.run(AT, instance, months=months)
    return check_of(result, "candles", "hours_agree")


def shifted(hours: pl.DataFrame, by: float) -> pl.DataFrame:
    is_wrong = pl.col("open_time") == WRONG
    return hours.with_columns(high=pl.when(is_wrong).then(pl.col("high") + by).otherwise("high"))


def test_months_that_agree_pass_with_the_number_of_hours(
    installation: Installation, instance: dg.DagsterInstance, hours: pl.DataFrame
) -> None:
    installation.sources.own_hours[ETH] = hours
    check = compared(installation, instance)
    assert check.passed, check.metadata
    assert check.metadata["hours_compared"].value == 28 * 24 + 36


@pytest.mark.parametrize(("by", "passes"), [(0.1, True), (0.11, False)])
def test_hour_that_differs_by_more_than_the_price_step_is_named_with_both_values(
    installation: Installation, instance: dg.DagsterInstance, hours: pl.DataFrame, by: float, passes: bool
) -> None:
    PriceTicks(str(installation.home / "frames")).keep({ETH: 0.1})
    installation.sources.own_hours[ETH] = shifted(hours, by)
    check = compared(installation, instance)
    assert check.passed is passes
    assert check.severity is dg.AssetCheckSeverity.WARN
    (value,) = hours.filter(pl.col("open_time") == WRONG)["high"]
    told = "" if passes else f"high {value} against the exchange's {value + by}"
    assert told in check.metadata["hours"].value
    assert ("kucoin:ETH/USDT | 2025-02-10 07:00" in check.metadata["hours"].value) is not passes


def test_hour_that_one_side_lacks_is_named(
    installation: Installation, instance: dg.DagsterInstance, candles: pl.DataFrame, hours: pl.DataFrame
) -> None:
    quiet = pl.col("open_time").is_between(WRONG, WRONG + timedelta(hours=1), closed="left")
    installation.sources.candles[ETH] = candles.filter(~quiet)
    installation.sources.own_hours[ETH] = hours.filter(pl.col("open_time") != WRONG + timedelta(hours=3))
    told = compared(installation, instance).metadata["hours"].value
    assert "2025-02-10 07:00 | our bars have no such hour" in told
    assert "2025-02-10 10:00 | the exchange has no such hour" in told


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (None, "its candles come from no exchange that has hours of its own"),
        ("empty", "the exchange gave no 1h candle"),
        ("fails", "the exchange is away."),
    ],
)
def test_nothing_compared_is_never_green(  # noqa: PLR0917 - fixtures and two parameters
    installation: Installation,
    instance: dg.DagsterInstance,
    hours: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    own: str | None,
    why: str,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ExchangeUnavailable("the exchange is away.", "Wait.")

    if own == "empty":
        installation.sources.own_hours[ETH] = hours.clear()
    elif own == "fails":
        monkeypatch.setattr(installation.sources, "hourly", away)
    check = compared(installation, instance, ("2025-02", "2025-02"))
    assert not check.passed
    assert check.description == "not compared: kucoin:ETH/USDT"
    assert why in check.metadata["not compared"].value


def test_month_without_a_market_has_nothing_to_compare(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    check = compared(installation, instance, ("2024-06", "2024-06"))
    assert (check.passed, check.metadata["markets"].value) == (True, 0)


def test_volume_is_no_price(hours: pl.DataFrame) -> None:
    """A price step of a coin that costs thousands is more than its hourly volume."""
    made = hours.with_columns(is_synthetic=False)
    other = hours.with_columns(volume=pl.col("volume") + 0.01)
    assert hourly_differences(made, other, price_step=100.0).height == hours.height


def test_second_market_is_compared_although_the_first_cannot_be(
    installation: Installation, instance: dg.DagsterInstance, hours: pl.DataFrame, candles: pl.DataFrame
) -> None:
    btc = Market("kucoin", "BTC/USDT")
    installation.sources.candles[btc] = candles
    installation.sources.own_hours[ETH] = shifted(hours, 50.0)
    installation.grid("btc", symbol="BTC/USDT", started_at="2025-02-25T00:00:00Z")
    check = compared(installation, instance, ("2025-02", "2025-02"))
    assert check.description == "not compared: kucoin:BTC/USDT"
    assert check.metadata["differences"].value == 1
