"""Grids of a template about the price of their date, and when each of them is over.

What is known at a date decides where its grid lies; that it is over is decided by the bars after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import ValidationError

from mm_pipeline.domain.grid import Grid, unprofitable
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.position.simulation import GridSimulation
from mm_pipeline.domain.study.columns import STUDY_GRID_COLUMNS, schema_of
from mm_pipeline.domain.study.declaration import GridTemplate, StudyDeclaration, WhenOver, base_of
from mm_pipeline.domain.study.spans import StudySpan

_BAR: Final = timedelta(milliseconds=Timeframe.M15.ms)


class Ending(StrEnum):
    """Why a study grid is over."""

    NEXT_DATE = "next_date"
    """The next date has come."""
    STOP = "stop"
    SOLD_OUT = "sold_out"
    """It had sold everything, and its study places the next one then."""
    CANDLES = "candles"
    """No later candle is there yet."""


LEFT_IN_CASH: Final = frozenset({Ending.STOP, Ending.SOLD_OUT})
"""Endings after which nothing is held, and no later price changes anything."""


@dataclass(frozen=True, eq=False)
class StudyMarket:
    """A market as a study sees it.

    Attributes
    ----------
    view
        Bars, metrics and verdicts.
    warm_from
        From when on enough bars lie before an evaluation; no grid is placed earlier.
    """

    market: Market
    view: MarketView
    warm_from: datetime

    @property
    def bars(self) -> pl.DataFrame:
        """15m Bars frame."""
        return self.view.bars.frame

    @property
    def last_close_ms(self) -> int:
        """Close of the newest bar (epoch ms)."""
        return int(self.view.bars.closed_ms(Timeframe.M15)[-1])


@dataclass(frozen=True, kw_only=True)
class PlacedGrid:
    """A grid of a study from its placement to its end.

    Attributes
    ----------
    price_quote, atr_4h_quote
        Close and ATR(14) of the newest 4h bar that were known at ``grid.started_at``; the ATR NaN where none was.
    ends_at
        Its last evaluation.
    """

    grid: Grid
    price_quote: float
    atr_4h_quote: float
    ends_at: datetime
    ending: Ending


@dataclass(frozen=True)
class NotPlaced:
    """A grid that could not be placed, and why."""

    grid_id: str
    reason: str


def place_grids(study: StudyDeclaration, market: StudyMarket, span: StudySpan) -> list[PlacedGrid | NotPlaced]:
    """Place the grid of a date, and those that follow it before the next one where the study says so.

    Returns
    -------
    In the order of their starts. After one that could not be placed none follows.
    """
    return list(_placed(study, market, span))


def _placed(study: StudyDeclaration, market: StudyMarket, span: StudySpan) -> Iterator[PlacedGrid | NotPlaced]:
    start, number = span.start, 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        grid_id = f"{base_of(market.market)}-{span.label}{suffix}"
        placed = _placed_at(study, market, grid_id, start, span.end)
        yield placed
        if isinstance(placed, NotPlaced) or study.when_over is WhenOver.STAY_OUT:
            return
        if placed.ending not in LEFT_IN_CASH or placed.ends_at >= span.end - _BAR:
            return
        start, number = placed.ends_at, number + 1


def _placed_at(
    study: StudyDeclaration, market: StudyMarket, grid_id: str, start: datetime, end: datetime
) -> PlacedGrid | NotPlaced:
    start_ms = np.array([to_ms(start)])
    if start < market.warm_from:
        return NotPlaced(grid_id, f"fewer candles than the warm-up lie before {start:%Y-%m-%d %H:%M} UTC")
    known = market.view.bars.at(start_ms)
    closes_at = market.view.bars.closed_ms(Timeframe.M15)[known.index[0]]
    if known.index[0] < 0 or closes_at != start_ms[0] or market.last_close_ms <= start_ms[0]:
        return NotPlaced(grid_id, f"no candle is there at {start:%Y-%m-%d %H:%M} UTC")
    price = float(known.floats("close")[0])
    atr = float(market.view.four_hourly.at(start_ms).floats("atr_14")[0])
    if np.isnan(study.template.half_width.quote(price, atr) + study.template.stop_distance.quote(price, atr)):
        return NotPlaced(grid_id, f"no ATR of 4h bars is known at {start:%Y-%m-%d %H:%M} UTC")
    try:
        grid = _grid(study.template, market.market, grid_id, start, (price, atr))
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ").partition(";")[0]
        return NotPlaced(grid_id, f"the template gives no grid about {price:g}: {reason}")
    loss = unprofitable(grid)
    if loss is not None:
        return NotPlaced(grid_id, f"the template's grid about {price:g} loses: {loss}")
    ends_at, ending = _end_of(grid, market, end, study.when_over)
    return PlacedGrid(grid=grid, price_quote=price, atr_4h_quote=atr, ends_at=ends_at, ending=ending)


def _grid(template: GridTemplate, market: Market, grid_id: str, start: datetime, known: tuple[float, float]) -> Grid:
    """The template about ``known``: price and ATR(4h), quote."""
    price, half = known[0], template.half_width.quote(*known)
    lower = price - half
    return Grid(
        id=grid_id,
        exchange=market.exchange,
        symbol=market.symbol,
        enabled=True,
        lower=lower,
        upper=price + half,
        levels=template.levels,
        spacing=template.spacing,
        stop_loss=lower - template.stop_distance.quote(*known),
        capital=template.capital,
        fee=template.fee,
        started_at=start,
    )


def _end_of(grid: Grid, market: StudyMarket, end: datetime, when_over: WhenOver) -> tuple[datetime, Ending]:
    simulation = simulate_grid(grid, market.bars, end_ms=to_ms(end))
    ends = [(simulation.trades.stopped_bar, Ending.STOP)] if simulation.is_stopped_out else []
    if when_over is WhenOver.PLACE_ANEW:
        ends += [(bar, Ending.SOLD_OUT) for bar in _sold_out(simulation)]
    if ends:
        bar, ending = min(ends, key=lambda end: end[0])  # the stop's own bar has sold everything too
        return simulation.bars["known_at"][bar], ending
    if market.last_close_ms < to_ms(end):
        return from_ms(market.last_close_ms), Ending.CANDLES
    return end, Ending.NEXT_DATE


def _sold_out(simulation: GridSimulation) -> list[int]:
    """The first bar at whose close no interval holds; none where there is none."""
    found: list[int] = np.flatnonzero(simulation.rung == len(simulation.ladder.quantity_base))[:1].tolist()
    return found


def rows_of_grids(placed: Sequence[PlacedGrid], market: StudyMarket) -> pl.DataFrame:
    """Grids of one market as ``STUDY_GRID_COLUMNS``, a row each."""
    rows = [_row(one, market) for one in placed]
    return pl.DataFrame(rows, schema=schema_of(STUDY_GRID_COLUMNS), orient="row")


def _row(placed: PlacedGrid, market: StudyMarket) -> dict[str, Any]:
    grid = placed.grid
    summary = simulate_grid(grid, market.bars, end_ms=to_ms(placed.ends_at)).summary
    return {
        "market": str(market.market),
        "grid": grid.id,
        "started_at": grid.started_at,
        "ends_at": placed.ends_at,
        "ending": placed.ending.value,
        "price_quote": placed.price_quote,
        "atr_4h_quote": None if np.isnan(placed.atr_4h_quote) else placed.atr_4h_quote,
        "lower_quote": grid.lower,
        "upper_quote": grid.upper,
        "stop_loss_quote": grid.stop_loss,
        "levels": grid.levels,
        "spacing": grid.spacing.value,
        "capital_quote": grid.capital,
        "fee": grid.fee,
        "grid_version": grid.version_hash,
        "buys": summary.buys,
        "sells": summary.sells,
        "pnl_quote": summary.total_pnl,
        "max_drawdown_quote": summary.max_drawdown,
    }


def grids_of_rows(rows: pl.DataFrame) -> list[PlacedGrid]:
    """Inverse of :func:`rows_of_grids`."""
    return [_placed_of(row) for row in rows.rows(named=True)]


def _placed_of(row: dict[str, Any]) -> PlacedGrid:
    market = Market.parse(row["market"])
    grid = Grid(
        id=row["grid"],
        exchange=market.exchange,
        symbol=market.symbol,
        enabled=True,
        lower=row["lower_quote"],
        upper=row["upper_quote"],
        levels=row["levels"],
        spacing=row["spacing"],
        stop_loss=row["stop_loss_quote"],
        capital=row["capital_quote"],
        fee=row["fee"],
        started_at=row["started_at"],
    )
    atr = row["atr_4h_quote"]
    return PlacedGrid(
        grid=grid,
        price_quote=row["price_quote"],
        atr_4h_quote=np.nan if atr is None else atr,
        ends_at=row["ends_at"],
        ending=Ending(row["ending"]),
    )
