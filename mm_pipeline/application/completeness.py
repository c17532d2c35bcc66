"""Whether each month of a run has the rows that it should have: per market its bars, per grid its evaluations. Pure.

A tick adds rows to a month that goes on, so a run about whole months alone is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.adapters.candles.candle_store import MarketBars
from mm_pipeline.application.plan import Plan, WatchedGrid
from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.candles import epoch_ms
from mm_pipeline.domain.errors import ContractError
from mm_pipeline.domain.grid_history import evaluations_by_version
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.months import month_start, next_month
from mm_pipeline.domain.pipeline import Frames, evaluations

HINT: Final = "mm backfill over the month makes it anew; if it stays short, see what this run says of candles."

Due = Callable[[WatchedGrid, Times], Times]
"""Which of some evaluations (epoch ms) a grid has a row at."""


def short_markets(
    plan: Plan, made: Mapping[Market, Frames], bars: Mapping[Market, MarketBars]
) -> dict[Market, ContractError]:
    """Markets of which a month lacks bars of 1h or 4h; refused candles that nothing covers leave a bar out."""
    found = {}
    for market, frames in made.items():
        if plan.is_live or market not in bars:
            continue
        for timeframe, frame in frames.items():
            due_ms, found_ms = _bars_due(plan, bars[market], timeframe), epoch_ms(frame["open_time"])
            if len(np.setdiff1d(due_ms[:-1], found_ms)):  # the newest may be known later: nothing is filled after it
                found[market] = _short(plan, due_ms, found_ms, f"bars of {timeframe}", shift_ms=0)
                break
    return found


def short_grids(plan: Plan, made: Mapping[str, pl.DataFrame], due: Due) -> dict[str, ContractError]:
    """Grids of which a month lacks evaluations."""
    if plan.is_live:
        return {}
    grids = {grid.grid_id: grid for grid in plan.grids if grid.versions}
    asked = evaluations(plan.first_ms, plan.last_ms)
    found = {}
    for grid, frame in made.items():
        if grid in grids:
            due_ms, found_ms = due(grids[grid], asked), epoch_ms(frame["evaluated_at"])
            if len(np.setdiff1d(due_ms, found_ms)):
                found[grid] = _short(plan, due_ms, found_ms, "evaluations", shift_ms=Timeframe.M15.ms)
    return found


def analysed(grid: WatchedGrid, asked_ms: Times) -> Times:
    """Evaluations of a grid, whether it is enabled or not."""
    return _joined([due for _, due in evaluations_by_version(grid.versions, asked_ms)])


def exits_due(grid: WatchedGrid, asked_ms: Times) -> Times:
    """Evaluations at which a grid is enabled."""
    return _joined([due for one, due in evaluations_by_version(grid.versions, asked_ms) if one.grid.enabled])


def entries_due(grid: WatchedGrid, asked_ms: Times) -> Times:
    """Evaluations at which a grid is disabled."""
    return _joined([due for one, due in evaluations_by_version(grid.versions, asked_ms) if not one.grid.enabled])


def positions_due(grid: WatchedGrid, asked_ms: Times) -> Times:
    """Evaluations at which an enabled grid has started."""
    by_version = evaluations_by_version(grid.versions, asked_ms)
    return _joined([due[due >= one.grid.started_at_ms] for one, due in by_version if one.grid.enabled])


def _bars_due(plan: Plan, bars: MarketBars, timeframe: Timeframe) -> Times:
    """Open times of the bars that a market should have, from its first candle on where it is younger than the month."""
    first_ms, step = to_ms(plan.start), timeframe.ms
    is_known_before = bars.asked_from_ms is not None and bars.asked_from_ms <= first_ms
    if is_known_before and bars.bars.height:
        first_ms = max(first_ms, int(epoch_ms(bars.bars["open_time"])[0]))
    end_ms = plan.bars_until_ms // step * step
    due_ms: Times = np.arange(-(-first_ms // step) * step, end_ms, step, dtype=np.int64)
    kept: Times = due_ms[~np.isin(due_ms, bars.quarantined_ms // step * step)]
    return kept


def _short(plan: Plan, due_ms: Times, found_ms: Times, unit: str, *, shift_ms: int) -> ContractError:
    """What the first month lacks that is short; ``shift_ms`` leads from a bar's open time to its row's."""
    missing_ms = np.setdiff1d(due_ms, found_ms)
    first_at = from_ms(int(missing_ms[0]))
    month = month_start(from_ms(int(missing_ms[0]) - shift_ms))
    first_ms, end_ms = (to_ms(at) + shift_ms for at in (month, next_month(month)))
    due, missing = (int(((times >= first_ms) & (times < end_ms)).sum()) for times in (due_ms, missing_ms))
    return ContractError(
        f"{month:%Y-%m} has {due - missing} of {due} {unit}, none at {first_at:%Y-%m-%d %H:%M} UTC.", HINT
    )


def _joined(parts: list[Times]) -> Times:
    whole: Times = np.concatenate([np.empty(0, dtype=np.int64), *parts])
    return whole
