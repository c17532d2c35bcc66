"""What the file of a stored month names of how it was made: settings, code, candles and declarations.

Each hash is short; two months with the same ones were made of the same. A live run and a backfill give the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market

CANDLES_HASH: Final = "candles_hash"
"""Metadata: hash of the bars that evaluations of the month look at."""

PAST_HASH: Final = "past_candles_hash"
"""Metadata: hash of the bars of the longer past that risk, or a replay of pages, looks at."""

GRID_HASH: Final = "grid_hash"
"""Metadata: hash of the grid's declarations up to the month's last evaluation."""

MADE_TO: Final = "made_to"
"""Metadata: the newest evaluation of the month that its run could make."""

STALE_INPUTS: Final = "stale_inputs"
"""Metadata: datasets that were stale or missing when a run over a part of the flow made this month of them."""

MIXED: Final = "mixed_with"
"""Metadata of a stored month: settings and code of rows that ticks kept when they changed."""

_COLUMNS: Final = ("open_time", "known_at", "open", "high", "low", "close", "volume")
_DIGITS: Final = 16


def past_of(dataset: str, plan: Plan) -> Mapping[Market, int] | None:
    """Per market, open time (epoch ms) from which a dataset looks further back than evaluations do; None: it does not.

    A replay of pages begins with the month before; P(stop) is a trigger of exit states.
    """
    if dataset in {"risk", "exit_states"}:
        return plan.drawn_from_ms
    return plan.candles_from_ms if dataset == "replayed_notifications" else None


def market_hash(bars: MarketBars) -> str:
    """Hash of a market's bars, and of the candles that were refused."""
    digest = hashlib.sha256(bars.quarantined_ms.tobytes())
    for name in _COLUMNS:
        digest.update(bars.bars[name].to_physical().to_numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]


def joined_hash(hashes: Iterable[str]) -> str:
    """Hash of several markets; that of one stands for itself."""
    found = list(hashes)
    return found[0] if len(found) == 1 else _digest(found)


def hashes_by_key(plan: Plan, bars: Mapping[Market, MarketBars]) -> dict[str, str]:
    """By key of a frame: a market's own hash, and that of the markets which a grid trades."""
    by_market = {market: market_hash(bars[market]) for market in sorted(bars)}
    of_grids = {
        grid.grid_id: joined_hash(by_market[market] for market in grid.markets if market in by_market)
        for grid in plan.grids
    }
    return {market.path_key: found for market, found in by_market.items()} | of_grids


def grid_hash(grid: WatchedGrid, plan: Plan) -> str:
    """Hash of what is declared of a grid up to the plan's last evaluation, and from when each counts."""
    last_ms = max(plan.last_ms, plan.first_ms)
    return _digest(
        f"{one.grid.version_hash} {one.valid_from.isoformat()} {one.is_gone} {one.grid.moved_by_tick}\n"
        for one in grid.versions
        if to_ms(one.valid_from) <= last_ms
    )


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:_DIGITS]
