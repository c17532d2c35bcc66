"""How good forecasts of giveback were: coverage of p90 and pinball loss, pooled and by window, with honest intervals.

Neighbouring evaluations share most of their outcome, and markets move together: intervals come from resampling whole
weeks, all series of a week together; that of the share of windows is Wilson's, windows of one time counted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.application.studies.giveback import METHODS, Forecasts, joined
from mm_pipeline.domain.arrays import Bools, Floats, Integers
from mm_pipeline.domain.regime.forecast_quality import wilson_interval
from mm_pipeline.domain.risk.estimate import GIVEBACK_PROBABILITIES, HORIZONS

BLOCK_DAYS: Final = 7
WINDOW_DAYS: Final = 30
MIN_WINDOW_EVALUATIONS: Final = 720
"""A window with fewer (the ends of a series) says too little; one grid evaluated all the time has 2,880."""
DRAWS: Final = 2000
POOLED_BAND: Final = (0.87, 0.93)
WINDOW_BAND: Final = (0.85, 0.95)
WINDOWS_INSIDE: Final = 0.90
"""What SPEC 7 asks of p90: coverage of all evaluations together, of a window, and the share of windows that keep it."""

_DAY_MS: Final = 86_400_000
_P90: Final = list(GIVEBACK_PROBABILITIES).index("p90")
_TIE_PCT: Final = 1e-9
"""A stopped grid ends at one value on many paths as in fact: rounding must not decide whether that was covered."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Window:
    """Coverage of p90 in 30 days of one series, all shapes of grids together."""

    series: str
    start_ms: int
    evaluations: int
    coverage: float

    @property
    def is_inside(self) -> bool:
        """Whether it keeps what is asked of a window."""
        return WINDOW_BAND[0] <= self.coverage <= WINDOW_BAND[1]


@dataclass(frozen=True)
class Score:
    """One method at one horizon.

    Attributes
    ----------
    coverage, tied
        Share of evaluations at which no more was lost than p90 said, and how much of it lost exactly that: once a grid
        is stopped or sold out on the way, all paths end at one value.
    pinball_pct
        Mean pinball loss of p90 (Koenker & Bassett 1978), in % of the capital.
    pinball_to_normal
        That loss over the normal's.
    windows, windows_inside
        Windows in order of series and time, and the share of them that keep ``WINDOW_BAND``.
    """

    method: str
    horizon: str
    evaluations: int
    coverage: Estimate
    tied: float
    pinball_pct: Estimate
    pinball_to_normal: Estimate
    windows: tuple[Window, ...]
    windows_inside: Estimate

    @property
    def meets_pooled(self) -> bool:
        """Coverage of all evaluations lies in ``POOLED_BAND``."""
        return POOLED_BAND[0] <= self.coverage.value <= POOLED_BAND[1]

    @property
    def meets_windows(self) -> bool:
        """Windows enough lie in ``WINDOW_BAND``."""
        return self.windows_inside.value >= WINDOWS_INSIDE

    @property
    def beats_normal(self) -> bool:
        """Pinball loss below the normal's, by more than chance."""
        return self.pinball_to_normal.high < 1.0


def scores(forecasts: Mapping[str, Sequence[Forecasts]]) -> list[Score]:
    """Scores of every method at every horizon.

    Parameters
    ----------
    forecasts
        For each series (its market's name) its forecasts, one of each shape of grid.

    Returns
    -------
    Horizon by horizon in the order of ``METHODS``; none where there is no forecast.
    """
    series = {name: joined(parts) for name, parts in forecasts.items()}
    series = {name: found for name, found in series.items() if len(found.close_ms)}
    if not series:
        return []
    return [_score(series, method, k) for k in range(len(HORIZONS)) for method in METHODS]


def pinball(lost: Floats, said: Floats, probability: float) -> Floats:
    """Pinball loss of a quantile forecast, in the unit of both."""
    missed = lost - said
    return np.maximum(probability * missed, (probability - 1.0) * missed)


def _score(series: Mapping[str, Forecasts], method: str, horizon: int) -> Score:
    p90 = GIVEBACK_PROBABILITIES["p90"]
    pooled = joined(list(series.values()))
    lost, said = pooled.lost_pct[:, horizon], pooled.said_pct[method][:, horizon, _P90]
    is_covered = lost <= said + _TIE_PCT
    loss, normal_loss = (pinball(lost, pooled.said_pct[name][:, horizon, _P90], p90) for name in (method, "normal"))
    weeks = _Blocks.of(pooled.close_ms, BLOCK_DAYS)
    windows = _windows(series, method, horizon)
    return Score(
        method=method,
        horizon=str(HORIZONS[horizon]),
        evaluations=len(lost),
        coverage=weeks.ratio(is_covered, np.ones(len(lost))),
        tied=float(np.mean(np.abs(lost - said) <= _TIE_PCT)),
        pinball_pct=weeks.ratio(loss, np.ones(len(lost))),
        pinball_to_normal=weeks.ratio(loss, normal_loss),
        windows=tuple(windows),
        windows_inside=_share_inside(windows),
    )


def _windows(series: Mapping[str, Forecasts], method: str, horizon: int) -> list[Window]:
    found = []
    for name, forecasts in series.items():
        is_covered = forecasts.lost_pct[:, horizon] <= forecasts.said_pct[method][:, horizon, _P90] + _TIE_PCT
        starts, place = np.unique(forecasts.close_ms // (WINDOW_DAYS * _DAY_MS), return_inverse=True)
        counts, covered = np.bincount(place), np.bincount(place, weights=is_covered)
        found += [
            Window(name, int(start) * WINDOW_DAYS * _DAY_MS, int(count), float(hits / count))
            for start, count, hits in zip(starts, counts, covered, strict=True)
            if count >= MIN_WINDOW_EVALUATIONS
        ]
    return found


def _share_inside(windows: Sequence[Window]) -> Estimate:
    if not windows:
        return Estimate(np.nan, np.nan, np.nan)
    share = sum(window.is_inside for window in windows) / len(windows)
    low, high = wilson_interval(share, len({window.start_ms for window in windows}))
    return Estimate(share, low, high)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Which block of days each row belongs to, and how often each block is drawn in each resample."""

    block: Integers
    times_drawn: Integers

    @classmethod
    def of(cls, at_ms: Integers, days: int) -> _Blocks:
        names, block = np.unique(at_ms // (days * _DAY_MS), return_inverse=True)
        count = len(names)
        # Seeded, so that a rerun says the same.
        drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / max(count, 1)), size=DRAWS)
        return cls(block, drawn)

    def ratio(self, part: Floats | Bools, whole: Floats) -> Estimate:
        """Sum of one over sum of the other; NaN where there is nothing."""
        if not len(whole):
            return Estimate(np.nan, np.nan, np.nan)
        parts, wholes = (np.bincount(self.block, weights=values) for values in (part, whole))
        drawn, drawn_whole = self.times_drawn @ parts, self.times_drawn @ wholes
        low, high = np.quantile(drawn / drawn_whole, [0.025, 0.975])
        return Estimate(float(parts.sum() / wholes.sum()), float(low), float(high))
