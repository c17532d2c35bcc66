"""The triggers of the exit state, each a value against a threshold at every evaluation (SPEC section 6).

``margin`` is the signed distance past the threshold in the trigger's own unit; positive is fired. Where a trigger asks
several things at once, or over several bars, the margin is the smallest of theirs. Null inputs fire nothing. A trigger
that the policy takes as information has a value and no threshold, and does not fire.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats, Times
from mm_pipeline.domain.columns import floats_of
from mm_pipeline.domain.exit_state.policy import ExitStatePolicy
from mm_pipeline.domain.indicators.trend import linear_drop
from mm_pipeline.domain.indicators.windows import lagged, moving
from mm_pipeline.domain.market_view import AsOf, MarketView

_STOP_LIKELY: Final = "stop_likely"

SEEN_IN_BARS: Final = ("range_invalidated", "closes_outside", "stop_loss_breached")
"""Triggers that are facts about bars: they need no warm-up, and fire whenever the market is fresh."""


@dataclass(frozen=True)
class Trigger:
    """One trigger at n evaluations: arrays of shape (n,), NaN where it has no value."""

    value: Floats
    threshold: Floats
    margin: Floats
    fired: Bools

    def unknown_where(self, is_hidden: Bools) -> Trigger:
        """The same without a value where something is hidden and it has not fired on what is seen."""
        is_unknown = is_hidden & ~self.fired
        if not is_unknown.any():
            return self
        value, margin = (np.where(is_unknown, np.nan, each) for each in (self.value, self.margin))
        return replace(self, value=value, margin=margin)

    def as_information(self) -> Trigger:
        """The value alone."""
        nothing = np.full(len(self.value), np.nan)
        return Trigger(self.value, nothing, nothing, np.zeros(len(self.value), dtype=np.bool_))


def market_triggers(market: MarketView, evaluated_ms: Times, policy: ExitStatePolicy) -> dict[str, Trigger]:
    """Triggers that depend on the market alone, by name."""
    hourly, four_hourly = market.hourly.at(evaluated_ms), market.four_hourly.at(evaluated_ms)
    triggers = {
        "regime_trend": _regime_trend(hourly, four_hourly, policy),
        "transition_persists": _transition_persists(hourly, four_hourly, policy),
        "half_life_doubled": _half_life_doubled(hourly, policy),
        "volatility_expanded": _above(hourly.floats("volatility_expansion"), policy.volatility_expanded.ratio),
        "transition_likely": _at_least(hourly.floats("p_transition"), policy.transition_likely.p_transition),
        "confidence_declining": _confidence_declining(hourly, policy),
        "efficiency_rising": _efficiency_rising(hourly, policy),
        "reversion_slowing": _reversion_slowing(hourly, policy),
    }
    shown = set(policy.information)
    return {name: trigger.as_information() if name in shown else trigger for name, trigger in triggers.items()}


def stop_likely(
    analysis: pl.DataFrame, market: MarketView, evaluated_ms: Times, policy: ExitStatePolicy
) -> dict[str, Trigger]:
    """Whether the stop in force is likely to be touched within 24 h, by its name; not worked out where nobody asks."""
    if market.stops is None or not policy.asks(_STOP_LIKELY):
        unknown = _at_least(np.full(len(evaluated_ms), np.nan), policy.stop_likely.p_stop_24h)
        return {_STOP_LIKELY: unknown if policy.asks(_STOP_LIKELY) else unknown.as_information()}
    share = market.stops.p_stop_24h(evaluated_ms, floats_of(analysis["stop_loss"]))
    return {_STOP_LIKELY: _at_least(share, policy.stop_likely.p_stop_24h)}


def grid_triggers(analysis: pl.DataFrame, policy: ExitStatePolicy) -> dict[str, Trigger]:
    """Triggers that depend on the grid, by name; ``analysis`` has one row per evaluation.

    The stop's value and threshold are the price that came nearest to the stop in force at it, and that stop.
    """
    excess = floats_of(analysis["range_excess_atr"])
    closes = floats_of(analysis["closes_outside"])
    lowest, stop_then = floats_of(analysis["lowest_low"]), floats_of(analysis["lowest_low_stop"])
    stop = np.where(np.isnan(stop_then), floats_of(analysis["stop_loss"]), stop_then)
    return {
        "range_invalidated": _above(excess, policy.range_invalidated.buffer_atr),
        "closes_outside": _at_least(closes, policy.closes_outside.count),
        "stop_loss_breached": Trigger(lowest, stop, stop - lowest, lowest <= stop),
    }


def _regime_trend(hourly: AsOf, four_hourly: AsOf, policy: ExitStatePolicy) -> Trigger:
    is_trend = _is_shown(hourly, "TREND")
    if policy.regime_trend.is_confirmed_on_4h:
        is_trend = np.minimum(
            is_trend, np.maximum(_is_shown(four_hourly, "TREND"), _is_shown(four_hourly, "TRANSITION"))
        )
    margin = 2.0 * is_trend - 1.0
    return Trigger(is_trend, np.ones(len(is_trend)), margin, margin > 0)


def _transition_persists(hourly: AsOf, four_hourly: AsOf, policy: ExitStatePolicy) -> Trigger:
    """Either timeframe is enough; the one nearer to firing is shown. Runs are counted only as far as is asked."""
    rules = policy.transition_persists
    run_1h = _transition_run(hourly, rules.bars_1h)
    run_4h = _transition_run(four_hourly, rules.bars_4h)
    margin_1h, margin_4h = run_1h - rules.bars_1h, run_4h - rules.bars_4h
    is_1h = np.isnan(margin_4h) | (margin_1h >= margin_4h)
    margin = np.fmax(margin_1h, margin_4h)
    threshold = np.where(is_1h, float(rules.bars_1h), float(rules.bars_4h))
    return Trigger(np.where(is_1h, run_1h, run_4h), threshold, margin, margin >= 0)


def _half_life_doubled(hourly: AsOf, policy: ExitStatePolicy) -> Trigger:
    rules = policy.half_life_doubled
    kappa = "ou_kappa" if rules.kappa == "plain" else "ou_kappa_upper"
    return _at_most(_largest_over_baseline(hourly, kappa, rules.bars), 1.0 / rules.ratio)


def _confidence_declining(hourly: AsOf, policy: ExitStatePolicy) -> Trigger:
    """Falls by its least-squares line at all, and from the first to the last bar by the threshold."""
    rules = policy.confidence_declining
    fitted, drop = (hourly.pick(fall) for fall in linear_drop(hourly.timeline.floats("confidence"), rules.bars))
    margin = np.minimum(fitted, drop - rules.drop)
    return Trigger(drop, np.full(len(drop), rules.drop), margin, (fitted > 0) & (drop >= rules.drop))


def _efficiency_rising(hourly: AsOf, policy: ExitStatePolicy) -> Trigger:
    """High, and above its value some bars ago, on every one of the bars it runs over."""
    rules = policy.efficiency_rising
    ratio = hourly.timeline.floats("efficiency_ratio_24")
    rises = hourly.pick(moving(np.minimum, ratio - lagged(ratio, rules.rising_bars), rules.bars))
    excess = hourly.pick(moving(np.minimum, ratio - rules.efficiency_ratio, rules.bars))
    return Trigger(
        hourly.pick(ratio),
        np.full(len(excess), rules.efficiency_ratio),
        np.minimum(excess, rises),
        (excess >= 0) & (rises > 0),
    )


def _reversion_slowing(hourly: AsOf, policy: ExitStatePolicy) -> Trigger:
    rules = policy.reversion_slowing
    return _at_most(_largest_over_baseline(hourly, "ou_kappa", rules.bars), rules.ratio)


def _largest_over_baseline(hourly: AsOf, kappa: str, bars: int) -> Floats:
    """Largest share of its baseline that kappa had on the last ``bars`` bars; NaN where one of them has no value."""
    share = hourly.timeline.floats(kappa) / hourly.timeline.floats("ou_kappa_baseline")
    return hourly.pick(moving(np.maximum, share, bars))


def _is_shown(known: AsOf, verdict: str) -> Floats:
    """1 where this verdict is shown, 0 where another, NaN where none."""
    return known.pick(known.timeline.is_named("verdict", verdict))


def _transition_run(known: AsOf, needed: int) -> Floats:
    """Consecutive bars, up to ``needed``, on which the shown verdict has been TRANSITION; NaN where none is shown."""
    is_transition = known.timeline.is_named("verdict", "TRANSITION")
    position = np.arange(len(is_transition))
    last_other = np.maximum.accumulate(np.where(is_transition == 1, -1, position))
    run = np.minimum(position - last_other, needed)
    return known.pick(np.where(np.isnan(is_transition), np.nan, run))


def _at_least(value: Floats, threshold: float) -> Trigger:
    return Trigger(value, np.full(len(value), float(threshold)), value - threshold, value >= threshold)


def _at_most(value: Floats, threshold: float) -> Trigger:
    return Trigger(value, np.full(len(value), float(threshold)), threshold - value, value <= threshold)


def _above(value: Floats, threshold: float) -> Trigger:
    return Trigger(value, np.full(len(value), float(threshold)), value - threshold, value > threshold)
