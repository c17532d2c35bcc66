"""Data quality: each rule flips the verdict alone, and says which value broke which threshold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.candles import QUALITY_SCHEMA, data_quality, fill_gaps
from mm_pipeline_tests.candle_samples import DAY_MS, at_ms, candle, data_policy, raw, walk

DAYS = 10
LOOKBACK_MS = 8 * DAY_MS
LAST = DAYS * 96


def judge(
    candles: pl.DataFrame,
    *,
    at: float = LAST,
    quarantined: list[float] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    policy = data_policy(**({"warm_up_days": DAYS, "min_median_quote_volume_24h": 0.0} | changes))
    quarantined_ms = None if quarantined is None else np.array([at_ms(slot) for slot in quarantined])
    bars = fill_gaps(candles, quarantined_ms=quarantined_ms)
    frame = data_quality(
        bars,
        quarantined_ms=quarantined_ms,
        evaluated_ms=np.array([at_ms(at)]),
        policy=policy,
        lookback_ms=LOOKBACK_MS,
    )
    assert dict(frame.schema) == QUALITY_SCHEMA
    return frame.row(0, named=True)


def without(*missing: int) -> pl.DataFrame:
    return walk(slot for slot in range(LAST) if slot not in set(missing))


def test_complete_fresh_candles_are_good() -> None:
    row = judge(walk(range(LAST)))

    assert row["is_good"]
    assert row["reasons"] == []
    assert (row["coverage"], row["coverage_24h"], row["synthetic_share_24h"]) == (1.0, 1.0, 0.0)


def test_age_of_max_age_is_fresh_and_a_moment_more_is_stale() -> None:
    fresh = judge(walk(range(LAST)), at=LAST + 35 / 15)
    stale = judge(walk(range(LAST)), at=LAST + 35 / 15 + 0.001)

    assert (fresh["is_stale"], stale["is_stale"]) == (False, True)
    assert stale["reasons"] == ["newest bar closed 35 min ago, more than 35 min (data.max_age)"]


def test_flat_bars_do_not_hide_that_nothing_real_came() -> None:
    """The bars up to a later real one are filled, but an evaluation inside the gap is stale as it was then."""
    candles = walk([*range(LAST - 10), LAST - 1])

    assert judge(candles, at=LAST - 5)["reasons"] == ["newest bar closed 75 min ago, more than 35 min (data.max_age)"]
    assert judge(candles)["is_good"] is True


def test_coverage_below_the_minimum_is_named_with_its_counts() -> None:
    gone = range(200, 200 + 49)

    assert judge(without(*gone[:-1]))["is_good"]
    assert judge(without(*gone))["reasons"] == [
        "911 of 960 bars in the last 10 days (0.949), less than 0.95 (data.min_coverage)"
    ]


def test_coverage_of_the_last_day_is_judged_apart() -> None:
    gone = range(LAST - 50, LAST - 50 + 10)

    assert judge(without(*gone[:-1]))["is_good"]
    assert judge(without(*gone))["reasons"] == [
        "86 of 96 bars in the last 24 h (0.896), less than 0.9 (data.min_coverage_24h)"
    ]


def test_history_shorter_than_the_lookback_lacks_warm_up() -> None:
    enough = judge(walk(range(LAST))[2 * 96 :], min_coverage=0.5)
    short = judge(walk(range(LAST))[2 * 96 + 1 :], min_coverage=0.5)

    assert enough["has_warm_up"] is True
    assert short["has_warm_up"] is False
    assert short["reasons"] == ["bars reach back 7.99 days, less than 8 within data.warm_up_days (10)"]


def test_bars_before_the_window_are_no_warm_up() -> None:
    """A bar from before the window and a gap over its start: the window alone decides."""
    candles = walk([0, *range(3 * 96 + 5, LAST + 96)])

    assert judge(candles, at=LAST + 96, min_coverage=0.5)["has_warm_up"] is False


def test_quarantined_bar_counts_for_the_quarantine_window_after_its_close() -> None:
    held = judge(without(LAST - 96), quarantined=[LAST - 96])
    over = judge(without(LAST - 97), quarantined=[LAST - 97])

    assert (held["has_quarantine"], held["is_good"]) == (True, False)
    assert held["reasons"] == ["the bar of 2025-01-10 00:00 UTC is quarantined, within 24 h (data.quarantine_window)"]
    assert (over["has_quarantine"], over["is_good"]) == (False, True)


def test_quarantined_bar_that_has_not_closed_yet_is_not_seen() -> None:
    assert judge(walk(range(LAST)), quarantined=[LAST])["is_good"]
    assert not judge(walk(range(LAST)), at=LAST + 1, quarantined=[LAST])["is_good"]


def test_no_candles_at_all_are_not_good_and_say_so() -> None:
    row = judge(walk([]))

    assert row["is_good"] is False
    assert row["newest_real_close_at"] is None
    assert row["reasons"][0] == "no bar in the last 10 days; the newest may be 35 min old (data.max_age)"
    assert row["is_low_liquidity"] is True


def test_thin_market_is_low_liquidity_and_still_good() -> None:
    row = judge(walk(range(LAST)), min_median_quote_volume_24h=1e6)

    assert (row["is_low_liquidity"], row["is_good"], row["reasons"]) == (True, True, [])
    assert "data.min_median_quote_volume_24h" in row["liquidity_reasons"][0]


def test_many_bars_without_trades_are_low_liquidity() -> None:
    gone = range(LAST - 40, LAST - 35)

    assert judge(without(*gone[:-1]))["is_low_liquidity"] is False
    row = judge(without(*gone))
    assert row["liquidity_reasons"] == [
        "5 of 96 bars of the last 24 h had no trades (0.052), more than 0.05 (data.max_synthetic_share_24h)"
    ]


def test_gap_over_the_start_of_the_window_counts_only_bars_after_its_first_real_one() -> None:
    """Three quiet days, judged on two: what lies before the window must not matter, or a cut history would differ."""
    resumed = walk([0, *range(3 * 96, 3 * 96 + 20)])
    cut = resumed[1:]

    rows = [judge(candles, at=3 * 96 + 20, warm_up_days=2) for candles in (resumed, cut)]

    assert rows[0] == rows[1]
    assert rows[0]["synthetic_share_24h"] == 0.0


def test_median_quote_volume_is_over_real_bars_of_the_last_day() -> None:
    candles = raw([candle(slot, 100.0, 1.0 + slot) for slot in range(LAST) if slot != LAST - 3])

    expected = np.median([100.0 * (1.0 + slot) for slot in range(LAST - 96, LAST) if slot != LAST - 3])
    assert judge(candles)["median_quote_volume_24h"] == pytest.approx(expected, rel=1e-12)


def test_evaluation_between_two_closes_sees_what_the_close_before_saw() -> None:
    at_close = judge(walk(range(LAST + 5)), at=LAST)
    between = judge(walk(range(LAST + 5)), at=LAST + 0.9)

    assert between | {"evaluated_at": None} == at_close | {"evaluated_at": None}
    assert between["evaluated_at"] - at_close["evaluated_at"] == timedelta(minutes=13, seconds=30)


def test_rows_follow_the_order_of_the_evaluations() -> None:
    evaluated_ms = np.array([at_ms(LAST), at_ms(5), at_ms(LAST - 1)])

    frame = data_quality(
        fill_gaps(walk(range(LAST)), quarantined_ms=None),
        quarantined_ms=None,
        evaluated_ms=evaluated_ms,
        policy=data_policy(warm_up_days=DAYS),
        lookback_ms=LOOKBACK_MS,
    )

    assert frame["evaluated_at"].to_physical().to_list() == evaluated_ms.tolist()
    assert frame["coverage"].to_list() == [1.0, 5 / 960, 959 / 960]
