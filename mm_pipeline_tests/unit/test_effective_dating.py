"""Each bar is judged by the declaration in force at it: edits make no past price a breach and heal none (SPEC 5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.candles import fill_gaps, resample
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.exit_state.triggers import grid_triggers
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.grid_analysis import grid_analysis
from mm_pipeline.domain.grid_history import RangeHistory, watched_anew_at
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView, Timeline
from mm_pipeline.domain.pipeline import evaluations
from mm_pipeline_tests.markets import grid_around, settings_of

BAR, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
START = datetime(2025, 3, 3, 12, tzinfo=UTC)
POLICY = settings_of("seed").exit_state
Prices = dict[datetime, float]


def market(prices: Prices, *, days: int = 3) -> MarketView:
    """A market that stands at 3,000 a day before ``START`` and after it, but in bars that are told otherwise.

    A price below 3,000 is a low that the bar closes at; ATR is 10 throughout, and no swing range is known.
    """
    opens = [START - DAY + n * BAR for n in range((1 + days) * 96)]
    level = [prices.get(opened, 3000.0) for opened in opens]
    raw = pl.DataFrame(
        {
            "open_time": pl.Series(opens, dtype=pl.Datetime("ms", "UTC")),
            "open": level,
            "high": level,
            "low": level,
            "close": level,
            "volume": [1.0] * len(level),
        }
    )
    bars = fill_gaps(raw, quarantined_ms=None)

    def coarse(timeframe: Timeframe) -> Timeline:
        nothing = pl.lit(None, dtype=pl.Float64)
        return Timeline(resample(bars, timeframe).with_columns(atr_14=10.0, range_high=nothing, range_low=nothing))

    return MarketView(Timeline(bars), coarse(Timeframe.H1), coarse(Timeframe.H4), np.empty(0, np.int64))


def grid(**changes: Any) -> Grid:
    declared: dict[str, Any] = {"lower": 2900.0, "upper": 3100.0, "stop_loss": 2850.0}
    return grid_around(3000.0, changes.pop("started_at", START), **(declared | changes))


def version(at: datetime, **changes: Any) -> GridVersion:
    return GridVersion(grid(**changes), at)


def gone(at: datetime, **changes: Any) -> GridVersion:
    return replace(version(at, **changes), is_gone=True)


def retired(at: datetime) -> GridVersion:
    return replace(gone(at, enabled=False), is_retired=True)


def rows(versions: list[GridVersion], view: MarketView, *, days: int = 3) -> dict[datetime, dict[str, Any]]:
    """Triggers of the grid by evaluation: fired names, and the stop's value and threshold."""
    first, last = (int(time.timestamp() * 1000) for time in (START - DAY, START + days * DAY))
    found = grid_analysis(versions, view, evaluations(first, last), POLICY)
    triggers = grid_triggers(found, POLICY)
    stop = triggers["stop_loss_breached"]
    return {
        at: {
            "fired": {name for name, trigger in triggers.items() if trigger.fired[i]},
            "price": stop.value[i],
            "stop": stop.threshold[i],
            "closes": found["closes_outside"][i],
            "excess": found["range_excess_atr"][i],
            "unwatched": found["unwatched"][i],
        }
        for i, at in enumerate(found["evaluated_at"])
    }


@pytest.mark.parametrize(
    ("versions", "anew"),
    [
        ([version(START), version(START + DAY, stop_loss=2800.0)], None),
        ([version(START), version(START + DAY, enabled=False), version(START + 2 * DAY)], None),
        ([version(START), version(START + DAY, symbol="BTC/USDT")], START + DAY),
        ([version(START), version(START + DAY, exchange="kucoin"), version(START + 2 * DAY)], START + 2 * DAY),
        ([version(START), gone(START + DAY), version(START + 2 * DAY)], None),  # a file that came back
        ([version(START), retired(START + DAY), version(START + 2 * DAY)], START + 2 * DAY),
        ([version(START, enabled=False), gone(START + DAY, enabled=False), version(START + 2 * DAY)], None),
        ([version(START), gone(START + DAY, enabled=False)], None),
        ([version(START), version(START + 4 * DAY, symbol="BTC/USDT")], None),  # not yet
    ],
)
def test_grid_is_another_once_its_market_changes_or_it_comes_back(
    versions: list[GridVersion], anew: datetime | None
) -> None:
    assert watched_anew_at(versions, START + 3 * DAY) == anew


