"""Modelled position and risk of a grid at each evaluation, as one frame: live tick, backfill and replay call this."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.columns import TIME, constant_column, flag_column, float_column, name_column, picked, times_of
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.grid_history import RangeHistory
from mm_pipeline.domain.position.simulation import GridSimulation, simulate_grid
from mm_pipeline.domain.risk.estimate import (
    GIVEBACK_PROBABILITIES,
    STOP_HORIZONS,
    GridPositions,
    RiskFigures,
    position_risk,
)
from mm_pipeline.domain.risk.history import HORIZONS, PastWindows, RiskHistory
from mm_pipeline.domain.risk.level import capital_utilization
from mm_pipeline.domain.risk.policy import RiskPolicy

SOURCES: Final = ("exchange", "import", "modelled")
"""Where a position is known from, the first that there is (SPEC 7)."""

POSITION: Final = (
    "inventory_base",
    "cash_quote",
    "equity_quote",
    "grid_profit_quote",
    "unrealised_quote",
    "unmatched_fees_quote",
    "residual_quote",
    "total_pnl_quote",
)
"""What a grid holds and has earned, as columns of positions and of equity alike."""
_AT_RISK: Final = tuple(f"capital_at_risk_{horizon}_quote" for horizon in HORIZONS)
_GIVEBACK: Final = tuple(f"giveback_{name}_{horizon}_quote" for name in GIVEBACK_PROBABILITIES for horizon in HORIZONS)
_STOP: Final = tuple(f"p_stop_{horizon}" for horizon in STOP_HORIZONS)
RISK_SCHEMA: Final[dict[str, pl.DataType]] = {
    "grid": pl.String(),
    "evaluated_at": TIME,
    "grid_version": pl.String(),
    "source": pl.String(),
    "price": pl.Float64(),
    **dict.fromkeys(POSITION, pl.Float64()),
    "is_stopped_out": pl.Boolean(),
    "capital_utilization": pl.Float64(),
    "worst_case_quote": pl.Float64(),
    **dict.fromkeys((*_AT_RISK, *_GIVEBACK, *_STOP), pl.Float64()),
    "risk_unknown": pl.String(),
}
"""One row an evaluation. Losses are positive; ``risk_unknown`` says why figures are null, and is null where none is.
``is_stopped_out``: the model touched its stop and sold everything; null before the grid's first bar has closed.
"""

_REASONS: Final = (
    "candles do not reach back to the grid's started_at",
    "no bar has closed since the grid started",
    "a candle is missing in the 24 h before the newest bar",
    "the price did not move in the last 30 days",
    "too few days of candles",
)


def risk_rows(
    versions: Sequence[GridVersion], history: RiskHistory, evaluated_ms: Times, policy: RiskPolicy
) -> pl.DataFrame:
    """Position and risk of a grid at each evaluation, as if it had traded its bars since it started.

    A row is a function of the version in force, the bars known at the evaluation since its ``started_at``, and those of
    ``policy.lookback_ms`` before the newest known close; nothing else, so one evaluation and many give the same bits.
    The newest known close is the price, however old it is: what a stale market is worth is for the exit state to say.

    Parameters
    ----------
    versions
        All versions of one grid. Where the one in force is disabled, or not yet started, there is no row.
    history
        Bars of its market.
    evaluated_ms
        Evaluations (epoch ms), ascending.
    policy
        Thresholds.

    Returns
    -------
    ``RISK_SCHEMA``.
    """
    ordered = sorted(versions, key=lambda version: version.valid_from)
    ends = [*(_ms(version.valid_from) for version in ordered[1:]), np.iinfo(np.int64).max][: len(ordered)]
    parts = [pl.DataFrame(schema=RISK_SCHEMA)]
    for version, end in zip(ordered, ends, strict=True):
        start = max(_ms(version.valid_from), version.grid.started_at_ms)
        inside = evaluated_ms[(evaluated_ms >= start) & (evaluated_ms < end)]
        if version.grid.enabled and len(inside):
            edits = RangeHistory.of(ordered, version.grid)
            parts.append(_rows(version.grid, edits, history, inside, policy))
    return pl.concat(parts)


def risk_of_grids(
    grids: Iterable[tuple[Sequence[GridVersion], RiskHistory]], evaluated_ms: Times, policy: RiskPolicy
) -> pl.DataFrame:
    """:func:`risk_rows` of many grids, each with the bars of its market; those of one market share them."""
    rows = [risk_rows(versions, history, evaluated_ms, policy) for versions, history in grids]
    return pl.concat([pl.DataFrame(schema=RISK_SCHEMA), *rows])


def _rows(
    grid: Grid, edits: RangeHistory, history: RiskHistory, evaluated_ms: Times, policy: RiskPolicy
) -> pl.DataFrame:
    known = history.known_at(evaluated_ms, policy)
    simulation = simulate_grid(grid, history.bars.frame, history=edits)
    index = known.row - int(np.searchsorted(history.bars.opened_ms, grid.started_at_ms, side="left"))
    has_history = history.bars.reaches_back_to(grid.started_at_ms)
    index = np.where(has_history, np.maximum(index, -1), -1)
    positions = _positions(simulation, index)
    figures = position_risk(positions, history, known, policy)
    is_begun = index >= 0
    locked = np.where(positions.is_over, 0, positions.rung) * grid.interval_capital_quote
    utilization = capital_utilization(
        inventory_quote=positions.inventory_base * known.price, locked_quote=locked, capital_quote=grid.capital
    )
    rows = len(evaluated_ms)
    return pl.DataFrame(
        [
            constant_column("grid", grid.id, rows, pl.String),
            times_of(evaluated_ms, "evaluated_at"),
            constant_column("grid_version", grid.version_hash, rows, pl.String),
            constant_column("source", SOURCES[-1], rows, pl.String),
            float_column("price", known.price),
            *(picked(simulation.equity[name], index) for name in POSITION),
            flag_column("is_stopped_out", positions.is_over, is_begun),
            float_column("capital_utilization", np.where(is_begun, utilization, np.nan)),
            *_figure_columns(figures, is_begun),
            name_column("risk_unknown", _reason(figures, known, index, has_history), _REASONS),
        ]
    )


def _positions(simulation: GridSimulation, index: Times) -> GridPositions:
    """State of the simulated grid at rows of its equity; that of a grid in cash at -1."""
    rung = np.append(simulation.rung, len(simulation.ladder.quantity_base))[index]
    stopped = simulation.trades.stopped_bar
    return GridPositions(
        ladder=simulation.ladder,
        rung=rung,
        inventory_base=simulation.ladder.held_base[rung],
        is_over=(index >= stopped) & (stopped >= 0),
    )


def _figure_columns(figures: RiskFigures, is_begun: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[pl.Series]:
    def column(name: str, values: Floats) -> pl.Series:
        return float_column(name, np.where(is_begun, values, np.nan))

    giveback = figures.giveback.transpose(2, 1, 0).reshape(len(_GIVEBACK), -1)
    return [
        column("worst_case_quote", figures.worst_case),
        *(column(name, figures.capital_at_risk[:, k]) for k, name in enumerate(_AT_RISK)),
        *(column(name, giveback[k]) for k, name in enumerate(_GIVEBACK)),
        *(column(name, figures.stop_probability[:, k]) for k, name in enumerate(_STOP)),
    ]


def _reason(figures: RiskFigures, known: PastWindows, index: Times, has_history: bool) -> Times:
    """Which of ``_REASONS``; -1 where figures are there."""
    return np.select(
        [
            np.full(len(index), not has_history),
            index < 0,
            ~np.isnan(figures.capital_at_risk[:, 0]),
            np.isnan(known.volatility),
            known.volatility == 0.0,
        ],
        [0, 1, -1, 2, 3],
        4,
    )


def _ms(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
