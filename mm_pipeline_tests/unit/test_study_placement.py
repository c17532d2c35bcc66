"""Where study grids are placed, when they are over, and what follows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.study import (
    Ending,
    NotPlaced,
    PlacedEvery,
    PlacedGrid,
    StudySpan,
    grids_of_rows,
    place_grids,
    rows_of_grids,
    spans_of,
)
from mm_pipeline.domain.study.columns import STUDY_GRID_COLUMNS, schema_of
from mm_pipeline_tests.candle_samples import T0_MS
from mm_pipeline_tests.grid_samples import bars_of
from mm_pipeline_tests.reference.simulation import Bar
from mm_pipeline_tests.study_samples import market_of, study_of

START = datetime(2025, 1, 1, tzinfo=UTC)
FLAT: Bar = (100.0, 101.0, 99.0, 100.0)
BAR = timedelta(minutes=15)
assert from_ms(T0_MS) == START


def span(bars: int) -> StudySpan:
    """A span that begins with the third bar, and lasts so many."""
    return StudySpan("2025-01", START + 2 * BAR, START + (2 + bars) * BAR)


def placed(rows: list[Bar], bars: int, **changes: Any) -> list[PlacedGrid | NotPlaced]:
    template = {"half_width": {"pct": 10.0}, "levels": 5, "stop_distance": {"pct": 5.0}, "fee": 0.0}
    study = study_of(template=template | changes.pop("template", {}), **changes)
    return place_grids(study, market_of(bars_of(rows)), span(bars))


def grids(found: list[PlacedGrid | NotPlaced]) -> list[PlacedGrid]:
    assert all(isinstance(one, PlacedGrid) for one in found), found
    return [one for one in found if isinstance(one, PlacedGrid)]


def test_grid_is_centred_at_the_close_that_is_known() -> None:
    rows = [FLAT, (100.0, 121.0, 99.0, 120.0), *[(300.0, 301.0, 299.0, 300.0)] * 4]
    (one,) = grids(placed(rows, 4))
    assert (one.price_quote, one.grid.lower, one.grid.upper) == (120.0, 108.0, 132.0)
    assert one.grid.stop_loss == pytest.approx(102.0)
    assert one.grid.started_at == START + 2 * BAR
    assert one.grid.id == "eth-2025-01"


def test_span_without_a_stop_ends_with_the_span() -> None:
    (one,) = grids(placed([FLAT] * 8, 4))
    assert (one.ends_at, one.ending) == (START + 6 * BAR, Ending.NEXT_DATE)


def test_span_that_the_candles_do_not_fill_ends_with_them() -> None:
    (one,) = grids(placed([FLAT] * 5, 4))
    assert (one.ends_at, one.ending) == (START + 5 * BAR, Ending.CANDLES)


STOP_AT_FOURTH: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 100.0, 80.0, 82.0), *[(82.0, 83.0, 81.0, 82.0)] * 6]


def test_stopped_grid_stays_out_until_the_next_date() -> None:
    (one,) = grids(placed(STOP_AT_FOURTH, 8))
    assert (one.ends_at, one.ending) == (START + 4 * BAR, Ending.STOP)


def test_stopped_grid_is_placed_anew_at_the_close_of_its_stop() -> None:
    first, second = grids(placed(STOP_AT_FOURTH, 8, when_over="place_anew"))
    assert (first.ending, second.ending) == (Ending.STOP, Ending.NEXT_DATE)
    assert second.grid.started_at == first.ends_at
    assert (second.grid.id, second.price_quote) == ("eth-2025-01-2", 82.0)


ABOVE: list[Bar] = [FLAT, FLAT, FLAT, (100.0, 112.0, 100.0, 111.0), *[(111.0, 112.0, 110.0, 111.0)] * 6]


def test_grid_that_has_sold_everything_keeps_its_orders_when_it_stays_out() -> None:
    (one,) = grids(placed(ABOVE, 8))
    assert (one.ends_at, one.ending) == (START + 10 * BAR, Ending.NEXT_DATE)


def test_grid_that_has_sold_everything_is_placed_anew_higher_up() -> None:
    first, second = grids(placed(ABOVE, 8, when_over="place_anew"))
    assert (first.ends_at, first.ending) == (START + 4 * BAR, Ending.SOLD_OUT)
    assert (second.price_quote, second.ending) == (111.0, Ending.NEXT_DATE)


def test_no_grid_follows_when_the_next_date_is_one_bar_away() -> None:
    assert len(placed(STOP_AT_FOURTH, 3, when_over="place_anew")) == 1


@pytest.mark.parametrize(
    ("rows", "changes", "told"),
    [
        ([FLAT], {}, "no candle is there"),
        ([FLAT, FLAT], {}, "no candle is there"),
        ([FLAT] * 6, {"template": {"half_width": {"atr_4h": 5.0}}}, "no ATR of 4h bars is known"),
        ([FLAT] * 6, {"template": {"half_width": {"pct": 1.0}, "levels": 50, "fee": 0.001}}, "loses"),
        ([FLAT] * 6, {"template": {"half_width": {"pct": 50.0}, "stop_distance": {"pct": 50.0}}}, "gives no grid"),
    ],
)
def test_grid_that_cannot_be_placed_says_why(rows: list[Bar], changes: dict[str, Any], told: str) -> None:
    (one,) = placed(rows, 4, **changes)
    assert isinstance(one, NotPlaced)
    assert told in one.reason


def test_grid_before_the_warm_up_is_not_placed() -> None:
    market = market_of(bars_of([FLAT] * 8), warm_from=START + 3 * BAR)
    (one,) = place_grids(study_of(), market, span(4))
    assert isinstance(one, NotPlaced)
    assert "warm-up" in one.reason


def test_rows_of_grids_give_the_same_grids() -> None:
    market = market_of(bars_of(STOP_AT_FOURTH))
    study = study_of(when_over="place_anew", template={"half_width": {"pct": 7.3}, "levels": 7})
    made = grids(place_grids(study, market, span(8)))
    rows = rows_of_grids(made, market)
    assert rows.schema == schema_of(STUDY_GRID_COLUMNS)
    again = grids_of_rows(rows)
    assert [one.grid.version_hash for one in again] == [one.grid.version_hash for one in made]
    assert [(one.ends_at, one.ending) for one in again] == [(one.ends_at, one.ending) for one in made]
    assert rows["pnl_quote"][0] < 0


def test_weeks_name_their_grids() -> None:
    (first, *_) = spans_of(datetime(2024, 2, 1, tzinfo=UTC), PlacedEvery.WEEKLY)
    assert first.label == "2024-w06"
