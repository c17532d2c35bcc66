"""The regime verdict of each closed bar, its probabilities and its confidence (SPEC section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.indicators.trend import linear_drop
from mm_pipeline.domain.indicators.windows import Floats
from mm_pipeline.domain.regime.confidence import confidence_features
from mm_pipeline.domain.regime.features import has_range, transition_features
from mm_pipeline.domain.regime.logistic import LogisticSeries
from mm_pipeline.domain.regime.policy import LONGEST_SHOWN_WINDOW_BARS, RegimePolicy

VERDICTS: Final = ("RANGE_OK", "RANGE_WEAK", "TRANSITION", "TREND")
RANGE_OK, RANGE_WEAK, TRANSITION, TREND = range(4)
NO_VERDICT: Final = -1

DIRECTION_BARS: Final = 24
RAW_LOOKBACK_1H_BARS: Final = 240
RAW_LOOKBACK_4H_BARS: Final = 231
"""Bars of its own timeframe that a raw verdict is a function of; a 1h one also looks back 231 4h bars."""

Codes = NDArray[np.int64]


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
    has_lookback = _has_lookback(metrics, higher)
    direction = _direction(_floats(metrics, "close"))
    held = _confirmations(metrics, higher, direction, policy)
    confirmations = held.sum(axis=0)
    score = range_score(metrics, policy, with_reversion=higher is not None)
    nothing = np.full(len(metrics), np.nan)
    p_transition, is_in_sample = nothing, np.zeros(len(metrics), dtype=bool)
    close_ms = metrics["close_time"].dt.epoch("ms").to_numpy()
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
    shown = shown_verdict(raw, policy.shown.window_bars)
    has_shown = np.cumsum(has_lookback) >= LONGEST_SHOWN_WINDOW_BARS
    confidence = nothing
    if calibration is not None:
        features = confidence_features(metrics, raw=raw, shown=shown, p_transition=p_transition, range_score=score)
        confidence, is_in_confidence_sample = calibration.confidence.predict(features, close_ms)
        confidence = np.where(has_shown, confidence, np.nan)
        is_in_sample = is_in_sample | is_in_confidence_sample
    probabilities = _probabilities(p_transition, confirmations / len(held), score)
    is_trending = (shown == TREND) | ((shown == TRANSITION) & (confirmations >= 2))
    frame = metrics.select("open_time", "close_time", "known_at").with_columns(
        direction=pl.Series(direction),
        confirmations=pl.Series(confirmations, dtype=pl.Int64),
        range_score=pl.Series(score),
        **{name: pl.Series(values) for name, values in probabilities.items()},
        verdict_raw=_names(raw),
        verdict=_names(shown),
        confidence=pl.Series(confidence),
        is_in_sample=pl.Series(is_in_sample),
        primary_regime=pl.Series(np.where(is_trending, "TREND", "RANGE").tolist(), dtype=pl.String),
        secondary_signal=_secondary_signal(shown, p_transition, confidence, policy),
    )
    shown_columns = ("verdict", "confidence", "primary_regime", "secondary_signal")
    judged = [name for name in frame.columns if name not in ("open_time", "close_time", "known_at", *shown_columns)]
    return frame.with_columns(*_where(has_lookback, judged), *_where(has_shown, shown_columns)).with_columns(
        pl.col(pl.Float64).fill_nan(None)
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


def _has_lookback(metrics: pl.DataFrame, higher: pl.DataFrame | None) -> NDArray[np.bool_]:
    bar = np.arange(len(metrics))
    if higher is None:
        return bar >= RAW_LOOKBACK_4H_BARS - 1
    return (bar >= RAW_LOOKBACK_1H_BARS - 1) & ~np.isnan(_higher_gap(metrics, higher))


def _higher_gap(metrics: pl.DataFrame, higher: pl.DataFrame) -> Floats:
    """``ema_gap_atr`` of the newest 4h bar that closed no later than each 1h bar."""
    joined = metrics.select("close_time").join_asof(higher.select("close_time", "ema_gap_atr"), on="close_time")
    return _floats(joined, "ema_gap_atr")


def _direction(close: Floats) -> Codes:
    before = np.concatenate([np.full(min(DIRECTION_BARS, len(close)), np.nan), close[:-DIRECTION_BARS]])
    return np.asarray(np.nan_to_num(np.sign(close - before)), dtype=np.int64)


def _confirmations(
    metrics: pl.DataFrame, higher: pl.DataFrame | None, direction: Codes, policy: RegimePolicy
) -> NDArray[np.bool_]:
    """Which confirmations of a trend hold, shape (4, n) at 1h and (3, n) at 4h."""
    structure = metrics["swing_structure"].replace_strict({"UP": 1, "DOWN": -1, "MIXED": 0}, return_dtype=pl.Int64)
    agrees = (direction != 0) & (structure.fill_null(0).to_numpy() == direction)
    held = [
        _floats(metrics, "efficiency_ratio_24") >= policy.trend.efficiency_ratio,
        agrees,
        direction * _floats(metrics, "ema_gap_atr") >= policy.trend.ema_gap_atr,
    ]
    if higher is not None:
        held.append(direction * _higher_gap(metrics, higher) >= policy.trend.ema_gap_atr)
    return np.array(held)


def _is_transition(metrics: pl.DataFrame, policy: RegimePolicy) -> NDArray[np.bool_]:
    rules = policy.transition
    ratio, close = _floats(metrics, "efficiency_ratio_24"), _floats(metrics, "close")
    before = np.concatenate([np.full(min(rules.rising_bars, len(ratio)), np.nan), ratio[: -rules.rising_bars]])
    outside = (close > _floats(metrics, "range_high")) | (close < _floats(metrics, "range_low"))
    signals = [
        (ratio >= rules.efficiency_ratio) & (ratio > before),
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


def _secondary_signal(shown: Codes, p_transition: Floats, confidence: Floats, policy: RegimePolicy) -> pl.Series:
    rules = policy.weakening
    fitted, drop = linear_drop(confidence, rules.confidence_bars)
    declining = (fitted > 0) & (drop >= rules.confidence_drop)
    weakening = (shown == RANGE_WEAK) | (p_transition >= rules.p_transition) | declining
    signal = np.select([shown >= TRANSITION, weakening], ["BREAKING", "WEAKENING"], "STABLE")
    return pl.Series(signal.tolist(), dtype=pl.String)


def _names(codes: Codes) -> pl.Series:
    return pl.Series([VERDICTS[code] if code >= 0 else None for code in codes.tolist()], dtype=pl.String)


def _where(there: NDArray[np.bool_], names: Iterable[str]) -> list[pl.Expr]:
    """The columns, null where a judgement is not there."""
    return [pl.when(pl.lit(pl.Series(there))).then(pl.col(name)).alias(name) for name in names]


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).to_numpy()
