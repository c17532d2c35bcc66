"""Candles whatever comes in: accounted for, sorted, unique, valid, closed; bars and quality equal to plain loops."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.candles import (
    CleanCandles,
    DataPolicy,
    QuarantineReason,
    clean_candles,
    data_quality,
    epoch_ms,
    fill_gaps,
    merge_candles,
    resample,
)
from mm_pipeline.domain.market import Timeframe
from mm_pipeline_tests.candle_samples import DAY_MS, STEP_MS, Row, at_ms, data_policy, raw, walk

NOW_MS = at_ms(12) + 60_000
ODD_NUMBERS = st.sampled_from([None, math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e308, 5e-324])
NUMBERS = st.one_of(ODD_NUMBERS, st.floats(0.5, 2.0), st.just(1.0))
TIMES = st.one_of(
    st.none(),
    st.integers(0, 15).map(at_ms),
    st.integers(0, 8).map(at_ms),
    st.integers(0, 10).map(lambda slot: at_ms(slot) + 1),
)


@st.composite
def valid_rows(draw: st.DrawFn) -> Row:
    low, high = sorted((draw(st.floats(0.5, 2.0)), draw(st.floats(0.5, 2.0))))
    inside = st.floats(low, high)
    return (at_ms(draw(st.integers(0, 8))), draw(inside), high, low, draw(inside), draw(st.floats(0.0, 5.0)))


@st.composite
def answers(draw: st.DrawFn) -> pl.DataFrame:
    garbage = st.tuples(TIMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
    rows = draw(st.lists(st.one_of(valid_rows(), garbage), max_size=20))
    if rows:
        rows += draw(st.lists(st.sampled_from(rows), max_size=6))
    return raw(draw(st.permutations(rows)))


def clean(answer: pl.DataFrame) -> CleanCandles:
    return clean_candles(answer, timeframe=Timeframe.M15, now_ms=NOW_MS)


def identity(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple("nan" if isinstance(value, float) and math.isnan(value) else value for value in row)


def is_valid(row: tuple[Any, ...]) -> bool:
    time, opened, high, low, close, volume = row
    if time is None or time % STEP_MS or time + STEP_MS > NOW_MS:
        return False
    if any(value is None or not math.isfinite(value) for value in (opened, high, low, close, volume)):
        return False
    return (
        min(opened, high, low, close) > 0 and volume >= 0 and high >= max(opened, close) and low <= min(opened, close)
    )


def rows_of(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.with_columns(pl.col("open_time").to_physical()).rows()


@settings(max_examples=300, deadline=None)
@given(answers())
def test_clean_candles_are_what_a_plain_loop_believes(answer: pl.DataFrame) -> None:
    distinct = {identity(row): row for row in rows_of(answer)}
    versions = Counter(row[0] for row in distinct.values() if row[0] is not None)
    believed = [row for row in distinct.values() if is_valid(row) and versions[row[0]] == 1]

    result = clean(answer)

    assert rows_of(result.candles) == sorted(believed)
    assert result.duplicates_dropped == len(answer) - len(distinct)
    refused = Counter(identity(row[:-1]) for row in rows_of(result.quarantine))
    assert refused == Counter(identity(row) for row in distinct.values() if row not in believed)
    assert set(result.quarantine["reason"]) <= set(QuarantineReason)
    assert len(answer) == len(result.candles) + len(result.quarantine) + result.duplicates_dropped


@settings(max_examples=100, deadline=None)
@given(answers(), st.randoms(use_true_random=False))
def test_order_of_an_answer_changes_nothing(answer: pl.DataFrame, random: Any) -> None:
    order = list(range(len(answer)))
    random.shuffle(order)

    first, second = clean(answer), clean(answer[order])

    assert first.candles.equals(second.candles)
    assert Counter(map(identity, first.quarantine.rows())) == Counter(map(identity, second.quarantine.rows()))


@settings(max_examples=100, deadline=None)
@given(answers())
def test_clean_candles_cleaned_again_stay_as_they_are(answer: pl.DataFrame) -> None:
    candles = clean(answer).candles

    again = clean(candles)

    assert again.candles.equals(candles)
    assert again.quarantine.is_empty()


@settings(max_examples=100, deadline=None)
@given(answers(), answers())
def test_merge_keeps_every_time_once_and_the_later_content(first: pl.DataFrame, second: pl.DataFrame) -> None:
    stored, fetched = clean(first).candles, clean(second).candles

    merged, revisions = merge_candles(stored, fetched)

    expected = {row[0]: row for row in rows_of(stored)} | {row[0]: row for row in rows_of(fetched)}
    assert rows_of(merged) == sorted(expected.values())
    before, after = ({row[0]: row for row in rows_of(frame)} for frame in (stored, fetched))
    changed = [time for time in before if time in after and before[time] != after[time]]
    assert rows_of(revisions) == [before[time] + after[time][1:] for time in sorted(changed)]


SLOTS = st.sets(st.integers(0, 60), max_size=40)


@settings(max_examples=200, deadline=None)
@given(SLOTS, SLOTS)
def test_filled_bars_are_what_a_plain_loop_fills(real: set[int], quarantined: set[int]) -> None:
    candles = walk(sorted(real))
    expected: list[tuple[Any, ...]] = []
    for slot in range(min(real, default=0), max(real, default=-1) + 1):
        last = max(known for known in real if known <= slot)
        price = rows_of(candles.filter(pl.col("open_time").to_physical() == at_ms(last)))[0]
        if slot in real:
            expected.append((at_ms(slot), at_ms(slot + 1), at_ms(slot + 1), *price[1:], False))
        elif slot not in quarantined:
            ends = min(known for known in real if known > slot)
            expected.append((at_ms(slot), at_ms(slot + 1), at_ms(ends + 1), *[price[4]] * 4, 0.0, True))

    bars = fill_gaps(candles, quarantined_ms=np.array([at_ms(slot) for slot in quarantined], dtype=np.int64))

    times = pl.col("open_time", "close_time", "known_at").to_physical()
    assert bars.with_columns(times).rows() == expected


@settings(max_examples=100, deadline=None)
@given(SLOTS, SLOTS, st.sampled_from([Timeframe.H1, Timeframe.H4]))
def test_coarse_bars_are_the_complete_groups(real: set[int], quarantined: set[int], timeframe: Timeframe) -> None:
    parts = timeframe.ms // STEP_MS
    bars = fill_gaps(walk(sorted(real)), quarantined_ms=np.array([at_ms(slot) for slot in quarantined], dtype=np.int64))
    there = set(((epoch_ms(bars["open_time"]) - at_ms(0)) // STEP_MS).tolist())

    coarse = resample(bars, timeframe)

    complete = [slot for slot in range(0, 64, parts) if all(slot + part in there for part in range(parts))]
    assert epoch_ms(coarse["open_time"]).tolist() == [at_ms(slot) for slot in complete]
    for slot, row in zip(complete, coarse.iter_rows(named=True), strict=True):
        group = bars.filter(pl.col("open_time").to_physical().is_between(at_ms(slot), at_ms(slot + parts - 1)))
        assert (row["open"], row["close"]) == (group["open"][0], group["close"][-1])
        assert (row["high"], row["low"]) == (group["high"].max(), group["low"].min())
        assert row["volume"] == pytest.approx(group["volume"].sum(), rel=1e-12)
        assert row["is_synthetic"] == group["is_synthetic"].all()
        assert row["known_at"] == group["known_at"].max()


def plain_quality(
    bars: pl.DataFrame, quarantined: np.ndarray, evaluated: int, policy: DataPolicy, lookback_ms: int
) -> dict[str, Any]:
    """One evaluation, bar by bar."""
    window, day = evaluated - policy.warm_up_days * DAY_MS, evaluated - DAY_MS
    real = [
        (bar["close_time_ms"], bar["close"] * bar["volume"])
        for bar in bars.iter_rows(named=True)
        if not bar["is_synthetic"] and window < bar["close_time_ms"] <= evaluated
    ]
    closes = [close for close, _ in real]
    last_day = [quote for close, quote in real if close > day]
    filled = [
        bar
        for bar in bars.iter_rows(named=True)
        if bar["is_synthetic"] and closes and max(day, closes[0]) < bar["close_time_ms"] <= closes[-1]
    ]
    max_age_ms = policy.max_age.total_seconds() * 1000
    held_ms = policy.quarantine_window.total_seconds() * 1000
    row = {
        "newest_real_close_at": closes[-1] if closes else None,
        "is_stale": not closes or evaluated - closes[-1] > max_age_ms,
        "coverage": len(real) / (policy.warm_up_days * 96),
        "coverage_24h": len(last_day) / 96,
        "has_warm_up": bool(closes) and closes[0] - STEP_MS <= evaluated - lookback_ms,
        "has_quarantine": any(evaluated - held_ms < time + STEP_MS <= evaluated for time in quarantined.tolist()),
        "synthetic_share_24h": len(filled) / 96,
        "median_quote_volume_24h": float(np.median(last_day)) if last_day else None,
    }
    row["is_good"] = (
        not row["is_stale"]
        and row["coverage"] >= policy.min_coverage
        and row["coverage_24h"] >= policy.min_coverage_24h
        and row["has_warm_up"]
        and not row["has_quarantine"]
    )
    median = row["median_quote_volume_24h"]
    is_thin = median is None or median < policy.min_median_quote_volume_24h
    row["is_low_liquidity"] = is_thin or row["synthetic_share_24h"] > policy.max_synthetic_share_24h
    return row


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    gone_share=st.sampled_from([0.0, 0.01, 0.04, 0.3]),
    quarantined=st.lists(st.integers(0, 499), max_size=3),
    evaluated=st.lists(st.integers(-100, 900).map(lambda third: at_ms(0) + third * STEP_MS // 3 * 2), max_size=8),
)
def test_quality_is_what_a_plain_loop_finds(
    seed: int, gone_share: float, quarantined: list[int], evaluated: list[int]
) -> None:
    policy = data_policy(warm_up_days=3, min_median_quote_volume_24h=2_500.0)
    lookback_ms = 2 * DAY_MS
    kept = np.random.default_rng(seed).random(500) >= gone_share
    candles = walk([slot for slot in np.flatnonzero(kept).tolist() if slot not in quarantined], seed=seed)
    quarantined_ms = np.array([at_ms(slot) for slot in quarantined], dtype=np.int64)
    bars = fill_gaps(candles, quarantined_ms=quarantined_ms)
    plain_bars = bars.with_columns(close_time_ms=pl.col("close_time").to_physical())

    rows = data_quality(
        bars,
        quarantined_ms=quarantined_ms,
        evaluated_ms=np.array(evaluated, dtype=np.int64),
        policy=policy,
        lookback_ms=lookback_ms,
    ).with_columns(pl.col("newest_real_close_at").to_physical())

    for time, row in zip(evaluated, rows.iter_rows(named=True), strict=True):
        expected = plain_quality(plain_bars, quarantined_ms, time, policy, lookback_ms)
        assert {name: row[name] for name in expected} == expected
        assert row["is_good"] == (row["reasons"] == [])
        assert row["is_low_liquidity"] == (row["liquidity_reasons"] != [])


def test_cutting_recorded_candles_at_the_window_changes_no_row(recorded_data: Path) -> None:
    """Past beyond warm_up_days and future both cut off, the bars filled again: the same row, 500 times."""
    candles = pl.read_parquet(recorded_data / "binance_ETH-USDT_15m_2022-01-01_2025-09-30.parquet")
    rng = np.random.default_rng(20250101)
    thinned = candles.filter(pl.Series(rng.random(len(candles)) >= 0.03))
    opened_ms = epoch_ms(thinned["open_time"])
    gap_at = int(np.searchsorted(opened_ms, 1_680_000_000_000))
    thinned = pl.concat([thinned[:gap_at], thinned[gap_at + 96 * 8 :]])  # eight days away, for cuts inside a gap
    opened_ms = epoch_ms(thinned["open_time"])
    quarantined_ms = np.sort(rng.choice(epoch_ms(candles["open_time"]), 400))
    evaluated_ms = np.sort(rng.choice(np.arange(opened_ms[0], opened_ms[-1] + 4 * DAY_MS, STEP_MS), 480))
    near_gap_ms = opened_ms[gap_at - 1] + 51 * DAY_MS + np.arange(-10, 10) * STEP_MS
    evaluated_ms = np.concatenate([evaluated_ms, near_gap_ms])
    policy = data_policy(min_coverage=0.9)
    judged = {"quarantined_ms": quarantined_ms, "policy": policy, "lookback_ms": int(42.5 * DAY_MS)}

    whole = data_quality(fill_gaps(thinned, quarantined_ms=quarantined_ms), evaluated_ms=evaluated_ms, **judged)

    for index, time in enumerate(evaluated_ms.tolist()):
        seen = thinned.filter(
            pl.Series((opened_ms + STEP_MS > time - policy.warm_up_days * DAY_MS) & (opened_ms + STEP_MS <= time))
        )
        cut = data_quality(fill_gaps(seen, quarantined_ms=quarantined_ms), evaluated_ms=np.array([time]), **judged)
        assert cut.equals(whole[index]), time
    assert set(whole["is_good"]) == {True, False}
