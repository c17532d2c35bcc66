"""A grid simulated over a year of 15m bars, against vectorbt's flexible order function with the same fills and PnL."""

from __future__ import annotations

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position import GridLadder, PricePath, simulate_grid, trade
from mm_pipeline_tests.benchmarks.side_by_side import compare, report, symbol_year
from mm_pipeline_tests.benchmarks.vectorbt_grid import vectorbt_portfolio
from mm_pipeline_tests.markets import grid_around

LEVELS = 21
CALLS = 50
"""Calls of ours that are timed together: one is so short that what the peer left in the caches would decide."""


def main() -> None:
    """Print the ratios: of fills and PnL, which both sides compute, and of everything that ours can tell beside."""
    bars = fill_gaps(symbol_year(), quarantined_ms=None)
    grid, path = year_grid(bars), path_of(bars)
    fills, pnl = equal_results(grid, bars)
    print(f"  {fills:,} fills of {LEVELS} levels and a PnL of {pnl:,.2f} quote are equal on both sides")
    shown = {
        "fills and PnL": (lambda: fills_and_pnl(grid, path), ">= 300 times"),
        "FIFO profit and equity at each close, as frames": (lambda: simulate_grid(grid, bars).equity, "only seen"),
    }
    for what, (ours, wanted) in shown.items():
        ours_s, peer_s = compare(
            lambda ours=ours: [ours() for _ in range(CALLS)],  # type: ignore[misc]
            lambda: vectorbt_portfolio(grid, path).total_profit(),
            rounds=9,
        )
        report(what, ours_s / CALLS, peer_s, "vectorbt from_order_func", wanted=wanted)


def fills_and_pnl(grid: Grid, path: PricePath) -> float:
    """PnL (quote) of the fills, marked at the last close."""
    ladder = GridLadder.of(grid)
    trades = trade(ladder, path)
    quantity = ladder.quantity_base[trades.interval]
    amount = quantity * trades.price
    signed = np.where(trades.is_buy, -1.0, 1.0)
    return float(signed @ amount - grid.fee * amount.sum() - (signed @ quantity) * path.close[-1])


def year_grid(bars: pl.DataFrame) -> Grid:
    """A grid from the year's 5 % to its 95 % quantile of closes, its stop below the year's low."""
    lower, upper = np.quantile(bars["close"].to_numpy(), [0.05, 0.95])
    stop_loss = 0.9 * bars["low"].to_numpy().min()
    return grid_around(
        (lower + upper) / 2, bars["open_time"][0], lower=lower, upper=upper, levels=LEVELS, stop_loss=stop_loss
    )


def path_of(bars: pl.DataFrame) -> PricePath:
    """Prices of bars."""
    return PricePath(*(bars[name].to_numpy() for name in ("open", "high", "low", "close")))


def equal_results(grid: Grid, bars: pl.DataFrame) -> tuple[int, float]:
    """Number of fills and total PnL (quote), after both sides were found to agree in every fill and in the PnL."""
    ours, peer = simulate_grid(grid, bars), vectorbt_portfolio(grid, path_of(bars))
    records, fills = peer.orders.records, ours.fills
    np.testing.assert_array_equal(records["idx"].to_numpy(), ours.trades.bar)
    np.testing.assert_array_equal(records["side"].to_numpy() == 0, ours.trades.is_buy)
    for theirs, name in (("price", "price"), ("size", "quantity_base"), ("fees", "fee_quote")):
        np.testing.assert_allclose(records[theirs].to_numpy(), fills[name].to_numpy(), rtol=1e-9)
    pnl = ours.summary.total_pnl
    np.testing.assert_allclose(float(peer.total_profit()), pnl, rtol=1e-9, atol=1e-6)
    return len(fills), pnl