def test_raised_stop_makes_no_past_low_a_breach() -> None:
    view = market({START + HOUR: 2905.0})
    found = rows([version(START), version(START + DAY, stop_loss=2899.0, lower=2950.0)], view)
    raised = rows([version(START), version(START + DAY, stop_loss=2949.0, lower=2950.0)], view)
    assert not any("stop_loss_breached" in row["fired"] for row in (*found.values(), *raised.values()))
    # The same low is a breach where that stop was in force at it.
    assert "stop_loss_breached" in rows([version(START, stop_loss=2949.0, lower=2950.0)], view)[START + DAY]["fired"]


def test_low_in_the_bar_before_an_edit_is_judged_by_the_stop_of_its_time() -> None:
    edited = START + DAY
    view = market({edited - 2 * BAR: 2905.0, edited - BAR: 2960.0})
    found = rows([version(START), version(edited, stop_loss=2949.0, lower=2950.0)], view)
    assert not found[edited]["fired"]


def test_lowered_stop_heals_no_breach() -> None:
    breached = START + HOUR
    view = market({breached: 2845.0})
    found = rows([version(START), version(breached + 2 * BAR, stop_loss=2800.0)], view)
    assert "stop_loss_breached" not in found[breached]["fired"]
    for at in (breached + BAR, breached + 2 * BAR, START + 3 * DAY):
        assert found[at]["fired"] == {"stop_loss_breached"}
        assert (found[at]["price"], found[at]["stop"]) == (2845.0, 2850.0)


def test_breach_of_an_edited_stop_is_shown_in_place_of_a_deeper_one_of_the_old_stop() -> None:
    edited = START + DAY
    versions = [version(START), version(edited, stop_loss=2750.0), version(edited + DAY, stop_loss=2700.0)]
    view = market({START + HOUR: 2760.0, edited + HOUR: 2749.0, edited + 2 * HOUR: 2745.0})
    found = rows(versions, view)
    shown = {at: (found[at]["price"], found[at]["stop"]) for at in (edited + HOUR, edited + 2 * HOUR, edited + 2 * DAY)}
    assert shown == {
        edited + HOUR: (2760.0, 2850.0),
        edited + 2 * HOUR: (2749.0, 2750.0),
        edited + 2 * DAY: (2745.0, 2750.0),
    }
    assert all("stop_loss_breached" in found[at]["fired"] for at in shown)


def test_price_below_a_raised_stop_is_a_breach_at_its_first_evaluation() -> None:
    edited = START + HOUR
    view = market({edited - BAR: 2940.0})
    found = rows([version(START), version(edited, stop_loss=2945.0, lower=2950.0)], view)
    assert found[edited]["fired"] == {"stop_loss_breached"}
    assert (found[edited]["price"], found[edited]["stop"]) == (2940.0, 2945.0)
    assert "stop_loss_breached" in found[edited + DAY]["fired"]


def test_price_below_the_stop_is_a_breach_in_the_first_bar_of_a_new_range() -> None:
    at = START + timedelta(minutes=1)
    view = market({START: 2840.0})
    found = rows([version(at, started_at=at)], view)
    assert min(found) == START + BAR
    assert found[START + BAR]["fired"] == {"stop_loss_breached"}


def test_stop_that_was_mistyped_and_put_right_between_two_evaluations_judges_nothing() -> None:
    slip, mended = START + HOUR + timedelta(minutes=1), START + HOUR + timedelta(minutes=5)
    versions = [version(START), version(slip, stop_loss=3050.0, lower=3060.0), version(mended)]
    assert not any(row["fired"] for row in rows(versions, market({})).values())


def test_grid_enabled_again_with_its_old_start_pages_nothing_that_happened_while_it_was_off() -> None:
    off, on = START + HOUR, START + DAY
    low = {START + timedelta(hours=n): 2700.0 for n in range(4, 9)}
    view = market(low | {START + timedelta(hours=n, minutes=45): 2700.0 for n in range(4, 9)})
    versions = [version(START), version(off, enabled=False), version(on)]
    found = rows(versions, view)
    assert not any(row["fired"] for at, row in found.items() if at >= on)
    assert {"stop_loss_breached", "range_invalidated"} <= rows(versions[:1], view)[on]["fired"]
    # Under another range that was switched off it was off as well.
    elsewhere = [version(START), version(off, enabled=False, started_at=off), version(on)]
    assert not any(row["fired"] for at, row in rows(elsewhere, view).items() if at >= on)


