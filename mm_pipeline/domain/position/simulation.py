"""A declared grid over bars: its fills, its equity at every close, and what both add up to (SPEC 7)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.columns import TIME, epoch_ms, float_column, name_column, times_of
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.grid_history import RangeHistory
from mm_pipeline.domain.position.fifo import FifoLedger, match_fifo
from mm_pipeline.domain.position.summary import SimulationSummary
from mm_pipeline.domain.position.summation import running_sum
from mm_pipeline.domain.position.trading import GridLadder, PricePath, Trades, trade
from mm_pipeline.domain.position.worst_case import worst_case_quote

SIDES = ("sell", "buy")

FILLS_SCHEMA: dict[str, pl.DataType] = {
    "time": TIME,
    "side": pl.String(),
    "interval": pl.Int64(),
    "price": pl.Float64(),
    "quantity_base": pl.Float64(),
    "fee_quote": pl.Float64(),
}
"""One row a fill, in the order in which they happened; ``time`` is the open of the bar within which, or just before
whose open, it happened."""

EQUITY_SCHEMA: dict[str, pl.DataType] = {
    "time": TIME,
    "close_time": TIME,
    "close": pl.Float64(),
    "cash_quote": pl.Float64(),
    "inventory_base": pl.Float64(),
    "equity_quote": pl.Float64(),
    "grid_profit_quote": pl.Float64(),
    "unrealised_quote": pl.Float64(),
    "unmatched_fees_quote": pl.Float64(),
    "residual_quote": pl.Float64(),
    "total_pnl_quote": pl.Float64(),
}
"""One row a bar: ``time`` is its open, the amounts stand at its ``close_time`` and are valued at its ``close``."""


@dataclass(frozen=True, eq=False)
class GridSimulation:
    """What :func:`simulate_grid` found; frames and summary are made when they are first asked for.

    Attributes
    ----------
    grid
        The declaration.
    trades
        Fills as arrays, of which ``bar`` counts rows of ``bars``.
    bars
        Bars frame of the simulated bars.
    """

    grid: Grid
    trades: Trades
    bars: pl.DataFrame

    @cached_property
    def ladder(self) -> GridLadder:
        """Levels and quantities."""
        return GridLadder.of(self.grid)

    @cached_property
    def quantity_base(self) -> Floats:
        """Of each fill."""
        return self.ladder.quantity_base[self.trades.interval]

    @cached_property
    def fee_quote(self) -> Floats:
        """Of each fill."""
        return self.quantity_base * self.trades.price * self.grid.fee

    @cached_property
    def ledger(self) -> FifoLedger:
        """FIFO matching after each fill."""
        return match_fifo(
            is_buy=self.trades.is_buy,
            quantity_base=self.quantity_base,
            price=self.trades.price,
            fee_quote=self.fee_quote,
        )

    @cached_property
    def fills(self) -> pl.DataFrame:
        """``FILLS_SCHEMA``."""
        times = epoch_ms(self.bars["open_time"])[self.trades.bar]
        return pl.DataFrame(
            [
                times_of(times, "time"),
                name_column("side", self.trades.is_buy.astype(np.int64), SIDES),
                pl.Series("interval", self.trades.interval, dtype=pl.Int64),
                float_column("price", self.trades.price),
                float_column("quantity_base", self.quantity_base),
                float_column("fee_quote", self.fee_quote),
            ]
        )

    @cached_property
    def equity(self) -> pl.DataFrame:
        """``EQUITY_SCHEMA``."""
        close, filled = self.bars["close"].to_numpy(), self._filled
        cash, inventory = self._cash_quote[filled], self._inventory_base[filled]
        equity = cash + inventory * close
        grid_profit, unmatched_fees = self.ledger.grid_profit_quote[filled], self.ledger.unmatched_fees_quote[filled]
        unrealised = inventory * close - self.ledger.held_cost_quote[filled]
        total = equity - self.grid.capital
        return pl.DataFrame(
            [
                self.bars["open_time"].alias("time"),
                self.bars["close_time"],
                self.bars["close"],
                float_column("cash_quote", cash),
                float_column("inventory_base", inventory),
                float_column("equity_quote", equity),
                float_column("grid_profit_quote", grid_profit),
                float_column("unrealised_quote", unrealised),
                float_column("unmatched_fees_quote", unmatched_fees),
                float_column("residual_quote", total - (grid_profit + unrealised - unmatched_fees)),
                float_column("total_pnl_quote", total),
            ]
        )

    @property
    def is_stopped_out(self) -> bool:
        """Whether the stop has sold everything by the last bar."""
        return self.trades.stopped_bar >= 0

    @cached_property
    def rung(self) -> Integers:
        """At each close the lowest interval that holds; the number of intervals where none does."""
        return self._rung[self._filled]

    @cached_property
    def summary(self) -> SimulationSummary:
        """Counts and amounts after the last bar; of no bars, those of a grid that has not begun."""
        values = self.equity.row(-1, named=True) if len(self.equity) else _not_begun(self.grid)
        buys, stopped = int(self.trades.is_buy.sum()), self.trades.stopped_bar
        return SimulationSummary(
            buys=buys,
            sells=len(self.trades.bar) - buys,
            cash=values["cash_quote"],
            inventory=values["inventory_base"],
            equity=values["equity_quote"],
            total_pnl=values["total_pnl_quote"],
            grid_profit=values["grid_profit_quote"],
            unrealised=values["unrealised_quote"],
            unmatched_fees=values["unmatched_fees_quote"],
            residual=values["residual_quote"],
            fees=float(self.fee_quote.sum()),
            max_drawdown=_max_drawdown(self.grid.capital, self.equity["equity_quote"].to_numpy()),
            stopped_at=self.bars["open_time"][stopped] if stopped >= 0 else None,
            worst_case=self._worst_case(values),
        )

    @cached_property
    def _filled(self) -> Integers:
        """Number of fills up to each close."""
        return np.searchsorted(self.trades.bar, np.arange(len(self.bars)), side="right")

    @cached_property
    def _cash_quote(self) -> Floats:
        """After each fill, with the capital before the first."""
        amount = self.quantity_base * self.trades.price
        flow = np.where(self.trades.is_buy, -amount, amount) - self.fee_quote
        return running_sum(flow, self.grid.capital)

    @cached_property
    def _inventory_base(self) -> Floats:
        """After each fill, summed anew from the intervals that hold then, so that what was sold out is 0 exactly."""
        return self.ladder.held_base[self._rung]

    @cached_property
    def _rung(self) -> Integers:
        """The lowest interval that holds after each fill, with none before the first."""
        after = np.where(self.trades.is_buy, self.trades.interval, self.trades.interval + 1)
        return np.concatenate([[len(self.ladder.quantity_base)], after])

    def _worst_case(self, values: dict[str, float]) -> float:
        if self.trades.stopped_bar >= 0 or self.bars.is_empty():
            return 0.0
        resting = slice(0, self.trades.rung)
        return worst_case_quote(
            inventory_base=values["inventory_base"],
            resting_quantity_base=self.ladder.quantity_base[resting],
            resting_price=self.ladder.levels[resting],
            price=values["close"],
            stop_loss=self.grid.stop_price,
            fee=self.grid.fee,
        )


def simulate_grid(
    grid: Grid,
    bars: pl.DataFrame,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    history: RangeHistory | None = None,
) -> GridSimulation:
    """Run a grid over bars as if it had traded them (SPEC 7).

    The grid begins at the open of the first bar that opens neither before its ``started_at`` nor before ``start_ms``: a
    later ``start_ms`` asks what the grid would have done if placed then. Where the bars begin later than that it
    begins with the first of them; whether that will do is for the caller to judge. How the price path fills levels is
    said at :func:`~mm_pipeline.domain.position.trading.trade`. After the stop rows of equity go on to the last bar,
    with the cash that is left. Cash may fall below 0 where levels are so close that an interval does not earn its fees.

    The residual of the PnL identity is rounding: within 1e-8 quote for a capital up to 100,000 quote.

    Parameters
    ----------
    grid
        The declaration; it is run whether it is enabled or not.
    bars
        Bars frame of any timeframe, sorted; only ``open_time, close_time, open, high, low, close`` are read. Over a
        hole in the bars the path runs straight from the close before it to the open after it.
    start_ms, end_ms
        Epoch ms: bars that open at or after ``start_ms`` and close by ``end_ms`` are run; None: no bound.
    history
        How the grid's file was edited while its range ran: each bar is run under the stop in force at its open. Bounds
        and levels are those of ``grid`` throughout. None: the stop of ``grid`` at every bar.

    Returns
    -------
    GridSimulation
        Of no bars where none lies between: no fills, and the capital in cash.
    """
    opened, closed = epoch_ms(bars["open_time"]), epoch_ms(bars["close_time"])
    first_ms = grid.started_at_ms if start_ms is None else max(start_ms, grid.started_at_ms)
    first = int(np.searchsorted(opened, first_ms, side="left"))
    end = len(bars) if end_ms is None else int(np.searchsorted(closed, end_ms, side="right"))
    run = bars.slice(first, max(end - first, 0))
    path = PricePath(*(run[name].to_numpy() for name in ("open", "high", "low", "close")))
    stops = None if history is None else np.nan_to_num(history.stops_at(opened[first : first + len(run)]))
    return GridSimulation(grid, trade(GridLadder.of(grid), path, stops), run)


def _not_begun(grid: Grid) -> dict[str, float]:
    return dict.fromkeys(EQUITY_SCHEMA, 0.0) | {"cash_quote": grid.capital, "equity_quote": grid.capital}


def _max_drawdown(capital: float, equity: Floats) -> float:
    from_start = np.concatenate([[capital], equity])
    return float(np.max(np.maximum.accumulate(from_start) - from_start))
