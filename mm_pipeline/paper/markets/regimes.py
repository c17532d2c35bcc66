"""Regimes of a simulated market: their parameters, a script of them, and a random script.

How bars are made from them is in :mod:`mm_pipeline.paper.markets.simulation`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from mm_pipeline.domain.errors import ConfigError


class TrueRegime(StrEnum):
    """What a simulated market really does in a bar."""

    RANGE = "RANGE"
    TRANSITION = "TRANSITION"
    TREND = "TREND"


@dataclass(frozen=True, kw_only=True)
class RegimeParameters:
    """Log price = level line + an Ornstein-Uhlenbeck process around it (a random walk when it never reverts).

    Attributes
    ----------
    half_life_h
        Half-life of a deviation from the level line in hours; ``inf`` for a random walk.
    volatility_pct_per_h
        Standard deviation of an hour's shocks, in percent.
    volatility_growth
        Volatility at the end of the segment over that at its start (linear between; then it holds).
    drift_pct_per_h
        Slope of the level line, in percent per hour.
    jumps_per_day, jump_pct
        Expected number of jumps a day and the standard deviation of one, in percent. With a drift, jumps go its way.
    opening_jump_pct
        A jump at the segment's first moment, in percent of the price (negative: down); its bar is flagged.
    level
        Price of the level line at the segment's start; None for the price found there.
    """

    half_life_h: float = math.inf
    volatility_pct_per_h: float
    volatility_growth: float = 1.0
    drift_pct_per_h: float = 0.0
    jumps_per_day: float = 0.0
    jump_pct: float = 1.0
    opening_jump_pct: float = 0.0
    level: float | None = None

    def __post_init__(self) -> None:
        positive = {"half_life_h": self.half_life_h, "volatility_growth": self.volatility_growth}
        not_negative = {
            "volatility_pct_per_h": self.volatility_pct_per_h,
            "jumps_per_day": self.jumps_per_day,
            "jump_pct": self.jump_pct,
        }
        wrong = [name for name, value in positive.items() if not value > 0]
        wrong += [name for name, value in not_negative.items() if not value >= 0]
        wrong += ["opening_jump_pct"] * (not self.opening_jump_pct > -100)
        wrong += ["level"] * (self.level is not None and not self.level > 0)
        if wrong:
            raise ConfigError(f"regime parameters out of range: {', '.join(wrong)}.", "See RegimeParameters.")


DEFAULT_PARAMETERS: Mapping[TrueRegime, RegimeParameters] = MappingProxyType(
    {
        TrueRegime.RANGE: RegimeParameters(
            half_life_h=4.0, volatility_pct_per_h=0.42, jumps_per_day=0.05, jump_pct=2.0
        ),
        TrueRegime.TRANSITION: RegimeParameters(
            half_life_h=24.0,
            volatility_pct_per_h=0.57,
            volatility_growth=1.8,
            drift_pct_per_h=0.10,
            jumps_per_day=0.2,
            jump_pct=2.0,
        ),
        TrueRegime.TREND: RegimeParameters(
            volatility_pct_per_h=0.57, drift_pct_per_h=0.35, jumps_per_day=0.1, jump_pct=2.0
        ),
    }
)
"""Hourly volatilities are the lower quartile (0.42), median (0.57) and 90 % point (1.05) over the days of
Binance ETH/USDT 15m candles, 2022-01 to 2025-09, whose 15m returns beyond 2.8 % come 0.1 times a day;
half-lives and drifts are chosen to be plain, not measured."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of one regime. ``parameters`` None: the regime's defaults."""

    regime: TrueRegime
    hours: float
    parameters: RegimeParameters | None = None

    def __post_init__(self) -> None:
        if not self.hours >= 0.25:
            raise ConfigError(f"a segment of {self.hours} hours holds no 15m bar.", "Give 0.25 hours or more.")

    @property
    def resolved(self) -> RegimeParameters:
        """The parameters in force."""
        return self.parameters or DEFAULT_PARAMETERS[self.regime]


def mirrored(parameters: RegimeParameters) -> RegimeParameters:
    """The same regime the other way up: drift and opening jump change their sign."""
    return replace(
        parameters,
        drift_pct_per_h=-parameters.drift_pct_per_h,
        opening_jump_pct=-parameters.opening_jump_pct,
    )


@dataclass(frozen=True, kw_only=True)
class SwitchingParameters:
    """A semi-Markov chain RANGE -> TRANSITION -> (TREND | RANGE), TREND -> (RANGE | TRANSITION).

    Durations are exponential above ``minimum_h``; the volatility and drift of each segment are the regime's
    times a log-normal factor of standard deviation ``spread``; half of the departures go down.
    """

    range_h: float = 60.0
    transition_h: float = 10.0
    trend_h: float = 24.0
    minimum_h: float = 4.0
    transition_to_trend: float = 0.6
    trend_to_range: float = 0.7
    spread: float = 0.25
    regimes: Mapping[TrueRegime, RegimeParameters] = field(default_factory=lambda: DEFAULT_PARAMETERS)


def draw_scenario(random: np.random.Generator, switching: SwitchingParameters, *, hours: float) -> tuple[Segment, ...]:
    """Draw segments, beginning with a range, until they cover ``hours``.

    A longer scenario from the same generator state begins with the shorter one.
    """
    mean_h = {
        TrueRegime.RANGE: switching.range_h,
        TrueRegime.TRANSITION: switching.transition_h,
        TrueRegime.TREND: switching.trend_h,
    }
    segments: list[Segment] = []
    regime, direction, covered_h = TrueRegime.RANGE, 1.0, 0.0
    while covered_h < hours:
        duration, volatility_factor, drift_factor, branch, coin = _draws(random, switching.spread)
        length_h = switching.minimum_h + duration * max(mean_h[regime] - switching.minimum_h, 0.0)
        length_h = max(round(length_h * 4) / 4, 0.25)
        if regime is TrueRegime.TRANSITION:
            direction = 1.0 if coin < 0.5 else -1.0
        base = switching.regimes[regime]
        parameters = replace(
            base,
            volatility_pct_per_h=base.volatility_pct_per_h * volatility_factor,
            drift_pct_per_h=base.drift_pct_per_h * drift_factor * direction,
        )
        segments.append(Segment(regime=regime, hours=length_h, parameters=parameters))
        covered_h += length_h
        regime = _next_regime(regime, branch, switching)
    return tuple(segments)


def _draws(random: np.random.Generator, spread: float) -> tuple[float, float, float, float, float]:
    duration = float(random.exponential())
    factors = np.exp(random.normal(0.0, spread, 2))
    branch, coin = random.random(2)
    return duration, float(factors[0]), float(factors[1]), float(branch), float(coin)


def _next_regime(regime: TrueRegime, branch: float, switching: SwitchingParameters) -> TrueRegime:
    if regime is TrueRegime.RANGE:
        return TrueRegime.TRANSITION
    if regime is TrueRegime.TRANSITION:
        return TrueRegime.TREND if branch < switching.transition_to_trend else TrueRegime.RANGE
    return TrueRegime.RANGE if branch < switching.trend_to_range else TrueRegime.TRANSITION
