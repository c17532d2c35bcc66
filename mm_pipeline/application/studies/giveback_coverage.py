"""How good forecasts of giveback were: coverage of quantiles, 30-day windows, pinball loss over a normal's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.application.studies.giveback import PEER_QUANTILE, Forecasts
from mm_pipeline.application.studies.resampling import Estimate, Weeks
from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.risk import GIVEBACK_PROBABILITIES, HORIZONS

WINDOW_DAYS: Final = 30
MIN_WINDOW_SHARE: Final = 0.25
"""A window with fewer evaluations, of those that one grid evaluated all the time has, says too little."""
WINDOW_BAND: Final = (0.85, 0.95)
"""What SPEC 7 asks of p90 in a window."""
POOLED = "pooled"
_WINDOW_MS: Final = WINDOW_DAYS * 86_400_000
_STEP_MS: Final = 900_000


@dataclass(frozen=True)
class Window:
    """Coverage of p90 in 30 days of one market, all shapes of grids together."""

    market: str
    start_ms: int
    evaluations: int
    coverage: float

    @property
    def is_inside(self) -> bool:
        """Whether it keeps what is asked of a window."""
        return WINDOW_BAND[0] <= self.coverage <= WINDOW_BAND[1]


@dataclass(frozen=True)
class Score:
    """One market, or all of them pooled, at one horizon.

    Attributes
    ----------
    evaluations
        How many were judged.
    coverage
        For each quantile the share of evaluations at which no more was lost than it said, ties spread.
    windows
        In order of market and time.
    pinball_pct, pinball_to_normal
        Mean pinball loss of p90 (Koenker & Bassett 1978) in % of the capital, and over that of the normal.
    """

    name: str
    horizon: str
    evaluations: int
    coverage: dict[str, Estimate]
    windows: tuple[Window, ...]
    pinball_pct: float
    pinball_to_normal: Estimate

    @property
    def windows_in_band(self) -> float:
        """Share of windows that keep the band; NaN where there is no window."""
        return sum(window.is_inside for window in self.windows) / len(self.windows) if self.windows else np.nan


def scores(forecasts: Mapping[str, Sequence[Forecasts]], *, every: int = 1) -> list[Score]:
    """Scores of every market and of all together, at every horizon.

    Parameters
    ----------
    forecasts
        For each market its forecasts, one of each shape of grid.
    every
        How many 15m bars lie between two evaluations.

    Returns
    -------
    Market by market in their order, ``pooled`` last, horizon by horizon; none where there is no forecast.
    """
    markets = {name: Forecasts.joined(parts) for name, parts in forecasts.items()}
    markets = {name: found for name, found in markets.items() if len(found.close_ms)}
    if not markets:
        return []
    groups = {name: {name: found} for name, found in markets.items()} | {POOLED: markets}
    return [_score(name, group, k, every) for name, group in groups.items() for k in range(len(HORIZONS))]


def pinball(lost: Floats, said: Floats, probability: float) -> Floats:
    """Pinball loss of a quantile forecast, in the unit of both."""
    missed = lost - said
    return np.maximum(probability * missed, (probability - 1.0) * missed)


def _score(name: str, markets: Mapping[str, Forecasts], horizon: int, every: int) -> Score:
    pooled = Forecasts.joined(list(markets.values()))
    lost, probability = pooled.lost_pct[:, horizon], GIVEBACK_PROBABILITIES[PEER_QUANTILE]
    loss, normal_loss = (pinball(lost, said[:, horizon], probability) for said in (pooled.said_pct, pooled.normal_pct))
    weeks = Weeks.of(pooled.close_ms)
    return Score(
        name=name,
        horizon=HORIZONS[horizon],
        evaluations=len(lost),
        coverage={
            quantile: weeks.mean((pooled.place[:, horizon] <= share).astype(float))
            for quantile, share in GIVEBACK_PROBABILITIES.items()
        },
        windows=tuple(window for name, found in markets.items() for window in _windows(name, found, horizon, every)),
        pinball_pct=float(loss.mean()),
        pinball_to_normal=weeks.ratio(loss, normal_loss),
    )


def _windows(market: str, forecasts: Forecasts, horizon: int, every: int) -> list[Window]:
    is_covered = forecasts.place[:, horizon] <= GIVEBACK_PROBABILITIES[PEER_QUANTILE]
    starts, place = np.unique(forecasts.close_ms // _WINDOW_MS, return_inverse=True)
    counts, covered = np.bincount(place), np.bincount(place, weights=is_covered)
    return [
        Window(market, int(start) * _WINDOW_MS, int(count), float(hits / count))
        for start, count, hits in zip(starts, counts, covered, strict=True)
        if count >= MIN_WINDOW_SHARE * _WINDOW_MS / (_STEP_MS * every)
    ]
