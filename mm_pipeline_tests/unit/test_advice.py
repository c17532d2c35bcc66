"""One function decides: an enabled grid gets exit states only, a disabled one entry states only, at every moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.candles import epoch_ms, fill_gaps, times_of
from mm_pipeline.domain.exit_state import LATEST, MANDATORY, TRIGGERS, WARNING
from mm_pipeline.domain.exit_state.states import STATES, decide_state
from mm_pipeline.domain.exit_state.triggers import SEEN_IN_BARS
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


RUNS = {
    "outside, hole": ("o?", None),
    "outside, hole, outside": ("o?o", None),
    "inside, hole": ("i?", None),
    "inside, hole, outside": ("i?o", None),
    "hole, inside": ("?i", 0),
    "hole, inside, outside": ("?io", 1),
    "outside, hole, two outside": ("o?oo", 2),
    "hole, the other side": ("o?u", None),
    "hole, the other side, outside": ("?uo", 1),
    "outside twice, hole": ("oo?", 2),
}


@pytest.mark.parametrize("run", RUNS)
def test_close_that_nobody_saw_leaves_a_run_of_closes_outside_unknown(run: str) -> None:
    """Unless it has fired, or a known close has ended what the hidden one could belong to."""
    hours, value = RUNS[run]
    start = STARTED_AT.replace(minute=0)
    closes = {"o": 3000.0, "i": 2000.0, "u": 1000.0}
    rows = simulated_candles(seed=4).filter(pl.col("open_time") < start)
    begin = int(start.timestamp() * 1000)
    opened_ms = np.array([begin + 900_000 * quarter for quarter in range(4 * len(hours))])
    price = np.repeat([closes.get(hour, 2000.0) for hour in hours], 4)
    columns = {"open": price, "high": price, "low": price, "close": price, "volume": np.ones(len(price))}
    candles = pl.concat([rows, pl.DataFrame([times_of(opened_ms, "open_time")]).with_columns(**columns)])
    hidden_ms = np.array([begin + 3_600_000 * hour + 1_800_000 for hour, kind in enumerate(hours) if kind == "?"])
    kept = candles.filter(~pl.col("open_time").to_physical().is_in(hidden_ms.tolist()))
    market = market_view(fill_gaps(kept, quarantined_ms=hidden_ms), hidden_ms, SEED.market)
    row = one_row(grid_around(2000.0, start, width=0.2), market, start + timedelta(hours=len(hours)))

    trigger = row["closes_outside"]
    assert (trigger["value"], trigger["fired"]) == (value, value == 2)
    assert trigger["margin"] == (None if value is None else value - 2)
    assert f"{hours.index('?'):02}:30 UTC is quarantined" in " ".join(row["reasons"])


def test_hole_leaves_range_invalidated_unknown_once_its_4h_bar_has_closed() -> None:
    market, at = with_hole()
    grid = grid_around(2000.0, STARTED_AT, width=1.1)
    closes = at.replace(hour=at.hour // 4 * 4, minute=0) + timedelta(hours=4)
    late = grid_around(2000.0, closes - timedelta(hours=1), width=1.1)
    seen = [
        one_row(who, market, moment)["range_invalidated"]["value"]
        for who, moment in [
            (grid, closes - timedelta(minutes=15)),
            (grid, closes),
            (grid, closes + timedelta(days=5)),
            (late, closes + timedelta(days=5)),
        ]
    ]

    assert [value is None for value in seen] == [False, True, True, False]


def test_range_that_was_left_in_a_known_bar_is_invalid_in_spite_of_a_hole() -> None:
    market, _ = with_hole()
    row = one_row(grid_around(10_000.0, STARTED_AT, width=0.01), market, market.bars.frame["close_time"][-1])

    assert row["range_invalidated"]["fired"]
    assert row["range_invalidated"]["value"] > 0


def covered(*, days: int) -> MarketView:
    """The market of :func:`with_hole` with that bar made of 5m ones, at as many days in a row."""
    candles = simulated_candles(seed=4)
    times = [STARTED_AT + timedelta(days=1) * day for day in range(1, days + 1)]
    covers = candles.filter(pl.col("open_time").is_in(times)).with_columns(
        made_of=pl.lit("5m"), made_at=pl.col("open_time")
    )
    return replace(view(), covers=covers)


def test_bar_made_of_finer_ones_is_told_for_a_day_and_hinders_nothing() -> None:
    grid = grid_around(2000.0, STARTED_AT, width=1.1)
    at = STARTED_AT + timedelta(days=1)
    told = f"the bar of {at:%Y-%m-%d %H:%M} UTC is made of 5m candles: the exchange's own 15m candle is quarantined"
    moments = [at, at + timedelta(minutes=15), at + timedelta(days=1), at + timedelta(days=1, minutes=15)]

    rows = [one_row(grid, covered(days=1), moment) for moment in moments]
    plain = [one_row(grid, view(), moment) for moment in moments]

    assert [told in row["reasons"] for row in rows] == [False, True, True, False]
    for row, other in zip(rows, plain, strict=True):
        assert {**row, "reasons": [text for text in row["reasons"] if text != told]} == other


def test_several_bars_made_of_finer_ones_are_told_in_one_sentence() -> None:
    grid = grid_around(2000.0, STARTED_AT, width=1.1)
    at = STARTED_AT + timedelta(days=2, minutes=15)
    market = covered(days=2)
    early = market.covers.with_columns(pl.col("open_time") + timedelta(hours=23))[:1]
    row = one_row(grid, replace(market, covers=pl.concat([market.covers, early])), at)
    off = one_row(grid_around(2000.0, STARTED_AT, enabled=False), covered(days=2), at)

    assert [text for text in row["reasons"] if "made of" in text] == [
        f"the bar of {at - timedelta(minutes=15):%Y-%m-%d %H:%M} UTC (and 1 before it) is made of 5m candles: "
        "the exchange's own 15m candle is quarantined"
    ]
    assert any("is made of 5m candles" in text for text in off["reasons"])


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
    rows = found.exit_states if grid.enabled else found.entry_states
    return rows.row(0, named=True)
