"""What a backfill is to make, what that may cost, and what came of each month. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mm_pipeline.application.completeness import analysed, entries_due, exits_due, positions_due
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.pipeline import evaluations

_PER_MARKET = (Timeframe.M15, *((Timeframe.H1, Timeframe.H4) * 2))
"""Bars of a market that are stored: candles, then metrics and verdicts of each coarser timeframe."""

_PER_GRID = (analysed, positions_due, positions_due, exits_due, entries_due)
"""Rows of a grid that are stored: analysis, positions, risk, exit and entry states."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast rows are made and how much room they take.

    Attributes
    ----------
    rows_per_s
        Rows of all datasets a second, the fetching of candles included.
    bytes_per_row
        Of the files that hold them.
    source
        Where the two are known from, in words.
    """

    rows_per_s: float
    bytes_per_row: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is expected: rows of all datasets, seconds, and bytes of frames."""

    rows: int
    seconds: float
    bytes: int
    pace: Pace


@dataclass(frozen=True, kw_only=True)
class BackfillPlan:
    """What a backfill would do.

    Attributes
    ----------
    months
        Keys of the months to make (``2024-02``), ascending, each with why.
    current
        Keys of the months that stay: they are as a run would make them now.
    empty
        Keys of the months without a grid, of which nothing is to be made; each with the reason.
    estimate
        What the months to make may cost.
    """

    months: Mapping[str, tuple[str, ...]]
    current: tuple[str, ...]
    empty: Mapping[str, str]
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class MonthMade:
    """A month that was made.

    Attributes
    ----------
    rows
        Of all datasets.
    hours_compared
        Of its markets, with the exchange's own.
    hours_differing
        A line for each hour that differs, with both values.
    not_compared
        A line for each market of which no hour could be compared.
    """

    month: str
    seconds: float
    rows: int
    hours_compared: int
    hours_differing: tuple[str, ...]
    not_compared: tuple[str, ...]


def estimated(plans: Iterable[Plan], pace: Pace) -> Estimate:
    """What the months of some plans cost at a pace."""
    rows = sum(rows_expected(plan) for plan in plans)
    return Estimate(rows=rows, seconds=rows / pace.rows_per_s, bytes=round(rows * pace.bytes_per_row), pace=pace)


def rows_expected(plan: Plan) -> int:
    """Rows that a run over the plan stores, but for pages: of each market its bars, of each grid its evaluations."""
    asked_ms = evaluations(plan.first_ms, plan.last_ms)
    span_ms = max(0, plan.bars_until_ms - to_ms(plan.start))
    of_market = sum(span_ms // timeframe.ms for timeframe in _PER_MARKET)
    return len(plan.markets) * of_market + sum(_rows_of(grid, asked_ms) for grid in plan.grids)


def _rows_of(grid: WatchedGrid, asked_ms: Times) -> int:
    return sum(len(due(grid, asked_ms)) for due in _PER_GRID)
