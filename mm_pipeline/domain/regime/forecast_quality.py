"""How good probabilities were that were said beforehand: Brier score and skill, log loss, reliability curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats

RELIABILITY_BINS: Final = 10
INTERVAL_Z: Final = 1.959963984540054
"""97.5 % point of the normal: intervals are two-sided at 95 %."""
BLOCK_DAYS: Final = 7
"""Days resampled together: outcomes of neighbouring bars share up to 7 of 8 hours, and volatility stays for days."""
BOOTSTRAP_DRAWS: Final = 2000
_DAY_MS: Final = 86_400_000
_SMALLEST: Final = 1e-12


@dataclass(frozen=True)
class ReliabilityBin:
    """Bars whose probability fell into one tenth of 0..1.

    ``share_low`` and ``share_high`` are Wilson's 95 % interval (Wilson 1927). It takes bars as independent; their
    outcomes overlap, so the true interval is wider.
    """

    count: int
    mean_predicted: float
    observed_share: float
    share_low: float
    share_high: float


@dataclass(frozen=True)
class ForecastQuality:
    """Scores of probabilities against what happened, beside those of always saying the fit window's base rate.

    Attributes
    ----------
    rows
        Bars judged.
    base_rate
        Observed share of the outcome on these bars.
    brier, brier_of_base_rate
        Mean squared difference between probability and outcome (Brier 1950), of the model and of the base rate known
        when it was fitted.
    skill, skill_low, skill_high
        ``1 - brier / brier_of_base_rate`` with its 95 % interval from a bootstrap of blocks of ``BLOCK_DAYS`` days,
        all markets of a block together.
    log_loss
        Mean of ``-ln`` of the probability given to what happened.
    reliability
        The bins that have bars, from low to high.
    """

    rows: int
    base_rate: float
    brier: float
    brier_of_base_rate: float
    skill: float
    skill_low: float
    skill_high: float
    log_loss: float
    reliability: tuple[ReliabilityBin, ...]


def forecast_quality(
    predicted: Floats, outcome: Floats, climatology: Floats, at_ms: NDArray[np.int64]
) -> ForecastQuality | None:
    """Judge probabilities; None where there are no bars.

    Parameters
    ----------
    predicted, climatology
        Probability of the model, and the base rate that was known when it was fitted, shape (n,).
    outcome
        0 or 1, shape (n,).
    at_ms
        Close times (epoch ms), shape (n,), any order, several markets mixed.
    """
    if len(outcome) == 0:
        return None
    error, error_of_base_rate = (predicted - outcome) ** 2, (climatology - outcome) ** 2
    low, high = _skill_interval(error, error_of_base_rate, at_ms)
    given = np.where(outcome == 1.0, predicted, 1.0 - predicted)
    brier, brier_of_base_rate = float(error.mean()), float(error_of_base_rate.mean())
    return ForecastQuality(
        rows=len(outcome),
        base_rate=float(outcome.mean()),
        brier=brier,
        brier_of_base_rate=brier_of_base_rate,
        skill=1.0 - brier / brier_of_base_rate,
        skill_low=low,
        skill_high=high,
        log_loss=float(-np.log(np.maximum(given, _SMALLEST)).mean()),
        reliability=reliability_curve(predicted, outcome),
    )


def reliability_curve(predicted: Floats, outcome: Floats) -> tuple[ReliabilityBin, ...]:
    """Mean probability against observed share in ``RELIABILITY_BINS`` equal bins of 0..1, from low to high."""
    place = np.minimum((predicted * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)
    curve = []
    for index in range(RELIABILITY_BINS):
        inside = place == index
        if count := int(inside.sum()):
            share = float(outcome[inside].mean())
            low, high = wilson_interval(share, count)
            curve.append(ReliabilityBin(count, float(predicted[inside].mean()), share, low, high))
    return tuple(curve)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a probability of which ``share`` was seen in ``count`` independent trials (Wilson 1927)."""
    z2 = INTERVAL_Z**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = INTERVAL_Z * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # At a share of 0 or 1 the bound is the share itself, but for rounding.
    return max(0.0, min(share, float(centre - half))), min(1.0, max(share, float(centre + half)))


def _skill_interval(error: Floats, error_of_base_rate: Floats, at_ms: NDArray[np.int64]) -> tuple[float, float]:
    """2.5 % and 97.5 % point of the skill over resampled blocks; seeded, so that a rerun says the same."""
    _, block = np.unique(at_ms // (BLOCK_DAYS * _DAY_MS), return_inverse=True)
    sums = np.array([np.bincount(block, weights=values) for values in (error, error_of_base_rate)])
    blocks = sums.shape[1]
    times_drawn = np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1.0 / blocks), size=BOOTSTRAP_DRAWS)
    drawn, drawn_of_base_rate = sums @ times_drawn.T
    low, high = np.quantile(1.0 - drawn / drawn_of_base_rate, [0.025, 0.975])
    return float(low), float(high)
