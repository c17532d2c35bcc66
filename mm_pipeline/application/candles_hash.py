"""A short hash of the bars that a run's plan looks at: two months with the same one were made of the same candles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.application.plan import Plan
from mm_pipeline.domain.market import Market

CANDLES_HASH = "candles_hash"
"""Metadata of a stored month."""

MIXED = "mixed_with"
"""Metadata of a stored month: settings and code of rows that ticks kept when they changed."""

_COLUMNS = ("open_time", "known_at", "open", "high", "low", "close", "volume")
_DIGITS = 16


def market_hash(bars: MarketBars) -> str:
    """Hash of a market's bars, and of the candles that were refused."""
    digest = hashlib.sha256(bars.quarantined_ms.tobytes())
    for name in _COLUMNS:
        digest.update(bars.bars[name].to_physical().to_numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]


def joined_hash(hashes: Iterable[str]) -> str:
    """Hash of several markets; that of one stands for itself."""
    found = list(hashes)
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()[:_DIGITS]


def hashes_by_key(plan: Plan, bars: Mapping[Market, MarketBars]) -> dict[str, str]:
    """By key of a frame: a market's own hash, and that of the markets which a grid trades."""
    by_market = {market: market_hash(bars[market]) for market in sorted(bars)}
    of_grids = {
        grid.grid_id: joined_hash(by_market[market] for market in grid.markets if market in by_market)
        for grid in plan.grids
    }
    return {market.path_key: found for market, found in by_market.items()} | of_grids
