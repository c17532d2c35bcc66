"""What is asked for: only what is missing, a day again, quarantined times until they are cured."""

from __future__ import annotations

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import plan_fetch
from mm_pipeline_tests.candle_samples import STEP_MS, at_ms, exchange_policy, walk


def plan(
    stored: pl.DataFrame,
    start: int,
    end: int,
    *,
    quarantined: tuple[float, ...] = (),
    asked_from: int | None = None,
    missing: tuple[int, ...] = (),
    reask_bars: int = 4,
    bars_per_fetch: int = 1000,
    max_page_bars: int = 100,
) -> list[tuple[float, float]]:
    parts = plan_fetch(
        stored,
        quarantined_ms=np.array([at_ms(slot) for slot in quarantined], dtype=np.int64),
        start_ms=at_ms(start),
        end_ms=at_ms(end),
        policy=exchange_policy(reask_bars=reask_bars, bars_per_fetch=bars_per_fetch, max_page_bars=max_page_bars),
        asked_from_ms=None if asked_from is None else at_ms(asked_from),
        missing_ms=np.array([at_ms(slot) for slot in missing], dtype=np.int64),
    )
    return [((part.start_ms - at_ms(0)) / STEP_MS, (part.end_ms - at_ms(0)) / STEP_MS) for part in parts]


def test_nothing_stored_asks_for_everything_in_parts() -> None:
    assert plan(walk([]), 0, 250, bars_per_fetch=100) == [(0, 100), (100, 200), (200, 250)]


def test_stored_candles_ask_for_what_is_newer_and_the_last_bars_again() -> None:
    assert plan(walk(range(50)), 0, 53) == [(46, 53)]


def test_reask_bars_zero_asks_only_for_what_is_newer() -> None:
    assert plan(walk(range(50)), 0, 53, reask_bars=0) == [(50, 53)]


def test_bars_missing_inside_are_not_asked_for_again_unless_they_are_to_be_confirmed() -> None:
    stored = walk([*range(20), *range(30, 50)])

    assert plan(stored, 0, 50) == [(46, 50)]
    assert plan(stored, 0, 50, missing=tuple(range(20, 30))) == [(46, 50), (20, 30)]


def test_missing_and_quarantined_times_share_pages() -> None:
    assert plan(walk(range(500)), 0, 500, quarantined=(20,), missing=(10, 109)) == [(496, 500), (10, 110)]


def test_earlier_start_grows_backwards_from_the_oldest_candle() -> None:
    """Backwards, so that a failure half-way leaves no unasked hole between what came and what was there."""
    assert plan(walk(range(250, 300)), 0, 302, bars_per_fetch=100) == [(296, 302), (200, 250), (100, 200), (0, 100)]


def test_time_before_the_listing_is_asked_for_once() -> None:
    assert plan(walk(range(250, 300)), 0, 302, asked_from=0) == [(296, 302)]
    assert plan(walk(range(250, 300)), 0, 302, asked_from=200) == [(296, 302), (0, 200)]


def test_quarantined_times_are_asked_for_again_near_ones_together() -> None:
    stored = walk([slot for slot in range(500) if slot not in {10, 12, 300}])

    assert plan(stored, 0, 500, quarantined=(300, 12, 10)) == [(496, 500), (10, 13), (300, 301)]


def test_quarantined_time_inside_another_range_costs_no_request() -> None:
    assert plan(walk(range(49)), 0, 51, quarantined=(49, 48)) == [(45, 51)]


def test_quarantined_time_outside_the_wanted_range_is_left_alone() -> None:
    assert plan(walk(range(500)), 100, 500, quarantined=(50,)) == [(496, 500)]


def test_misaligned_quarantined_time_asks_for_the_bar_it_falls_into() -> None:
    assert plan(walk(range(500)), 0, 500, quarantined=(10.5,)) == [(496, 500), (10, 11)]


def test_everything_wanted_is_stored_and_older_asks_for_nothing() -> None:
    assert plan(walk(range(500)), 0, 400) == []


def test_few_stored_candles_reask_no_further_than_the_oldest() -> None:
    assert plan(walk(range(10, 12)), 10, 13, reask_bars=96) == [(10, 13)]
