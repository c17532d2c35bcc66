"""The exchange's own 1h candles, to be compared with those made of its 15m ones; nothing is judged by them."""

from __future__ import annotations

import polars as pl

from mm_pipeline.adapters.candle_sources.asking import Asking
from mm_pipeline.adapters.candle_sources.deadline import Deadline, run_within
from mm_pipeline.adapters.candle_sources.exchange_client import ExchangeClient
from mm_pipeline.domain.candles import RAW_SCHEMA, ExchangePolicy
from mm_pipeline.domain.market import Market, Timeframe


class _HourlyClient(ExchangeClient):
    """Asks for 1h candles in place of 15m ones."""

    def candles(self, symbol: str, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """1h candles that open in ``[start_ms, end_ms)``, as sent."""
        bars = -(-(end_ms - start_ms) // Timeframe.H1.ms)
        rows = self._ccxt.fetch_ohlcv(symbol, Timeframe.H1.value, start_ms, bars)
        frame = pl.DataFrame(rows, schema=dict(RAW_SCHEMA) | {"open_time": pl.Int64}, orient="row")
        return frame.with_columns(pl.col("open_time").cast(RAW_SCHEMA["open_time"])).filter(
            pl.col("open_time").to_physical().is_between(start_ms, end_ms, closed="left")
        )


def hourly_candles(
    market: Market, *, start_ms: int, end_ms: int, policy: ExchangePolicy, base_url: str | None
) -> pl.DataFrame:
    """Read an exchange's own 1h candles with ``start_ms <= open_time < end_ms`` (epoch milliseconds).

    Returns
    -------
    Raw candle frame, sorted; hours without trades may be missing.

    Raises
    ------
    CandleSourceError
        As for 15m candles; one attempt, because the next hour asks again.
    """
    client = _HourlyClient(
        market.exchange,
        timeout_s=policy.request_timeout.total_seconds(),
        max_page_bars=policy.max_page_bars,
        base_url=base_url,
    )

    def ask(deadline: Deadline) -> pl.DataFrame:
        client.on_request(deadline.check)
        asking = Asking(client, exchange=market.exchange, policy=policy, attempts=1, deadline=deadline)
        return asking.ask(
            f"hourly candles of {market.symbol}",
            lambda: client.candles(market.symbol, start_ms=start_ms, end_ms=end_ms),
        )

    return run_within(policy.deadline.total_seconds(), ask).sort("open_time")
