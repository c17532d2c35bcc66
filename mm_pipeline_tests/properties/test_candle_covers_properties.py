"""Whatever the finer candles are: those that make up a valid bar give exactly it, and with a hole in them nothing."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.candles import clean_candles, finer_pages, make_covers
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.market import FinerTimeframe, Timeframe
from mm_pipeline_tests.candle_samples import STEP_MS, Row, at_ms, raw

NOW_MS = at_ms(20)
PRICES = st.floats(0.5, 2.0)


@st.composite
def finer_bars(draw: st.DrawFn) -> tuple[FinerTimeframe, dict[int, list[Row]]]:
    """Whole slots of valid finer bars, by the slot's open time."""
    timeframe = draw(st.sampled_from(FinerTimeframe))
    slots = draw(st.sets(st.integers(0, 8), min_size=1, max_size=3))
    made: dict[int, list[Row]] = {}
    for slot in sorted(slots):
        rows: list[Row] = []
        for opened_ms in range(at_ms(slot), at_ms(slot + 1), timeframe.ms):
            low, first, last, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES, PRICES)))
            first, last = draw(st.permutations([first, last]))
            rows.append((opened_ms, first, high, low, last, draw(st.floats(0.0, 9.0))))
        made[at_ms(slot)] = rows
    return timeframe, made


@settings(max_examples=150, deadline=None)
@given(bars=finer_bars(), shuffled=st.randoms(use_true_random=False))
def test_whole_slots_give_exactly_their_bars_in_any_order(
    bars: tuple[FinerTimeframe, dict[int, list[Row]]], shuffled: random.Random
) -> None:
    timeframe, slots = bars
    rows = [row for slot in slots.values() for row in slot]
    shuffled.shuffle(rows)

    made = make_covers(raw(rows), np.array(list(slots)), timeframe=timeframe, now_ms=NOW_MS)

    expected = []
    for opened_ms, parts in slots.items():
        _, opens, highs, lows, closes, volumes = zip(*parts, strict=True)
        expected.append((opened_ms, opens[0], max(highs), min(lows), closes[-1]))
        volume = made["volume"][len(expected) - 1]
        assert np.isclose(volume, sum(volumes), rtol=1e-12, atol=0)
    columns = made.select("open", "high", "low", "close").rows()
    assert [(at, *row) for at, row in zip(epoch_ms(made["open_time"]).tolist(), columns, strict=True)] == expected
    cleaned = clean_candles(made.drop("made_of", "made_at"), timeframe=Timeframe.M15, now_ms=NOW_MS)
    assert len(cleaned.candles) == len(slots)


@settings(max_examples=150, deadline=None)
@given(bars=finer_bars(), data=st.data())
def test_hole_among_them_covers_nothing_and_leaves_the_others(
    bars: tuple[FinerTimeframe, dict[int, list[Row]]], data: st.DataObject
) -> None:
    timeframe, slots = bars
    holed = data.draw(st.sampled_from(sorted(slots)))
    at = data.draw(st.integers(0, len(slots[holed]) - 1))
    opened_ms, first, high, low, last, volume = slots[holed][at]
    in_its_place: list[list[Row]] = [
        [],
        [(opened_ms, first, low / 2, low, last, volume)],
        [(opened_ms, first, high, low, last, -1.0)],
        [(opened_ms + 1, first, high, low, last, volume)],
        [slots[holed][at], (opened_ms, first, high + 1, low, last, volume)],
    ]
    slots[holed][at : at + 1] = data.draw(st.sampled_from(in_its_place))

    rows = [row for slot in slots.values() for row in slot]
    made = make_covers(raw(rows), np.array(list(slots)), timeframe=timeframe, now_ms=NOW_MS)

    assert epoch_ms(made["open_time"]).tolist() == [slot for slot in slots if slot != holed]


@settings(max_examples=200, deadline=None)
@given(
    slots=st.sets(st.integers(0, 500), min_size=1, max_size=40).map(sorted),
    timeframe=st.sampled_from(FinerTimeframe),
    page_bars=st.integers(1, 200),
    max_pages=st.integers(1, 5),
)
def test_every_slot_gets_its_turn_within_pages_that_fit(
    slots: list[int], timeframe: FinerTimeframe, page_bars: int, max_pages: int
) -> None:
    slots_ms = np.array([at_ms(slot) for slot in slots])
    seen: set[int] = set()
    for turn in range(len(slots)):
        found = finer_pages(slots_ms, timeframe=timeframe, page_bars=page_bars, max_pages=max_pages, turn=turn)
        assert 1 <= len(found) <= max_pages
        assert found[0].covers(at_ms(slots[-1]))
        for part in found:
            assert part.end_ms - part.start_ms <= max(page_bars * timeframe.ms, STEP_MS)
        seen |= {slot for slot in slots for part in found if part.covers(at_ms(slot))}
    if max_pages > 1:
        assert seen == set(slots)
