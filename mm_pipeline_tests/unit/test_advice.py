"""One function decides: an enabled grid gets exit states only, a disabled one entry states only, at every moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.candles import epoch_ms, fill_gaps
from mm_pipeline.domain.exit_state import TRIGGERS
from mm_pipeline.domain.exit_state.states import STATES, decide_state
from mm_pipeline.domain.exit_state.triggers import LATEST, MANDATORY, SEEN_IN_BARS, WARNING
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.market_view import MarketView, Timeline
from mm_pipeline.domain.pipeline import evaluate, market_view
from mm_pipeline_tests.markets import grid_around, settings_of, simulated_candles, view_of_candles

SEED = settings_of("seed")
STARTED_AT: datetime = simulated_candles(seed=4)["open_time"][0] + timedelta(days=60)
VIEW: list[MarketView] = []


def view() -> MarketView:
    if not VIEW:
        VIEW.append(view_of_candles(simulated_candles(seed=4), SEED))
    return VIEW[0]


@settings(deadline=None, max_examples=15)
@given(flips=st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=5))
def test_grid_switched_on_and_off_gets_each_evaluation_exactly_one_kind(flips: list[tuple[int, bool]]) -> None:
    price = 2000.0
    valid_from, versions, enabled_at = STARTED_AT, [], []
    for bars, is_enabled in flips:
        versions.append(GridVersion(grid_around(price, STARTED_AT, enabled=is_enabled), valid_from))
        enabled_at.append((valid_from, is_enabled))
        valid_from += timedelta(minutes=15) * bars
    first_ms, last_ms = (round(t.timestamp() * 1000) for t in (STARTED_AT, valid_from - timedelta(minutes=15)))
    advice = evaluate(versions, view(), SEED.advice, first_ms=first_ms, last_ms=last_ms)
    exits, entries = (set(frame["evaluated_at"]) for frame in (advice.exit_states, advice.entry_states))
    assert exits.isdisjoint(entries)
    times = [STARTED_AT + timedelta(minutes=15) * n for n in range(sum(bars for bars, _ in flips))]
    assert exits | entries == set(times)
    for time in times:
        is_enabled = next(flag for since, flag in reversed(enabled_at) if since <= time)
        assert time in (exits if is_enabled else entries)
    assert set(advice.entry_states["state"]) <= {"ENTER", "WAIT", "AVOID", "UNKNOWN"}
    assert set(advice.exit_states["state"]) <= set(STATES)


FIRED = st.dictionaries(st.sampled_from(TRIGGERS), st.booleans())


def plain_state(
    fired: set[str], *, is_good: bool, is_fresh: bool, has_metrics: bool = True, has_hole: bool = False
) -> str:
    """SPEC 6's table, read aloud."""
    believed = set(SEEN_IN_BARS) if has_metrics else {"stop_loss_breached"}
    if not is_good and not (is_fresh and fired & believed):
        return "UNKNOWN"
    if fired & set(MANDATORY):
        return "MANDATORY_EXIT"
    if len(fired & set(LATEST)) >= SEED.exit_state.latest.min_triggers:
        return "LATEST_ACCEPTABLE_EXIT"
    if has_hole or len(fired & set(WARNING)) >= SEED.exit_state.warning.min_triggers:
        return "WARNING"
    return "NORMAL"


@settings(max_examples=300)
@given(fired=FIRED, flags=st.tuples(*[st.booleans()] * 4))
def test_state_follows_the_table_for_every_combination(fired: dict[str, bool], flags: tuple[bool, ...]) -> None:
    arrays = {name: np.array([fired.get(name, False)]) for name in TRIGGERS}
    names = ("is_good", "is_fresh", "has_metrics", "has_hole")
    said = dict(zip(names, flags, strict=True))
    code = decide_state(arrays, **{name: np.array([flag]) for name, flag in said.items()}, policy=SEED.exit_state)
    on = {name for name in TRIGGERS if fired.get(name)}
    assert STATES[code[0]] == plain_state(on, **said)


