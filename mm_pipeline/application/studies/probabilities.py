"""How good a probability was: Brier skill over a peer, calibration slope, gaps between said and seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.application.studies.resampling import Estimate
from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.regime.forecast_quality import forecast_quality
from mm_pipeline.domain.regime.logistic_fit import fit_logistic

DECILES: Final = 10
SMALLEST: Final = 1e-4
"""Log-odds are of probabilities no nearer to 0 and 1 than this: a share of 2,400 windows knows no more."""


@dataclass(frozen=True, eq=False)
class Foretold:
    """Probabilities of one market and what came, each of shape ``(n,)``.

    Attributes
    ----------
    at_ms
        When they were said (epoch ms).
    said, came
        Probability; 0 or 1.
    peer
        Probability of whom it is compared with.
    """

    at_ms: Times
    said: Floats
    came: Floats
    peer: Floats

    @classmethod
    def joined(cls, parts: Sequence[Foretold]) -> Foretold:
        """Several as one; each keeps its own peer."""
        return cls(
            np.concatenate([part.at_ms for part in parts]),
            np.concatenate([part.said for part in parts]),
            np.concatenate([part.came for part in parts]),
            np.concatenate([part.peer for part in parts]),
        )


@dataclass(frozen=True)
class ProbabilityScore:
    """One market, or all of them pooled.

    Attributes
    ----------
    rows, base_rate, mean_said
        How many were judged; share of them that came; mean probability.
    skill
        One less the Brier score (Brier 1950) over the peer's.
    slope
        Calibration slope (Cox 1958): of the log-odds of what came on those of what was said; 1 is right, less is
        over-confident. NaN where only one thing came.
    decile_gap
        Mean distance between said and seen over tenths of the probabilities, from low to high.
    mean_gap
        Distance between ``mean_said`` and ``base_rate``.
    """

    rows: int
    base_rate: float
    mean_said: float
    skill: Estimate
    slope: float
    decile_gap: float
    mean_gap: float


def probability_score(foretold: Foretold) -> ProbabilityScore:
    """Judge probabilities. Raises ValueError where there are none."""
    said, came = foretold.said, foretold.came
    quality = forecast_quality(said, came, foretold.peer, foretold.at_ms)
    if quality is None:
        raise ValueError("nothing was foretold")
    mean_said = float(said.mean())
    return ProbabilityScore(
        rows=quality.rows,
        base_rate=quality.base_rate,
        mean_said=mean_said,
        skill=Estimate(quality.skill, quality.skill_low, quality.skill_high),
        slope=calibration_slope(said, came),
        decile_gap=decile_gap(said, came),
        mean_gap=abs(mean_said - quality.base_rate),
    )


def calibration_slope(said: Floats, came: Floats) -> float:
    """Slope of a logistic regression of what came on the log-odds of what was said."""
    kept = np.clip(said, SMALLEST, 1.0 - SMALLEST)
    odds = np.log(kept / (1.0 - kept))
    if came.min() == came.max() or odds.min() == odds.max():
        return float("nan")
    _, coefficients = fit_logistic(odds[:, None], came, 0.0)
    return float(coefficients[0])


def decile_gap(said: Floats, came: Floats) -> float:
    """Mean over tenths of the rows, in order of what was said, of the distance between said and seen."""
    order = np.argsort(said, kind="stable")
    tenths = [part for part in np.array_split(order, DECILES) if len(part)]
    return float(np.mean([abs(said[part].mean() - came[part].mean()) for part in tenths]))
