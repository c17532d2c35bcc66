"""What came after each signal of a study grid: leaving, leaving at the deadline, holding, the stop, and the pages.

What stands at the beginning of an episode is known at that evaluation; all else is hindsight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Floats, Integers, Times
from mm_pipeline.domain.columns import (
    constant_column,
    epoch_ms,
    flag_column,
    float_column,
    floats_of,
    name_column,
    times_of,
)
from mm_pipeline.domain.exit_state import STATES, TRIGGERS
from mm_pipeline.domain.grid import GridVersion
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import Decision
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import RiskHistory, RiskPolicy, risk_rows
from mm_pipeline.domain.study.columns import FORECASTS, OUTCOME_COLUMNS, OUTCOME_HORIZONS, schema_of
from mm_pipeline.domain.study.episodes import Episodes, episodes_in
from mm_pipeline.domain.study.placement import LEFT_IN_CASH, Ending, PlacedGrid, StudyMarket

_STEP: Final = Timeframe.M15.ms
_HOUR_MS: Final = Timeframe.H1.ms
_DAY_MS: Final = OUTCOME_HORIZONS["24h"] * _STEP
_CHANGE: Final = "change"
_SAID: Final = ("position_health", "stop_loss_risk", "distance_to_stop_atr", "verdict", "confidence")


@dataclass(frozen=True, eq=False)
class StudiedGrid:
    """A placed grid, its exit states to its end, and what its operator would have been sent."""

    placed: PlacedGrid
    states: pl.DataFrame
    decisions: Sequence[Decision]


def signal_outcomes(
    studied: StudiedGrid,
    market: StudyMarket,
    history: RiskHistory,
    risk: RiskPolicy,
    answer_within: Mapping[str, timedelta],
    *,
    month: str,
) -> pl.DataFrame:
    """The outcome of each episode of a study grid.

    Parameters
    ----------
    studied
        The grid with its states and decisions.
    market
        Bars of its market, to its end or farther.
    history, risk
        The market's past, from which forecasts are drawn, and their thresholds.
    answer_within
        By state, how long after the evaluation a page of it asks for an answer; states that ask for none are left out.
    month
        Partition of the grid.

    Returns
    -------
    ``OUTCOME_COLUMNS``, a row an episode, in order.
    """
    states, grid = studied.states, studied.placed.grid
    found = episodes_in(states)
    if not len(found):
        return pl.DataFrame(schema=schema_of(OUTCOME_COLUMNS))
    spans = _Spans.of(found, states)
    worth = _Worth.of(studied.placed, market)
    said = risk_rows([GridVersion(grid, grid.started_at)], history, spans.began_ms, risk)
    columns = [
        *_names(studied, found, month),
        *_course(studied, found, spans),
        *_beginnings(states[found.first], worth, spans),
        *(said[name] for name in ("inventory_base", *FORECASTS, "risk_unknown")),
        *_deadlines(states[found.first], worth, spans, answer_within),
        *_results(worth, spans, floats_of(said["worst_case_quote"])),
        *_pages(studied.decisions, spans),
    ]
    return pl.DataFrame(columns).select(list(OUTCOME_COLUMNS))


@dataclass(frozen=True, eq=False)
class _Spans:
    """When each episode begins and ends (epoch ms), and its newest evaluation."""

    began_ms: Times
    ended_ms: Times
    last_ms: Times

    @classmethod
    def of(cls, found: Episodes, states: pl.DataFrame) -> _Spans:
        evaluated_ms = epoch_ms(states["evaluated_at"])
        following = np.append(evaluated_ms[found.first[1:]], evaluated_ms[-1])
        return cls(evaluated_ms[found.first], following, evaluated_ms[found.end - 1])


@dataclass(frozen=True, eq=False)
class _Worth:
    """What a grid was worth at its placement, and at each close from then to its end: a row each.

    Attributes
    ----------
    known_ms
        When each was known (epoch ms).
    close_quote, low_quote
        Of the bars; at the placement its price.
    equity_quote
        With the inventory at the close.
    left_pnl_quote
        PnL of leaving at the close: the inventory sold there, after its fee.
    """

    placed: PlacedGrid
    known_ms: Times
    close_quote: Floats
    low_quote: Floats
    equity_quote: Floats
    left_pnl_quote: Floats

    @classmethod
    def of(cls, placed: PlacedGrid, market: StudyMarket) -> _Worth:
        grid = placed.grid
        simulation = simulate_grid(grid, market.bars, end_ms=to_ms(placed.ends_at))
        equity, price = simulation.equity, placed.price_quote
        fee = grid.fee * equity["inventory_base"].to_numpy() * equity["close"].to_numpy()
        left = equity["equity_quote"].to_numpy() - fee - grid.capital
        return cls(
            placed,
            np.append(grid.started_at_ms, epoch_ms(simulation.bars["known_at"])),
            np.append(price, equity["close"].to_numpy()),
            np.append(price, simulation.bars["low"].to_numpy()),
            np.append(grid.capital, equity["equity_quote"].to_numpy()),
            np.append(0.0, left),
        )

    @cached_property
    def ends_ms(self) -> int:
        """The grid's last evaluation (epoch ms)."""
        return to_ms(self.placed.ends_at)

    def row_at(self, at_ms: Times) -> Integers:
        """The newest row known at each time (epoch ms), none before the placement."""
        return np.searchsorted(self.known_ms, at_ms, side="right") - 1

    def left_at(self, at_ms: Times) -> Floats:
        """PnL of leaving at each time (epoch ms); NaN in a hole, and after the end of a grid that held to it."""
        row = self.row_at(at_ms)
        is_fresh = at_ms - self.known_ms[row] < _STEP
        is_over = (at_ms >= self.ends_ms) & (self.placed.ending in LEFT_IN_CASH)
        return np.where((is_fresh & (at_ms <= self.ends_ms)) | is_over, self.left_pnl_quote[row], np.nan)

    def is_whole(self, first_ms: int, last_ms: int) -> bool:
        """Whether every close of a stretch, to the grid's end at the latest, is there."""
        first, last = self.row_at(np.array([first_ms, last_ms])).tolist()
        wanted = (min(last_ms, self.ends_ms) - first_ms) // _STEP
        return bool(self.known_ms[first] == first_ms and last - first == wanted)

    def outside(self, price: Floats) -> Floats:
        """1 where a price is outside the bounds, 0 inside, NaN where there is none."""
        grid = self.placed.grid
        return np.where(np.isnan(price), np.nan, (price < grid.lower) | (price > grid.upper))


