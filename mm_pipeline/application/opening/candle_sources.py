"""Which candle source a market's exchange is asked through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.exchange.paper_address import paper_base_url
from mm_pipeline.domain.candles import CandleSource, CircuitStore
from mm_pipeline.domain.market import Market
from mm_pipeline.settings import Settings


class SourceFactory(Protocol):
    """Makes the candle sources of a run; tests and replays give their own."""

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        """One source per exchange; an exchange that is left out has none, and its markets are UNKNOWN."""
        ...

    def hourly(self, market: Market, *, start_ms: int, end_ms: int, settings: Settings) -> pl.DataFrame | None:
        """The source's own 1h candles that open in ``[start_ms, end_ms)``; None where it has none of its own.

        Raises
        ------
        CandleSourceError
            When they could not be had.
        """
        ...


@dataclass(frozen=True)
class ExchangeSources:
    """Sources over ccxt: the real exchanges, or the paper exchange where the settings say so."""

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        """See :class:`SourceFactory`."""
        from mm_pipeline.adapters.candles.exchange_candles import ExchangeCandles

        return {
            exchange: ExchangeCandles(
                exchange,
                policy=settings.exchange_access,
                clock=clock,
                circuits=circuits,
                base_url=_base_url(exchange, settings),
            )
            for exchange in exchanges
        }

    def hourly(self, market: Market, *, start_ms: int, end_ms: int, settings: Settings) -> pl.DataFrame | None:
        """See :class:`SourceFactory`."""
        from mm_pipeline.adapters.candles.hourly_candles import hourly_candles

        return hourly_candles(
            market,
            start_ms=start_ms,
            end_ms=end_ms,
            policy=settings.exchange_access,
            base_url=_base_url(market.exchange, settings),
        )


def _base_url(exchange: str, settings: Settings) -> str | None:
    return paper_base_url(settings.paper_url, exchange) if settings.is_paper else None
