"""15m candles made of finer ones: which slots they cover, what is asked for, and that the exchange's own wins."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.candles import finer_pages, holes_in, make_covers, used_covers, with_covers
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.market import FinerTimeframe
from mm_pipeline_tests.candle_samples import STEP_MS, Row, at_ms, raw, walk

M5, M1 = FinerTimeframe.M5, FinerTimeframe.M1
NOW_MS = at_ms(100)
PARTS: list[Row] = [
    (at_ms(7), 100.0, 102.0, 99.0, 101.0, 3.0),
    (at_ms(7) + M5.ms, 101.0, 101.0, 60.0, 70.0, 5.0),
    (at_ms(7) + 2 * M5.ms, 70.0, 90.0, 65.0, 88.0, 0.0),
]


def covers_of(rows: list[Row], *slots: int, timeframe: FinerTimeframe = M5, now_ms: int = NOW_MS) -> pl.DataFrame:
    wanted = np.array([at_ms(slot) for slot in slots or (7,)])
    return make_covers(raw(rows), wanted, timeframe=timeframe, now_ms=now_ms)


def test_three_parts_make_the_bar_in_any_order_and_say_what_it_is_made_of() -> None:
    made = covers_of([*PARTS[::-1], PARTS[0]])

    assert made.drop("open_time", "made_at").rows() == [(100.0, 102.0, 60.0, 88.0, 8.0, "5m")]
    assert epoch_ms(made["open_time"]).tolist() == [at_ms(7)]
    assert epoch_ms(made["made_at"]).tolist() == [NOW_MS]


@pytest.mark.parametrize("lost", range(3))
def test_slot_that_lacks_a_part_is_not_covered(lost: int) -> None:
    assert covers_of([row for number, row in enumerate(PARTS) if number != lost]).is_empty()


BROKEN: dict[str, Row] = {
    "high below low": (PARTS[1][0], 101.0, 50.0, 60.0, 70.0, 5.0),
    "no price": (PARTS[1][0], 101.0, 102.0, math.nan, 70.0, 5.0),
    "price of 0": (PARTS[1][0], 101.0, 102.0, 0.0, 70.0, 5.0),
    "infinite volume": (PARTS[1][0], 101.0, 102.0, 60.0, 70.0, math.inf),
    "misaligned": (at_ms(7) + M5.ms + 1, 101.0, 102.0, 60.0, 70.0, 5.0),
}


@pytest.mark.parametrize("why", BROKEN)
def test_slot_with_a_part_that_cannot_be_true_is_not_covered(why: str) -> None:
    assert covers_of([PARTS[0], BROKEN[why], PARTS[2]]).is_empty()


def test_refused_part_beside_whole_ones_leaves_the_slot_a_hole() -> None:
    """A misaligned part, or a second version of one: nobody knows which of them was meant."""
    assert covers_of([*PARTS, BROKEN["misaligned"]]).is_empty()
    assert covers_of([*PARTS, (PARTS[1][0], 101.0, 102.0, 90.0, 95.0, 5.0)]).is_empty()


def test_part_that_is_not_closed_covers_nothing() -> None:
    assert covers_of(PARTS, now_ms=at_ms(8) - 1).is_empty()
    assert len(covers_of(PARTS, now_ms=at_ms(8))) == 1


def test_volumes_whose_sum_is_no_number_cover_nothing() -> None:
    assert covers_of([(*row[:5], 1e308) for row in PARTS]).is_empty()


def test_slot_that_was_not_wanted_is_not_made() -> None:
    assert covers_of(PARTS, 6, 8).is_empty()


def test_fifteen_minutes_make_a_bar_and_fourteen_do_not() -> None:
    minutes = [(at_ms(7) + number * M1.ms, 100.0, 101.0, 99.0 - number, 100.0, 1.0) for number in range(15)]

    (made,) = covers_of(minutes, timeframe=M1).rows(named=True)

    assert (made["low"], made["volume"], made["made_of"]) == (85.0, 15.0, "1m")
    assert covers_of(minutes[:14], timeframe=M1).is_empty()


def test_cover_stands_in_for_a_missing_candle_alone() -> None:
    candles = walk(slot for slot in range(5, 12) if slot != 7)
    covers = covers_of(PARTS)

    believed = with_covers(candles, covers)

    assert epoch_ms(believed["open_time"]).tolist() == [at_ms(slot) for slot in range(5, 12)]
    assert believed["low"][2] == 60.0
    assert with_covers(walk(range(5, 12)), covers).equals(walk(range(5, 12)))
    assert used_covers(walk(range(5, 12)), covers).is_empty()
    assert with_covers(walk(range(8, 12)), covers).equals(walk(range(8, 12))), "nobody asked for what lies between"


def test_hole_is_a_refused_time_without_candle_inside_what_was_asked_for() -> None:
    candles = walk(slot for slot in range(5, 12) if slot != 7)
    refused_ms = np.array([at_ms(3), at_ms(6), at_ms(7) + 1, at_ms(12), at_ms(13)])

    found = holes_in(candles, refused_ms, end_ms=at_ms(13))

    assert found.tolist() == [at_ms(7), at_ms(12)]
    assert holes_in(candles.clear(), refused_ms, end_ms=at_ms(13)).size == 0


def pages(*slots: int, max_pages: int = 2, turn: int = 0) -> list[tuple[int, int]]:
    """Pages of 30 bars of 5m, ten slots, in slots."""
    found = finer_pages(
        np.array([at_ms(slot) for slot in slots]), timeframe=M5, page_bars=31, max_pages=max_pages, turn=turn
    )
    return [((part.start_ms - at_ms(0)) // STEP_MS, (part.end_ms - at_ms(0)) // STEP_MS) for part in found]


def test_neighbouring_slots_share_a_request() -> None:
    assert pages(3, 4, 12) == [(3, 13)]
    assert pages(3, 4, 13) == [(4, 14), (3, 4)]


def test_newest_slots_are_always_asked_for_and_the_others_take_turns() -> None:
    asked = [pages(0, 20, 40, 60, turn=turn) for turn in range(4)]

    assert asked == [[(60, 61), (slot, slot + 1)] for slot in (40, 20, 0, 40)]
    assert pages(0, 20, 40, 60, max_pages=0) == []
    assert pages(0, 20, max_pages=1, turn=3) == [(20, 21)]
    assert pages() == []
