"""Simulated markets: 15m bars from a minute path through known regimes, the same for the same (seed, start).

Regimes and scripts of them are in :mod:`mm_pipeline.paper.markets.regimes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import polars as pl

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, SwitchingParameters, draw_scenario

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BAR_MS = Timeframe.M15.ms
_STEPS = 15
_STEPS_PER_H = 60
_BARS_PER_H = 4
_VOLUME_SIGMA = 0.6
"""Log-normal spread of volume that the bar's range does not explain (Binance ETH/USDT 15m: 0.9 in all)."""


def simulate_market(
    *,
    seed: int,
    start: datetime,
    bars: int,
    scenario: Sequence[Segment] | None = None,
    switching: SwitchingParameters | None = None,
    start_price: float = 3000.0,
    price_increment: float = 0.01,
    mean_volume: float = 1000.0,
    quiet_share: float = 0.0,
) -> pl.DataFrame:
    """Simulate a market's 15m bars with the true regime beside each bar.

    Parameters
    ----------
    seed
        Not negative. The same (seed, start) gives the same market; more ``bars`` continue it unchanged.
    start
        Open time of the first bar: aware, on a 15m boundary.
    bars
        Number of bars.
    scenario
        Script of regimes; its last segment goes on to the end. None: drawn by ``switching`` (or its defaults).
    start_price, price_increment
        Quote currency. Every price is a positive multiple of the increment.
    mean_volume
        Typical base volume of a bar.
    quiet_share
        Share of bars without a trade, 0 to 1: volume 0, flat at the last traded price.

    Returns
    -------
    polars.DataFrame
        ``open_time`` (Datetime ms UTC), ``open, high, low, close, volume`` (Float64), ``true_regime`` (String: RANGE,
        TRANSITION, TREND), ``is_jump`` (Boolean). One row per 15 minutes, quiet bars included.

    Raises
    ------
    ConfigError
        When an argument is out of range or both ``scenario`` and ``switching`` are given.
    """
    _check(seed=seed, start=start, bars=bars, quiet_share=quiet_share, scenario=scenario, switching=switching)
    start_ms = round(start.timestamp() * 1000)
    streams = np.random.SeedSequence((seed, start_ms // _BAR_MS)).spawn(5)
    script, shock, jump, quiet, volume = (np.random.default_rng(stream) for stream in streams)
    if scenario is None:
        scenario = draw_scenario(script, switching or SwitchingParameters(), hours=bars / _BARS_PER_H)
    draws = _Draws.of(shock, jump, bars)
    path, labels, is_jump = _log_path(scenario, draws, math.log(start_price))
    is_quiet = quiet.random(bars) < quiet_share
    is_quiet[0] = False  # there is no price before the first bar to stay at
    prices = _ohlc(np.exp(path), start_price, is_quiet, price_increment)
    range_log = np.log(prices[1] / prices[2])
    scale = np.exp(_VOLUME_SIGMA * volume.standard_normal(bars)) * (0.5 + 100 * range_log)
    times = start_ms + _BAR_MS * np.arange(bars, dtype=np.int64)
    return pl.DataFrame(
        {
            "open_time": pl.Series(times).cast(pl.Datetime("ms", "UTC")),
            **dict(zip(("open", "high", "low", "close"), prices, strict=True)),
            "volume": np.where(is_quiet, 0.0, np.maximum(np.round(mean_volume * scale, 4), 1e-4)),
            "true_regime": labels,
            "is_jump": is_jump,
        }
    )


@dataclass(frozen=True)
class _Draws:
    """All random numbers of the path. Each array is one stream read in time order, so more bars only append."""

    noise: Floats
    jump_chance: Floats
    jump_size: Floats
    jump_step: npt.NDArray[np.int64]

    @classmethod
    def of(cls, shock: np.random.Generator, jump: np.random.Generator, bars: int) -> _Draws:
        chance, size, step = (np.random.default_rng(seed) for seed in jump.integers(0, 2**63, 3))
        return cls(
            shock.standard_normal(bars * _STEPS),
            chance.random(bars),
            size.standard_normal(bars),
            step.integers(0, _STEPS, bars),
        )


def _log_path(scenario: Sequence[Segment], draws: _Draws, log_price: float) -> tuple[Floats, list[str], Flags]:
    """Log price at the end of every minute, (bars, 15); the regime of every bar; whether it holds a jump."""
    bars = draws.jump_chance.size
    path = np.empty((bars, _STEPS))
    labels: list[str] = []
    is_jump = np.zeros(bars, dtype=bool)
    first = 0
    for index, segment in enumerate(scenario):
        is_last = index == len(scenario) - 1
        stop = bars if is_last else min(first + max(round(segment.hours * _BARS_PER_H), 1), bars)
        if stop > first:
            chosen = slice(first, stop)
            path[chosen], is_jump[chosen] = _segment_path(segment, draws, chosen, log_price)
            labels += [segment.regime.value] * (stop - first)
            log_price, first = float(path[stop - 1, -1]), stop
    return path, labels, is_jump


def _segment_path(segment: Segment, draws: _Draws, chosen: slice, log_price: float) -> tuple[Floats, Flags]:
    parameters = segment.resolved
    jumps, is_jump = _jumps(parameters, draws, chosen)
    steps = jumps.size
    step = np.arange(1, steps + 1)
    sigma = parameters.volatility_pct_per_h / 100 / math.sqrt(_STEPS_PER_H)
    growth = 1 + (parameters.volatility_growth - 1) * np.minimum(step / (segment.hours * _STEPS_PER_H), 1.0)
    noise = draws.noise[chosen.start * _STEPS : chosen.stop * _STEPS]
    opened = log_price + math.log1p(parameters.opening_jump_pct / 100)
    level = opened if parameters.level is None else math.log(parameters.level)
    decay = 0.5 ** (1 / (parameters.half_life_h * _STEPS_PER_H))
    shocks = (sigma * growth * noise + jumps).tolist()
    deviation = np.fromiter(accumulate(shocks, lambda last, shock: shock + decay * last, initial=opened - level), float)
    line = level + parameters.drift_pct_per_h / 100 / _STEPS_PER_H * step
    is_jump[0] |= parameters.opening_jump_pct != 0
    return (line + deviation[1:]).reshape(-1, _STEPS), is_jump


def _jumps(parameters: RegimeParameters, draws: _Draws, chosen: slice) -> tuple[Floats, Flags]:
    """Log jumps per minute of the segment, and the bars that hold one."""
    is_jump = draws.jump_chance[chosen] < parameters.jumps_per_day / Timeframe.M15.bars_per_day
    size = draws.jump_size[chosen] * parameters.jump_pct / 100
    if parameters.drift_pct_per_h:
        size = np.abs(size) * math.copysign(1.0, parameters.drift_pct_per_h)
    jumps = np.zeros((is_jump.size, _STEPS))
    held = np.flatnonzero(is_jump)
    jumps[held, draws.jump_step[chosen][held]] = size[held]
    return jumps.ravel(), is_jump


def _ohlc(path: Floats, start_price: float, is_quiet: Flags, increment: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Bars of a minute path (bars, 15), on the price increment; a quiet bar is flat at the last traded close."""
    closes = path[:, -1]
    opens = np.concatenate(([start_price], closes[:-1]))
    highs = np.maximum(opens, path.max(axis=1))
    lows = np.minimum(opens, path.min(axis=1))
    last_traded = np.maximum.accumulate(np.where(is_quiet, 0, np.arange(closes.size)))
    flat = closes[last_traded]
    chosen = (np.where(is_quiet, flat, prices) for prices in (opens, highs, lows, closes))
    opened, high, low, closed = (_on_increment(prices, increment) for prices in chosen)
    return opened, high, low, closed


def _on_increment(prices: Floats, increment: float) -> Floats:
    exponent = Decimal(str(increment)).as_tuple().exponent
    decimals = max(-int(exponent), 0)
    return np.round(np.maximum(np.round(prices / increment), 1) * increment, decimals)


def _check(
    *,
    seed: int,
    start: datetime,
    bars: int,
    quiet_share: float,
    scenario: Sequence[Segment] | None,
    switching: SwitchingParameters | None,
) -> None:
    hint = "See simulate_market."
    if seed < 0 or bars < 1:
        raise ConfigError(f"seed {seed} and bars {bars} cannot make a market.", "Give seed >= 0 and bars >= 1.")
    if start.tzinfo is None or round(start.timestamp() * 1000) % _BAR_MS:
        raise ConfigError(f"start {start.isoformat()} is not a 15m boundary with a time zone.", hint)
    if not 0 <= quiet_share <= 1:
        raise ConfigError(f"quiet_share {quiet_share} is not a share.", "Give a number from 0 to 1.")
    if scenario is not None and (switching is not None or not scenario):
        raise ConfigError("a market needs either a scenario of one segment or more, or switching parameters.", hint)