def test_counterfactual_names_the_state_without_each_fired_trigger() -> None:
    end_ms = int(view().bars.frame["close_time"].dt.epoch("ms")[-1])
    start_ms = round(STARTED_AT.timestamp() * 1000)
    grid = grid_around(2000.0, STARTED_AT)
    rows = evaluate([GridVersion(grid, STARTED_AT)], view(), SEED.advice, first_ms=start_ms, last_ms=end_ms)
    known = rows.exit_states.filter(pl.col("state") != "UNKNOWN")
    assert known["state"].n_unique() >= 3
    for row in known.sample(200, seed=1).to_dicts():
        fired = {name for name in TRIGGERS if row[name]["fired"]}
        assert {entry["trigger"] for entry in row["counterfactual"]} == fired
        for entry in row["counterfactual"]:
            assert entry["state"] == plain_state(fired - {entry["trigger"]}, is_good=True, is_fresh=True)
        assert {reason for reason in row["reasons"] if reason in TRIGGERS} == fired
        is_off = row["half_life_doubled"]["value"] is None and row["reversion_slowing"]["value"] is None
        assert any("did not revert" in reason for reason in row["reasons"]) == is_off


def test_stale_market_is_unknown_although_a_stop_was_breached_earlier() -> None:
    """What cannot be seen now is not judged now; the standing exit is looked up in the journal instead."""
    end_ms = int(view().bars.frame["close_time"].dt.epoch("ms")[-1])
    grid = grid_around(10_000.0, STARTED_AT)
    late_ms = end_ms + 4 * 900_000
    rows = evaluate([GridVersion(grid, STARTED_AT)], view(), SEED.advice, first_ms=end_ms, last_ms=late_ms).exit_states
    assert rows["state"].to_list() == ["MANDATORY_EXIT"] * 3 + ["UNKNOWN"] * 2
    assert rows["last_known_state"].to_list()[-1] == "MANDATORY_EXIT"
    assert "data.max_age" in rows["reasons"].to_list()[-1][0]


def test_breached_stop_wins_over_thin_coverage_but_a_trend_does_not() -> None:
    at_ms = int(view().bars.frame["close_time"].dt.epoch("ms")[-1])
    demanding = SEED.model_copy(update={"data": SEED.data.model_copy(update={"min_coverage": 1.0})})
    breached, untouched = grid_around(10_000.0, STARTED_AT), grid_around(2000.0, STARTED_AT, width=1.1)
    states = [
        evaluate([GridVersion(grid, STARTED_AT)], view(), demanding.advice, first_ms=at_ms, last_ms=at_ms)
        .exit_states["state"]
        .item()
        for grid in (breached, untouched)
    ]
    assert states == ["MANDATORY_EXIT", "UNKNOWN"]


@pytest.mark.parametrize(("hides_bars", "state"), [(False, "MANDATORY_EXIT"), (True, "UNKNOWN")])
def test_broken_metrics_never_hide_a_breached_stop_but_a_skewed_clock_does(hides_bars: bool, state: str) -> None:
    at_ms = int(view().bars.frame["close_time"].dt.epoch("ms")[-1])
    problems = pl.DataFrame(
        {
            "evaluated_at": view().bars.frame["close_time"][-1:],
            "problem": ["told"],
            "hides_bars": [hides_bars],
            "hides_metrics": [True],
        }
    )
    breached, untouched = grid_around(10_000.0, STARTED_AT), grid_around(2000.0, STARTED_AT, width=1.1)
    rows = [
        evaluate(
            [GridVersion(grid, STARTED_AT)], view(), SEED.advice, first_ms=at_ms, last_ms=at_ms, problems=problems
        ).exit_states.row(0, named=True)
        for grid in (breached, untouched)
    ]
    assert [row["state"] for row in rows] == [state, "UNKNOWN"]
    assert all(row["reasons"][0] == "told" for row in rows)


def test_missing_verdict_is_unknown_and_says_so() -> None:
    """Holes in many 4h bars can leave no verdict although coverage at 15m looks fine."""
    whole = view()
    blank = whole.four_hourly.frame.with_columns(verdict=pl.lit(None, pl.String))
    partial = MarketView(whole.bars, whole.hourly, Timeline(blank), whole.quarantined_ms)
    at_ms = int(whole.bars.frame["close_time"].dt.epoch("ms")[-1])
    grid = grid_around(2000.0, STARTED_AT, width=1.1)
    row = evaluate([GridVersion(grid, STARTED_AT)], partial, SEED.advice, first_ms=at_ms, last_ms=at_ms)
    assert row.exit_states["state"].to_list() == ["UNKNOWN"]
    assert "no verdict" in row.exit_states["reasons"].to_list()[0][0]


