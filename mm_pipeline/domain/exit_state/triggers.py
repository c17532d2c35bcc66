"""The eleven triggers of the exit state, each a value against a threshold at every evaluation (SPEC section 6).

``margin`` is the signed distance past the threshold in the trigger's own unit; positive is fired. Where a trigger asks
several things at once, or over several bars, the margin is the smallest of theirs. Null inputs fire nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.exit_state.policy import ExitStatePolicy
from mm_pipeline.domain.indicators.trend import linear_drop
from mm_pipeline.domain.indicators.windows import Floats, trailing
from mm_pipeline.domain.market_view import MarketView, Timeline, Times

Bools = NDArray[np.bool_]

MANDATORY: Final = ("regime_trend", "range_invalidated", "closes_outside", "stop_loss_breached")
LATEST: Final = ("transition_persists", "half_life_doubled", "volatility_expanded")
WARNING: Final = ("transition_likely", "confidence_declining", "efficiency_rising", "reversion_slowing")
TRIGGERS: Final = (*MANDATORY, *LATEST, *WARNING)

SEEN_IN_BARS: Final = ("range_invalidated", "closes_outside", "stop_loss_breached")
"""Triggers that are facts about bars: they need no warm-up, and fire whenever the market is fresh."""


@dataclass(frozen=True)
class Trigger:
    """One trigger at n evaluations: arrays of shape (n,), NaN where it has no value."""

    value: Floats
    threshold: Floats
    margin: Floats
    fired: Bools


def market_triggers(market: MarketView, evaluated_ms: Times, policy: ExitStatePolicy) -> dict[str, Trigger]:
    """Triggers that depend on the market alone, by name."""
    return {
        "regime_trend": _regime_trend(market, evaluated_ms, policy),
        "transition_persists": _transition_persists(market, evaluated_ms, policy),
        "half_life_doubled": _half_life_doubled(market.hourly, evaluated_ms, policy),
        "volatility_expanded": _volatility_expanded(market.hourly, evaluated_ms, policy),
        "transition_likely": _transition_likely(market.hourly, evaluated_ms, policy),
        "confidence_declining": _confidence_declining(market.hourly, evaluated_ms, policy),
        "efficiency_rising": _efficiency_rising(market.hourly, evaluated_ms, policy),
        "reversion_slowing": _reversion_slowing(market.hourly, evaluated_ms, policy),
    }


def grid_triggers(analysis: pl.DataFrame, policy: ExitStatePolicy) -> dict[str, Trigger]:
    """Triggers that depend on the grid, by name; ``analysis`` has one row per evaluation."""
    excess = _floats(analysis, "range_excess_atr")
    closes = _floats(analysis, "closes_outside")
    lowest, stop = _floats(analysis, "lowest_low"), _floats(analysis, "stop_loss")
    return {
        "range_invalidated": _above(excess, policy.range_invalidated.buffer_atr),
        "closes_outside": _at_least(closes, policy.closes_outside.count),
        "stop_loss_breached": Trigger(lowest, stop, stop - lowest, lowest <= stop),
    }


def _regime_trend(market: MarketView, at: Times, policy: ExitStatePolicy) -> Trigger:
    is_trend = _is_verdict(market.hourly, at, "TREND")
    if policy.regime_trend.is_confirmed_on_4h:
        is_trend = np.minimum(is_trend, _is_verdict(market.four_hourly, at, "TREND", "TRANSITION"))
    margin = np.where(np.isnan(is_trend), np.nan, np.where(is_trend == 1, 1.0, -1.0))
    return Trigger(is_trend, np.ones(len(at)), margin, margin > 0)


def _transition_persists(market: MarketView, at: Times, policy: ExitStatePolicy) -> Trigger:
    """Either timeframe is enough; the one nearer to firing is shown. Runs are counted only as far as is asked."""
    rules = policy.transition_persists
    hourly = _transition_run(market.hourly, at, rules.bars_1h)
    four_hourly = _transition_run(market.four_hourly, at, rules.bars_4h)
    margin_1h, margin_4h = hourly - rules.bars_1h, four_hourly - rules.bars_4h
    is_1h = np.isnan(margin_4h) | (margin_1h >= margin_4h)
    margin = np.fmax(margin_1h, margin_4h)
    threshold = np.where(is_1h, float(rules.bars_1h), float(rules.bars_4h))
    return Trigger(np.where(is_1h, hourly, four_hourly), threshold, margin, margin >= 0)


def _half_life_doubled(hourly: Timeline, at: Times, policy: ExitStatePolicy) -> Trigger:
    rules = policy.half_life_doubled
    kappa = "ou_kappa" if rules.kappa == "plain" else "ou_kappa_upper"
    return _at_most(_largest(_over_baseline(hourly, kappa), rules.bars, hourly, at), 1.0 / rules.ratio)


def _volatility_expanded(hourly: Timeline, at: Times, policy: ExitStatePolicy) -> Trigger:
    return _above(hourly.pick(hourly.floats("volatility_expansion"), at), policy.volatility_expanded.ratio)


def _transition_likely(hourly: Timeline, at: Times, policy: ExitStatePolicy) -> Trigger:
    return _at_least(hourly.pick(hourly.floats("p_transition"), at), policy.transition_likely.p_transition)


def _confidence_declining(hourly: Timeline, at: Times, policy: ExitStatePolicy) -> Trigger:
    """Falls by its least-squares line at all, and from the first to the last bar by the threshold."""
    rules = policy.confidence_declining
    fitted, drop = (hourly.pick(fall, at) for fall in linear_drop(hourly.floats("confidence"), rules.bars))
    margin = np.minimum(fitted, drop - rules.drop)
    return Trigger(drop, np.full(len(at), rules.drop), margin, (fitted > 0) & (drop >= rules.drop))


def _efficiency_rising(hourly: Timeline, at: Times, policy: ExitStatePolicy) -> Trigger:
    """High, and above its value some bars ago, on every one of the bars it runs over."""
    rules = policy.efficiency_rising
    ratio = hourly.floats("efficiency_ratio_24")
    rise = ratio - _before(ratio, rules.rising_bars)
    excess = ratio - rules.efficiency_ratio
    smallest = trailing(lambda a, b: np.column_stack([a.min(axis=1), b.min(axis=1)]), rules.bars, excess, rise)
    excess, rise = (hourly.pick(column, at) for column in smallest.T)
    return Trigger(
        hourly.pick(ratio, at),
        np.full(len(at), rules.efficiency_ratio),
        np.minimum(excess, rise),
        (excess >= 0) & (rise > 0),
    )


def _reversion_slowing(hourly: Timeline, at: Times, policy: ExitStatePolicy) -> Trigger:
    rules = policy.reversion_slowing
    return _at_most(_largest(_over_baseline(hourly, "ou_kappa"), rules.bars, hourly, at), rules.ratio)


def _over_baseline(hourly: Timeline, kappa: str) -> Floats:
    return hourly.floats(kappa) / hourly.floats("ou_kappa_baseline")


def _largest(values: Floats, bars: int, timeline: Timeline, at: Times) -> Floats:
    """Largest of the last ``bars`` values at each evaluation; NaN where one of them has no value."""
    return timeline.pick(trailing(lambda window: window.max(axis=1), bars, values), at)


def _before(values: Floats, bars: int) -> Floats:
    return np.concatenate([np.full(min(bars, len(values)), np.nan), values[:-bars]])


def _is_verdict(timeline: Timeline, at: Times, *names: str) -> Floats:
    """1 where the shown verdict is one of the names, 0 where it is another, NaN where there is none."""
    is_named = timeline.frame["verdict"].is_in(names).cast(pl.Float64).to_numpy()
    return timeline.pick(is_named, at)


def _transition_run(timeline: Timeline, at: Times, needed: int) -> Floats:
    """Consecutive bars, up to ``needed``, on which the shown verdict has been TRANSITION."""
    is_transition = timeline.frame["verdict"].is_in(["TRANSITION"])
    position = np.arange(len(is_transition))
    last_other = np.maximum.accumulate(np.where(is_transition.fill_null(False).to_numpy(), -1, position))
    run = np.minimum(position - last_other, needed).astype(np.float64)
    run[is_transition.is_null().to_numpy()] = np.nan
    return timeline.pick(run, at)


def _at_least(value: Floats, threshold: float) -> Trigger:
    return Trigger(value, np.full(len(value), float(threshold)), value - threshold, value >= threshold)


def _at_most(value: Floats, threshold: float) -> Trigger:
    return Trigger(value, np.full(len(value), float(threshold)), threshold - value, value <= threshold)


def _above(value: Floats, threshold: float) -> Trigger:
    return Trigger(value, np.full(len(value), float(threshold)), value - threshold, value > threshold)


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).to_numpy()
