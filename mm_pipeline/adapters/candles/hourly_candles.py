"""The exchange's own 1h candles, to be compared with those made of its 15m ones; nothing is judged by them."""

from __future__ import annotations

import polars as pl

from mm_pipeline.adapters.candles.exchange_candles import fetch_pages
from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.deadline import Deadline, run_within
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.domain.candles import ExchangePolicy
from mm_pipeline.domain.market import Market, Timeframe


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
    client = ExchangeClient(
        market.exchange,
        timeout_s=policy.request_timeout.total_seconds(),
        max_page_bars=policy.max_page_bars,
        base_url=base_url,
    )

    def ask(deadline: Deadline) -> pl.DataFrame:
        client.on_request(deadline.check)
        asking = Asking(client, exchange=market.exchange, policy=policy, attempts=1, deadline=deadline)
        return fetch_pages(asking, market, start_ms=start_ms, end_ms=end_ms, timeframe=Timeframe.H1)

    return run_within(policy.deadline.total_seconds(), ask).unique("open_time", keep="last").sort("open_time")