def _names(studied: StudiedGrid, found: Episodes, month: str) -> list[pl.Series]:
    grid, states = studied.placed.grid, studied.states
    constants = {
        "market": str(grid.market),
        "policy": states["policy"][0],
        "month": month,
        "grid": grid.id,
        "grid_version": grid.version_hash,
    }
    rows = len(found)
    return [
        *(constant_column(name, value, rows, pl.String) for name, value in constants.items()),
        constant_column("capital_quote", grid.capital, rows, pl.Float64),
        pl.Series("episode", np.arange(1, rows + 1)),
    ]


def _course(studied: StudiedGrid, found: Episodes, spans: _Spans) -> list[pl.Series]:
    states = studied.states["state"]
    rows = len(found)
    last = np.where(np.arange(rows) == rows - 1, 1, 0)
    return [
        states[found.first].alias("state"),
        states[found.first].shift(1).alias("state_before"),
        times_of(spans.began_ms, "began_at"),
        times_of(spans.ended_ms, "ended_at"),
        name_column("ended_by", last, (_CHANGE, studied.placed.ending.value)),
        pl.Series("evaluations", found.end - found.first),
        float_column("duration_h", (spans.ended_ms - spans.began_ms) / _HOUR_MS),
    ]


def _beginnings(begun: pl.DataFrame, worth: _Worth, spans: _Spans) -> list[pl.Series]:
    price = floats_of(begun["price"])
    outside = worth.outside(price)
    fired = begun.select(pl.col(name).struct.field("fired").fill_null(False).alias(name) for name in TRIGGERS)
    triggers = [[name for name, is_fired in row.items() if is_fired] for row in fired.rows(named=True)]
    back_h = [
        _back_in_range_h(worth, began_ms) if is_outside == 1.0 else np.nan
        for began_ms, is_outside in zip(spans.began_ms.tolist(), outside.tolist(), strict=True)
    ]
    return [
        pl.Series("triggers", triggers, dtype=pl.List(pl.String)),
        float_column("price_quote", price),
        *(begun[name] for name in _SAID),
        flag_column("is_outside", outside == 1.0, ~np.isnan(outside)),
        float_column("back_in_range_after_h", np.array(back_h)),
    ]


