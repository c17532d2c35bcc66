"""The regime verdict of each closed bar, its probabilities and its confidence (SPEC section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Codes, Floats
from mm_pipeline.domain.columns import epoch_ms, flag_column, float_column, floats_of, integer_column, name_column
from mm_pipeline.domain.indicators.trend import linear_drop
from mm_pipeline.domain.indicators.windows import lagged
from mm_pipeline.domain.regime.confidence import confidence_features
from mm_pipeline.domain.regime.features import has_range, transition_features
from mm_pipeline.domain.regime.logistic import LogisticSeries
from mm_pipeline.domain.regime.policy import LONGEST_SHOWN_WINDOW_BARS, RegimePolicy

VERDICTS: Final = ("RANGE_OK", "RANGE_WEAK", "TRANSITION", "TREND")
RANGE_OK, RANGE_WEAK, TRANSITION, TREND = range(4)
NO_VERDICT: Final = -1
PRIMARY_REGIMES: Final = ("RANGE", "TREND")
SECONDARY_SIGNALS: Final = ("STABLE", "WEAKENING", "BREAKING")

DIRECTION_BARS: Final = 24
RAW_LOOKBACK_1H_BARS: Final = 240
RAW_LOOKBACK_4H_BARS: Final = 231
"""Bars of its own timeframe that a raw verdict is a function of; a 1h one also looks back 231 4h bars."""


@dataclass(frozen=True)
class Calibration:
    """The two fitted models of the hourly verdict."""

    p_transition: LogisticSeries
    confidence: LogisticSeries


def market_regime(
    metrics: pl.DataFrame,
    *,
    policy: RegimePolicy,
    higher: pl.DataFrame | None = None,
    calibration: Calibration | None = None,
) -> pl.DataFrame:
    """Judge every closed bar.

    Parameters
    ----------
    metrics
        Output of :func:`~mm_pipeline.domain.metrics.market_metrics` at 1h (then ``higher``, the same at 4h, and
        ``calibration`` are needed) or at 4h (then neither is used: three confirmations, no ``p_transition``).
    policy
        Thresholds.

    Returns
    -------
    One row per bar: ``open_time, close_time, known_at, direction`` (-1, 0, 1), ``confirmations, range_score,
    p_range_ok, p_range_weak, p_transition, p_trend, verdict_raw, verdict, confidence`` (null at 4h),
    ``is_in_sample, primary_regime, secondary_signal``; null where a raw verdict's lookback is not there, and what is
    shown until the whole hysteresis window (24 bars) has raw verdicts.
    """
    close_ms = epoch_ms(metrics["close_time"])
    higher_gap = None if higher is None else _higher_gap(close_ms, higher)
    has_lookback = _has_lookback(len(metrics), higher_gap)
    direction = _direction(_floats(metrics, "close"))
    held = _confirmations(metrics, higher_gap, direction, policy)
    confirmations = held.sum(axis=0)
    score = range_score(metrics, policy, with_reversion=higher is not None)
    nothing = np.full(len(metrics), np.nan)
    p_transition, is_in_sample = nothing, np.zeros(len(metrics), dtype=bool)
    if calibration is not None:
        p_transition, is_in_sample = calibration.p_transition.predict(transition_features(metrics), close_ms)
    p_transition = np.where(has_lookback, p_transition, np.nan)
    needed = policy.trend.min_confirmations if higher is not None else policy.trend.min_confirmations_4h
    raw = np.select(
        [
            ~has_lookback,
            confirmations >= needed,
            (p_transition >= policy.transition.p_transition) | _is_transition(metrics, policy),
            score >= policy.range.min_score,
        ],
        [NO_VERDICT, TREND, TRANSITION, RANGE_OK],
        RANGE_WEAK,
    )
    has_shown = np.cumsum(has_lookback) >= LONGEST_SHOWN_WINDOW_BARS
    shown = shown_verdict(raw, policy.shown.window_bars)
    confidence = nothing
    if calibration is not None:
        features = confidence_features(metrics, raw=raw, shown=shown, p_transition=p_transition, range_score=score)
        confidence, is_in_confidence_sample = calibration.confidence.predict(features, close_ms)
        confidence = np.where(has_shown, confidence, np.nan)
        is_in_sample = is_in_sample | is_in_confidence_sample
    probabilities = _probabilities(p_transition, confirmations / len(held), score)

    def judged(values: Floats | Codes) -> Floats:
        return np.where(has_lookback, values, np.nan)

    def named(name: str, codes: Codes, names: Sequence[str]) -> pl.Series:
        return name_column(name, np.where(has_shown, codes, -1), names)

    return pl.DataFrame(
        [
            *(metrics[name] for name in ("open_time", "close_time", "known_at")),
            integer_column("direction", judged(direction)),
            integer_column("confirmations", judged(confirmations)),
            float_column("range_score", judged(score)),
            *(float_column(name, judged(values)) for name, values in probabilities.items()),
            name_column("verdict_raw", raw, VERDICTS),
            named("verdict", shown, VERDICTS),
            float_column("confidence", confidence),
            flag_column("is_in_sample", is_in_sample, has_lookback),
            named("primary_regime", _primary_regime(shown, confirmations, policy), PRIMARY_REGIMES),
            named("secondary_signal", _secondary_signal(shown, p_transition, confidence, policy), SECONDARY_SIGNALS),
        ]
    )


def range_score(metrics: pl.DataFrame, policy: RegimePolicy, *, with_reversion: bool) -> Floats:
    """Mean of the marks (0..1) for containment, touches, crossings and, at 1h, reversion; 0 where there is no range."""
    rules = policy.range
    touches = np.minimum(_floats(metrics, "touches_upper_72"), _floats(metrics, "touches_lower_72"))
    marks = [
        _floats(metrics, "containment_72"),
        np.minimum(touches, rules.full_touches) / rules.full_touches,
        np.minimum(_floats(metrics, "midline_crossings_72"), rules.full_crossings) / rules.full_crossings,
    ]
    if with_reversion:
        marks.append(np.clip(np.nan_to_num(-_floats(metrics, "ou_t")) / rules.full_dickey_fuller_t, 0.0, 1.0))
    return np.where(has_range(metrics), np.mean(marks, axis=0), 0.0)


def shown_verdict(raw: Codes, window_bars: int) -> Codes:
    """Newest raw verdict within the last ``window_bars`` bars that held on two bars in a row, else the raw one."""
    bar = np.arange(len(raw))
    held = np.zeros(len(raw), dtype=bool)
    held[1:] = (raw[1:] == raw[:-1]) & (raw[1:] != NO_VERDICT)
    newest: Codes = np.maximum.accumulate(np.where(held, bar, -1))
    return np.where((newest > 0) & (newest - 1 > bar - window_bars), raw[newest], raw)


def _has_lookback(length: int, higher_gap: Floats | None) -> Bools:
    bar = np.arange(length)
    if higher_gap is None:
        return bar >= RAW_LOOKBACK_4H_BARS - 1
    return (bar >= RAW_LOOKBACK_1H_BARS - 1) & ~np.isnan(higher_gap)


def _higher_gap(close_ms: Codes, higher: pl.DataFrame) -> Floats:
    """``ema_gap_atr`` of the newest 4h bar that closed no later than each 1h bar."""
    newest = np.searchsorted(epoch_ms(higher["close_time"]), close_ms, side="right") - 1
    return np.asarray(np.append(_floats(higher, "ema_gap_atr"), np.nan)[newest])


def _direction(close: Floats) -> Codes:
    return np.asarray(np.nan_to_num(np.sign(close - lagged(close, DIRECTION_BARS))), dtype=np.int64)


def _confirmations(metrics: pl.DataFrame, higher_gap: Floats | None, direction: Codes, policy: RegimePolicy) -> Bools:
    """Which confirmations of a trend hold, shape (4, n) at 1h and (3, n) at 4h."""
    is_up, is_down = (floats_of(metrics["swing_structure"] == name) == 1 for name in ("UP", "DOWN"))
    agrees = (is_up & (direction > 0)) | (is_down & (direction < 0))
    held = [
        _floats(metrics, "efficiency_ratio_24") >= policy.trend.efficiency_ratio,
        agrees,
        direction * _floats(metrics, "ema_gap_atr") >= policy.trend.ema_gap_atr,
    ]
    if higher_gap is not None:
        held.append(direction * higher_gap >= policy.trend.ema_gap_atr)
    return np.array(held)


def _is_transition(metrics: pl.DataFrame, policy: RegimePolicy) -> Bools:
    rules = policy.transition
    ratio, close = _floats(metrics, "efficiency_ratio_24"), _floats(metrics, "close")
    outside = (close > _floats(metrics, "range_high")) | (close < _floats(metrics, "range_low"))
    signals = [
        (ratio >= rules.efficiency_ratio) & (ratio > lagged(ratio, rules.rising_bars)),
        _floats(metrics, "volatility_expansion") > rules.volatility_expansion,
        has_range(metrics) & outside,
    ]
    return np.asarray(np.sum(signals, axis=0) >= rules.min_signals)


def _probabilities(p_transition: Floats, trend_share: Floats, score: Floats) -> dict[str, Floats]:
    """Split what is not transition by the confirmations held and the range score; the four sum to 1."""
    rest = 1.0 - np.nan_to_num(p_transition)
    p_trend = rest * trend_share
    p_range = rest - p_trend
    return {
        "p_range_ok": p_range * score,
        "p_range_weak": p_range * (1.0 - score),
        "p_transition": p_transition,
        "p_trend": p_trend,
    }


def _primary_regime(shown: Codes, confirmations: Codes, policy: RegimePolicy) -> Codes:
    is_leaning = confirmations >= policy.trend.leaning_confirmations
    is_trending = (shown == TREND) | ((shown == TRANSITION) & is_leaning)
    return np.where(is_trending, 1, 0)


def _secondary_signal(shown: Codes, p_transition: Floats, confidence: Floats, policy: RegimePolicy) -> Codes:
    rules = policy.weakening
    fitted, drop = linear_drop(confidence, rules.confidence_bars)
    declining = (fitted > 0) & (drop >= rules.confidence_drop)
    is_weakening = (shown == RANGE_WEAK) | (p_transition >= rules.p_transition) | declining
    return np.select([shown >= TRANSITION, is_weakening], [2, 1], 0)


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return floats_of(frame[name])
