"""The stored 15m bars of a market, made into hours, beside the exchange's own 1h candles of the same time."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from mm_pipeline.application.reconciliation import hourly_differences, traded_hours
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.candles import resample
from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.errors import ExchangeError
from mm_pipeline.domain.market import Market, Timeframe


@dataclass(frozen=True, kw_only=True, eq=False)
class HoursCompared:
    """What came of comparing a market's hours.

    Attributes
    ----------
    hours
        How many were compared.
    differences
        ``open_time, problem``, with both values; ascending.
    not_compared
        Why nothing could be compared; None where something was.
    """

    market: Market
    hours: int = 0
    differences: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"open_time": TIME, "problem": pl.String})
    )
    not_compared: str | None = None


def compare_hours(
    watch: Watch, market: Market, *, start_ms: int, end_ms: int, price_step: float = 0.0
) -> HoursCompared:
    """Compare the hours that open in ``[start_ms, end_ms)``; prices may be apart by ``price_step`` (quote).

    Nothing is asked where no bars are stored.
    """
    made = resample(watch.shelf().bars(market, start_ms=start_ms, end_ms=end_ms).bars, Timeframe.H1)
    if traded_hours(made).is_empty():
        return HoursCompared(market=market, not_compared="no whole hour of it is stored")
    sources, settings = watch.installation.sources, watch.settings
    try:
        own = sources.hourly(market, start_ms=start_ms, end_ms=end_ms, settings=settings)
    except ExchangeError as error:
        return HoursCompared(market=market, not_compared=str(error))
    if own is None:
        return HoursCompared(market=market, not_compared="its candles come from no exchange that has hours of its own")
    if own.is_empty():
        return HoursCompared(market=market, not_compared="the exchange gave no 1h candle")
    return HoursCompared(
        market=market,
        hours=made.join(own, on="open_time", how="semi").height,
        differences=hourly_differences(made, own, price_step=price_step),
    )
