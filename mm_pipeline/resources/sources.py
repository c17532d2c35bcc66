"""Which candle source a market's exchange is asked through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.domain.candles import CandleSource, CircuitStore
from mm_pipeline.settings import Settings


class SourceFactory(Protocol):
    """Makes the candle sources of a run; tests and replays give their own."""

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        """One source per exchange; an exchange that is left out has none, and its markets are UNKNOWN."""
        ...


@dataclass(frozen=True)
class ExchangeSources:
    """Sources over ccxt: the real exchanges, or the paper exchange where the settings say so."""

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        """See :class:`SourceFactory`."""
        from mm_pipeline.adapters.candle_sources import ExchangeCandles

        return {
            exchange: ExchangeCandles(
                exchange,
                policy=settings.exchange_access,
                clock=clock,
                circuits=circuits,
                base_url=f"{settings.paper_url}/{exchange}" if settings.is_paper else None,
            )
            for exchange in exchanges
        }