def test_hour_that_nobody_saw_breaks_a_run_of_closes_outside() -> None:
    """A quarantined candle leaves a hole in the hours: outside, unknown, outside is not two in a row."""
    candles = simulated_candles(seed=4)
    start = candles["open_time"][-1] - timedelta(hours=6)
    grid = grid_around(10_000.0, start, width=0.01)
    hour = pl.col("open_time").dt.truncate("1h")
    hole = candles.select(hour.alias("h"))["h"][-1] - timedelta(hours=1)
    missing = candles.filter(hour == hole)["open_time"][:1]
    quarantined = epoch_ms(missing)
    bars = fill_gaps(candles.filter(~pl.col("open_time").is_in(missing.to_list())), quarantined_ms=quarantined)
    whole = market_view(fill_gaps(candles, quarantined_ms=None), np.empty(0, dtype=np.int64), SEED.market)
    holed = market_view(bars, quarantined, SEED.market)
    at_ms = int(bars["close_time"].dt.epoch("ms")[-1])
    counts = [
        evaluate([GridVersion(grid, start)], market, SEED.advice, first_ms=at_ms, last_ms=at_ms)
        .exit_states["closes_outside"]
        .struct.field("value")
        .item()
        for market in (whole, holed)
    ]
    assert counts[0] > counts[1] == 1


def with_hole(low: float | None = None) -> tuple[MarketView, datetime]:
    """The market with one candle quarantined, and that candle's open time; ``low`` of another bar just after it."""
    candles = simulated_candles(seed=4)
    at = STARTED_AT + timedelta(days=1)
    touched = pl.col("open_time") == at + timedelta(minutes=15)
    if low is not None:
        candles = candles.with_columns(low=pl.when(touched).then(low).otherwise("low"))
    hole = candles.filter(pl.col("open_time") == at)["open_time"]
    bars = fill_gaps(candles.filter(pl.col("open_time") != at), quarantined_ms=epoch_ms(hole))
    return market_view(bars, epoch_ms(hole), SEED.market), at


def test_quarantined_bar_is_not_forgotten_as_long_as_the_grid_runs() -> None:
    market, at = with_hole()
    last = market.bars.frame["close_time"][-1]
    days = [at + timedelta(minutes=15), at + timedelta(hours=24, minutes=15), last]
    grid = grid_around(2000.0, STARTED_AT, width=1.1)
    blind, *later = [one_row(grid, market, moment) for moment in days]
    first_ms, last_ms = (int(moment.timestamp() * 1000) for moment in days[1:])
    span = {"first_ms": first_ms, "last_ms": last_ms}
    whole, holed = (
        evaluate([GridVersion(grid, STARTED_AT)], seen, SEED.advice, **span).exit_states["state"].unique().to_list()
        for seen in (view(), market)
    )

    assert blind["state"] == "UNKNOWN"
    for row in later:
        assert f"the bar of {at:%Y-%m-%d %H:%M} UTC is quarantined" in " ".join(row["reasons"])
        assert (row["stop_loss_breached"]["value"], row["stop_loss_breached"]["fired"]) == (None, False)
    assert "NORMAL" in whole
    assert "NORMAL" not in holed
    assert "WARNING" in holed


def test_grid_that_started_after_a_quarantined_bar_knows_nothing_of_it() -> None:
    market, at = with_hole()
    last = market.bars.frame["close_time"][-1]
    later = grid_around(2000.0, at + timedelta(minutes=15), width=1.1)
    inside = grid_around(2000.0, at + timedelta(minutes=5), width=1.1)

    assert one_row(later, market, last)["stop_loss_breached"]["value"] is not None
    assert one_row(inside, market, last)["stop_loss_breached"]["value"] is None


def test_stop_that_was_touched_in_a_known_bar_fires_in_spite_of_a_hole() -> None:
    market, at = with_hole(low=1.0)
    row = one_row(grid_around(2000.0, STARTED_AT, width=1.1), market, at + timedelta(days=5))

    assert row["state"] == "MANDATORY_EXIT"
    assert row["stop_loss_breached"]["value"] == 1.0


def one_row(grid: Grid, market: MarketView, at: datetime) -> dict[str, Any]:
    at_ms = int(at.timestamp() * 1000)
    found = evaluate([GridVersion(grid, grid.started_at)], market, SEED.advice, first_ms=at_ms, last_ms=at_ms)
    return found.exit_states.row(0, named=True)