def test_range_that_was_written_down_late_is_judged_by_its_own_stop_from_its_start() -> None:
    began, written = START + HOUR, START + 2 * HOUR
    view = market({began + BAR: 2845.0})
    versions = [version(START, stop_loss=2700.0), version(written, started_at=began)]
    assert rows(versions, view)[written]["fired"] == {"stop_loss_breached"}


def test_start_that_was_put_right_is_judged_from_the_start() -> None:
    slip, mended = START + DAY, START + DAY + HOUR
    versions = [
        version(START),
        version(slip, started_at=slip + timedelta(hours=8)),
        version(mended, started_at=slip),
    ]
    found = rows(versions, market({slip + 2 * BAR: 2845.0}))
    assert [row["unwatched"] is not None for at, row in found.items() if slip <= at < mended] == [True] * 4
    assert found[mended]["fired"] == {"stop_loss_breached"}


def test_closes_are_counted_against_the_bounds_in_force_at_them() -> None:
    hours = {START + n * HOUR + i * BAR: 3150.0 for n in (2, 3) for i in range(4)}
    view = market(hours)
    widened = rows([version(START), version(START + 4 * HOUR, upper=3200.0)], view)
    assert widened[START + 4 * HOUR]["closes"] == 0  # the second close is judged by what is in force at it
    kept = rows([version(START), version(START + 4 * HOUR + BAR, upper=3200.0)], view)
    assert kept[START + 4 * HOUR + BAR]["closes"] == 2
    assert kept[START + 5 * HOUR]["closes"] == 0
    narrowed = rows([version(START, upper=3200.0), version(START + 4 * HOUR + BAR)], view)
    assert narrowed[START + 4 * HOUR + BAR]["closes"] == 0


def test_range_is_invalidated_by_the_bounds_in_force_at_a_close() -> None:
    first = START.replace(hour=16)  # a 4h close of a bar that opened at the start
    view = market({first - BAR: 3150.0})
    widened = rows([version(START), version(first + BAR, upper=3200.0)], view)
    assert widened[first]["excess"] == pytest.approx(5.0)
    assert widened[START + DAY]["excess"] == pytest.approx(5.0)
    narrowed = rows([version(START, upper=3200.0), version(first + BAR)], view)
    assert narrowed[START + DAY]["excess"] == pytest.approx(-5.0)


EDITS = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.sampled_from([2800.0, 2850.0, 2890.0]),
        st.sampled_from([3050.0, 3100.0, 3200.0]),
        st.booleans(),
        st.integers(0, 1),
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=40)
@given(edits=EDITS, falls=st.dictionaries(st.integers(0, 190), st.sampled_from([2795.0, 2845.0, 2880.0, 3120.0])))
def test_later_edits_and_bars_change_no_earlier_row(
    edits: list[tuple[int, float, float, bool, int]], falls: dict[int, float]
) -> None:
    """No look-ahead, and what was decided is never rewritten."""
    at, versions = START, [version(START)]
    for bars, stop, upper, is_enabled, shift in edits:
        at += bars * BAR
        started = START + shift * HOUR
        versions.append(version(at, stop_loss=stop, upper=upper, enabled=is_enabled, started_at=started))
    whole = rows(versions, market({START + n * BAR: price for n, price in falls.items()}, days=2), days=2)
    for count in range(1, len(versions)):
        until = versions[count].valid_from
        seen = {START + n * BAR: price for n, price in falls.items() if START + (n + 1) * BAR < until}
        earlier = rows(versions[:count], market(seen, days=2), days=2)
        for moment in [moment for moment in whole if moment < until]:
            assert str(whole[moment]) == str(earlier[moment])


def test_history_of_an_unedited_range_adds_nothing_to_the_input_hash_and_an_edit_does() -> None:
    versions = [version(START), version(START + DAY, stop_loss=2800.0)]
    history = RangeHistory.of(versions, versions[0].grid)
    before, after = (int(epoch_ms(pl.Series([at], dtype=pl.Datetime("ms", "UTC")))[0]) for at in (START, START + DAY))
    assert history.signature(before) == ""
    assert history.signature(after) != ""
