"""How many bars a market should have in a month."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.application.completeness import short_markets
from mm_pipeline.application.plan import Plan, make_plan
from mm_pipeline.domain.candles import fill_gaps, resample
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline_tests.dagster_samples import ETH, ranging_candles

MARCH, APRIL = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
BROKEN = datetime(2025, 3, 2, 5, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2025, 2, 20, tzinfo=UTC), 12)


def plan(*, is_live: bool = False) -> Plan:
    at_ms = to_ms(datetime(2025, 3, 4, tzinfo=UTC))
    return make_plan(
        start=MARCH, end=APRIL, evaluated_ms=at_ms, is_live=is_live, grids=[], extra_markets=[ETH],
        since_window_ms=0, warm_up_ms=0,
    )  # fmt: skip


def bars(candles: pl.DataFrame, quarantined: datetime | None = None, *, asked_from: datetime = MARCH) -> MarketBars:
    refused = np.array([] if quarantined is None else [to_ms(quarantined)], dtype=np.int64)
    return MarketBars(fill_gaps(candles, quarantined_ms=refused), refused, asked_from_ms=to_ms(asked_from))


def hours(market: MarketBars) -> dict[Timeframe, pl.DataFrame]:
    return {Timeframe.H1: resample(market.bars, Timeframe.H1)}


def test_hour_of_a_refused_candle_is_not_asked_for(candles: pl.DataFrame) -> None:
    market = bars(candles.filter(pl.col("open_time") != BROKEN), BROKEN)
    assert hours(market)[Timeframe.H1].filter(pl.col("open_time") >= MARCH).height == 71
    assert short_markets(plan(), {ETH: hours(market)}, {ETH: market}) == {}


def test_newest_bar_may_be_late_but_no_other(candles: pl.DataFrame) -> None:
    market = bars(candles)
    whole = hours(market)[Timeframe.H1]
    assert short_markets(plan(), {ETH: {Timeframe.H1: whole[:-1]}}, {ETH: market}) == {}
    problem = short_markets(plan(), {ETH: {Timeframe.H1: whole[:-2]}}, {ETH: market})[ETH]
    assert problem.problem == "2025-03 has 70 of 72 bars of 1h, none at 2025-03-03 22:00 UTC."
    assert short_markets(plan(is_live=True), {ETH: {Timeframe.H1: whole[:-2]}}, {ETH: market}) == {}


@pytest.mark.parametrize(("asked_from", "is_short"), [(MARCH, False), (datetime(2025, 3, 2, tzinfo=UTC), True)])
def test_month_begins_with_the_market_where_all_before_it_was_asked_for(
    candles: pl.DataFrame, asked_from: datetime, is_short: bool
) -> None:
    market = bars(candles.filter(pl.col("open_time") >= datetime(2025, 3, 2, tzinfo=UTC)), asked_from=asked_from)
    assert bool(short_markets(plan(), {ETH: hours(market)}, {ETH: market})) is is_short
