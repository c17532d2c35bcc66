"""What the server needs of an exchange's dialect, and what dialects share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.http.wire import Answer, Request
from mm_pipeline.paper.markets.market_data import MarketData


class Dialect(Protocol):
    """Answers requests as one exchange does, errors included; never raises for what a client sent."""

    def answer(self, request: Request) -> Answer:
        """Answer one request to this exchange."""
        ...


class Listing:
    """The markets that one exchange lists, by its own name for the symbol.

    Parameters
    ----------
    markets
        Markets of this exchange.
    separator
        What stands between base and quote in the exchange's symbol: ``-`` for KuCoin, nothing for Binance.
    """

    def __init__(self, markets: Sequence[MarketData], *, separator: str) -> None:
        self._by_id = {data.paper.market.symbol.replace("/", separator): data for data in markets}
        if len(self._by_id) != len(markets):
            raise ConfigError("a market is served twice.", "Give every exchange and symbol once.")

    def visible(self, request: Request) -> dict[str, MarketData]:
        """Listed markets by exchange symbol, without those that a fault has removed."""
        return {
            name: data for name, data in self._by_id.items() if data.paper.market.symbol not in request.removed_symbols
        }
