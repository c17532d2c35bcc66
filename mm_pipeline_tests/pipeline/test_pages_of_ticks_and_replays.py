"""Pages that live ticks decide, journal and all, are those that a replay of the same days and answers gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from mm_pipeline.adapters.journal import Evaluation, Journal, ResponseRecord, sqlite_url
from mm_pipeline.application.delivery import ChannelOrder
from mm_pipeline.application.notify import decide_and_page
from mm_pipeline.domain.candles import RAW_SCHEMA, fill_gaps
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Decision, Notice, Response, ResponseKind
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime
from mm_pipeline.paper.markets.simulation import simulate_market
from mm_pipeline.reporting.notification_frame import GridStates, replayed_notifications
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.effort import IS_SEARCH, SEARCHED
from mm_pipeline_tests.markets import grid_around

WRITTEN_BY = {"settings_hash": "s", "code_version": "c"}
WARM_UP = timedelta(days=60)
DAYS = 25 if IS_SEARCH else 5


@dataclass
class TickingWatch:
    """What ``tell`` asks of a watch, over a real journal and a clock that the test sets."""

    journal: Journal
    settings: Settings
    clock_at: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    written_by: Mapping[str, str] = field(default_factory=lambda: WRITTEN_BY)

    def now(self) -> datetime:
        return self.clock_at

    def decisions(self) -> Journal:
        return self.journal

    def delivery(self) -> Any:
        nobody = SimpleNamespace(follow=lambda: None)
        return SimpleNamespace(ladder=ChannelOrder({}, frozenset()), answers=nobody)

    def bars(self, plan: object) -> Any:
        raise KeyError("this watch keeps no bars, so its pages go without charts")


def judged_states(candles: pl.DataFrame, grid: Grid, settings: Settings, *, first: datetime, last: datetime) -> Any:
    view = market_view(fill_gaps(candles, quarantined_ms=None), np.empty(0, dtype=np.int64), settings.market)
    versions = [GridVersion(grid, grid.started_at)]
    return evaluate(versions, view, settings.advice, first_ms=to_ms(first) + 1, last_ms=to_ms(last)).exit_states


def scripted(first: datetime, days: int) -> list[Response]:
    """An operator who answers every 31 h at a crooked moment, closes every tenth day, and trades again 9 h later."""
    answers = [
        Response(grid="eth", at=first + timedelta(hours=31 * n, minutes=7 * n % 60), kind=ResponseKind.ACKNOWLEDGED)
        for n in range(1, days * 24 // 31)
    ]
    flats = [
        Response(grid="eth", at=first + timedelta(days=n, minutes=23), kind=ResponseKind.FLAT)
        for n in range(10, days, 10)
    ]
    reopens = [replace(flat, at=flat.at + timedelta(hours=9), kind=ResponseKind.REOPENED) for flat in flats]
    return sorted([*answers, *flats, *reopens], key=lambda response: response.at)


def ticked(rows: pl.DataFrame, grid: Grid, responses: list[Response], watch: TickingWatch) -> list[Decision]:
    """Judge, journal and decide a minute after each close, as the job does; answers are journalled when they come."""
    journal, waiting = watch.journal, list(responses)
    journal.observe_grids([grid], grid.started_at)
    version = grid.version_hash
    states = rows.with_columns(input_hash=pl.col("evaluated_at").dt.to_string("%Y%m%d%H%M"))
    decided = []
    for number, row in enumerate(
        states.select("grid", "evaluated_at", "state", "price", "input_hash").rows(named=True)
    ):
        at = row["evaluated_at"]
        watch.clock_at = at + watch.settings.notify.decided_after
        while waiting and waiting[0].at <= watch.clock_at:
            response = _as_by_command(waiting.pop(0), journal)
            answer = ResponseRecord(
                response=response, source="mm ack", by_whom="", recorded_at=response.at, **WRITTEN_BY
            )
            journal.responses.record([answer])
        evaluation = Evaluation(
            kind=EvaluationKind.EXIT,
            fired=(),
            triggers={},
            reasons=(),
            grid_version=version,
            is_live=True,
            recorded_at=watch.now(),
            **row,
            **WRITTEN_BY,
        )
        journal.record_evaluations([evaluation])
        seen = states.slice(max(0, number - 4), min(number, 4) + 1)
        known = {("eth", EvaluationKind.EXIT): GridStates(rows=seen, grids={version: grid}, kind="exit")}
        decided += [one.decision for one in decide_and_page(watch, SimpleNamespace(grids=()), known).decided]  # type: ignore[arg-type]
    return decided


def _as_by_command(response: Response, journal: Journal) -> Response:
    """``mm ack`` answers the newest page by its name; a script, which knows no names, means the same."""
    told = journal.notifications.newest_told(response.grid)
    if response.kind is not ResponseKind.ACKNOWLEDGED or told is None:
        return response
    return replace(response, page=told.decision.page)


def compare(rows: pl.DataFrame, grid: Grid, days: int, settings: Settings, folder: Path) -> list[Decision]:
    responses = scripted(rows["evaluated_at"][0], days)
    with Journal(sqlite_url(folder / "journal.db")) as journal:
        live = ticked(rows, grid, responses, TickingWatch(journal, settings))
        kept = [one.decision for one in journal.notifications.decisions("eth")]
    states = GridStates(rows=rows, grids={grid.version_hash: grid}, kind="exit")
    replayed = replayed_notifications([states], responses, settings.notify)
    columns = ["evaluated_at", "notice", "state", "cause", "episode_at", "number", "triggers", "page", "held_back"]
    told = [
        tuple(value.value if hasattr(value, "value") else value for value in (getattr(one, name) for name in columns))
        for one in live
    ]
    expected = [tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in replayed.select(columns).rows()]
    assert told == expected
    assert kept == live
    return live


@pytest.mark.slow
def test_ticks_over_real_days_page_what_their_replay_pages(recorded_data: Path, tmp_path: Path) -> None:
    settings = load_settings(policy="seed")
    first = datetime(2024, 7, 1, tzinfo=UTC)
    last = first + timedelta(days=DAYS)
    file = recorded_data / "binance_ETH-USDT_15m_2022-01-01_2025-09-30.parquet"
    candles = pl.read_parquet(file, columns=list(RAW_SCHEMA)).filter(
        pl.col("open_time").is_between(first - WARM_UP, last, closed="left")
    )
    price = float(candles.filter(pl.col("open_time") == first)["open"][0])
    grid = grid_around(price, first, id="eth", lower=price * 0.93, upper=price * 1.05, stop_loss=price * 0.75)
    rows = judged_states(candles, grid, settings, first=first, last=last)
    assert rows.height == DAYS * 96
    live = compare(rows, grid, DAYS, settings, tmp_path)
    assert {one.notice for one in live} >= {Notice.MANDATORY_EXIT, Notice.WARNING}


@pytest.mark.parametrize("policy", [pytest.param("seed", marks=SEARCHED), "calibrated"])
def test_ticks_over_simulated_days_page_what_their_replay_pages(tmp_path: Path, policy: str) -> None:
    settings = load_settings(policy=policy)
    first = datetime(2025, 3, 1, tzinfo=UTC)
    parameters = RegimeParameters(half_life_h=4.0, volatility_pct_per_h=0.4)
    trend = RegimeParameters(volatility_pct_per_h=0.4, drift_pct_per_h=-0.5)
    scenario = [
        Segment(regime=TrueRegime.RANGE, hours=63 * 24.0, parameters=parameters),
        Segment(regime=TrueRegime.TREND, hours=18.0, parameters=trend),
        Segment(regime=TrueRegime.RANGE, hours=54.0, parameters=parameters),
    ]
    start = first - WARM_UP
    bars = simulate_market(seed=11, start=start, bars=66 * 96, scenario=scenario, start_price=3000.0)
    candles = bars.select(list(RAW_SCHEMA))
    price = float(candles.filter(pl.col("open_time") == first)["open"][0])
    grid = grid_around(price, first, id="eth", lower=price * 0.96, upper=price * 1.04, stop_loss=price * 0.9)
    rows = judged_states(candles, grid, settings, first=first, last=first + timedelta(days=6))
    live = compare(rows, grid, 6, settings, tmp_path)
    assert Notice.MANDATORY_EXIT in {one.notice for one in live}