def _back_in_range_h(worth: _Worth, began_ms: int) -> float:
    """Hours to the first later close inside the bounds; NaN where none is before the grid's end."""
    after = int(worth.row_at(np.array([began_ms]))[0]) + 1
    inside = np.flatnonzero(worth.outside(worth.close_quote[after:]) == 0.0)
    return float((worth.known_ms[after + inside[0]] - began_ms) / _HOUR_MS) if len(inside) else np.nan


def _deadlines(
    begun: pl.DataFrame, worth: _Worth, spans: _Spans, answer_within: Mapping[str, timedelta]
) -> list[pl.Series]:
    within = {state: int(answer_within[state].total_seconds() * 1000) for state in STATES if state in answer_within}
    wait_ms = np.array([within.get(state, -1) for state in begun["state"]], dtype=np.int64)
    deadline_ms = spans.began_ms + wait_ms
    return [
        times_of(deadline_ms, "deadline_at", is_there=wait_ms >= 0),
        float_column("deadline_pnl_quote", np.where(wait_ms >= 0, worth.left_at(deadline_ms), np.nan)),
    ]


def _results(worth: _Worth, spans: _Spans, worst_case_quote: Floats) -> list[pl.Series]:
    began_ms = spans.began_ms
    row = worth.row_at(began_ms)
    pnl = worth.equity_quote[row] - worth.placed.grid.capital
    fallen_quote, fallen_pct = _excursions(worth, began_ms)
    stop_h = np.where(worth.placed.ending is Ending.STOP, (worth.ends_ms - began_ms) / _HOUR_MS, np.nan)
    return [
        float_column("leave_pnl_quote", worth.left_at(began_ms)),
        *(
            float_column(f"hold_pnl_{name}_quote", worth.left_at(began_ms + bars * _STEP))
            for name, bars in OUTCOME_HORIZONS.items()
        ),
        float_column("hold_pnl_end_quote", worth.left_at(spans.ended_ms)),
        float_column("grid_end_pnl_quote", worth.left_at(np.full_like(began_ms, worth.ends_ms))),
        float_column("stop_pnl_quote", pnl - worst_case_quote),
        float_column("worst_excursion_24h_quote", fallen_quote),
        float_column("worst_excursion_24h_pct", fallen_pct),
        float_column("stop_after_h", stop_h),
    ]


def _excursions(worth: _Worth, began_ms: Times) -> tuple[Floats, Floats]:
    """Largest fall of equity (quote) and of price to a low (% of the close), within 24 h or to the grid's end.

    NaN where a close of these is missing.
    """
    first, last = worth.row_at(began_ms), worth.row_at(began_ms + _DAY_MS)
    quote, pct = np.full(len(first), np.nan), np.full(len(first), np.nan)
    for place, (begun, until) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        if not worth.is_whole(int(began_ms[place]), int(began_ms[place]) + _DAY_MS):
            continue
        equity, price = worth.equity_quote[begun], worth.close_quote[begun]
        quote[place] = equity - worth.equity_quote[begun : until + 1].min()
        pct[place] = 100 * (1 - worth.low_quote[begun + 1 : until + 1].min(initial=price) / price)
    return quote, pct


def _pages(decisions: Sequence[Decision], spans: _Spans) -> list[pl.Series]:
    by_episode: list[list[Decision]] = [[] for _ in spans.began_ms]
    for decision in decisions:
        at_ms = to_ms(decision.evaluated_at)
        by_episode[int(np.searchsorted(spans.began_ms, at_ms, side="right")) - 1].append(decision)
    sent = [[one for one in made if one.is_told] for made in by_episode]
    first = [made[0] if made else None for made in sent]
    first_ms = np.array([-1 if one is None else to_ms(one.evaluated_at) for one in first], dtype=np.int64)
    held = [None if pages or not made else made[0].held_back for pages, made in zip(sent, by_episode, strict=True)]
    return [
        pl.Series("pages", [len(pages) for pages in sent], dtype=pl.Int64),
        times_of(first_ms, "first_page_at", is_there=first_ms >= 0),
        pl.Series("first_page_notice", [None if one is None else one.notice.value for one in first], dtype=pl.String),
        float_column("first_page_after_h", np.where(first_ms >= 0, (first_ms - spans.began_ms) / _HOUR_MS, np.nan)),
        pl.Series("held_back", [None if one is None else one.value for one in held], dtype=pl.String),
    ]
