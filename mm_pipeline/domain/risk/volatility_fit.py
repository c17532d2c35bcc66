"""Fit the HAR of the volatility forecast walk-forward, and judge each table on the bars that come after its fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.risk.history import WINDOW_BARS, RiskHistory
from mm_pipeline.domain.risk.volatility import HarCoefficients

FIT_EVERY_BARS: Final = 7
"""Closes taken for a fit: neighbours share nearly all of what they see and of what follows."""
LARGEST_SHARE: Final = 0.999
"""Of the ratios of what came to what was; the few above it (a crash) count as this one, or they would be the fit."""
LARGEST_COEFFICIENT: Final = 2.0
"""Beyond it the next day would be wilder than all that was seen; settings refuse it too."""
DIGITS: Final = 4
"""Decimals kept of a coefficient, and judged as kept."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class VolatilitySchedule:
    """The first table after so many days of bars, then one each step."""

    first_fit_days: int
    step_days: int


@dataclass(frozen=True, eq=False)
class VolatilitySample:
    """Closes of one or more markets.

    Attributes
    ----------
    closed_ms
        Close times (epoch ms), shape ``(n,)``.
    variances
        Of day, week and month, shape ``(n, 3)``.
    came
        Mean squared 15m log return of the 24 h after, shape ``(n,)``.
    """

    closed_ms: Times
    variances: Floats
    came: Floats

    @classmethod
    def of(cls, history: RiskHistory) -> VolatilitySample:
        """Every ``FIT_EVERY_BARS``th close with a whole day after it."""
        closed_ms = history.bars.closed_ms(Timeframe.M15)
        count = max(len(closed_ms) - WINDOW_BARS, 0)
        came, seen = history.variances[WINDOW_BARS:, 0], history.variances[:count]
        is_used = (closed_ms[:count] // Timeframe.M15.ms % FIT_EVERY_BARS == 0) & np.isfinite(came + seen[:, 0])
        is_used &= (closed_ms[WINDOW_BARS:] - closed_ms[:count] == WINDOW_BARS * Timeframe.M15.ms) & (seen[:, 0] > 0)
        return cls(closed_ms[:count][is_used], seen[is_used], came[is_used])

    @classmethod
    def joined(cls, samples: Sequence[VolatilitySample]) -> VolatilitySample:
        """Several markets as one."""
        return cls(
            np.concatenate([sample.closed_ms for sample in samples]),
            np.concatenate([sample.variances for sample in samples]),
            np.concatenate([sample.came for sample in samples]),
        )

    def where(self, is_wanted: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> VolatilitySample:
        """Some of the closes."""
        return VolatilitySample(self.closed_ms[is_wanted], self.variances[is_wanted], self.came[is_wanted])


@dataclass(frozen=True)
class FittedVolatility:
    """A table, the closes it was fitted on, and how it did on those that it then judged.

    ``loss`` is the mean QLIKE (Patton 2011) of its forecasts, ``loss_of_day`` that of the last day's variance carried
    on; None where nothing was judged.
    """

    table: HarCoefficients
    fit_rows: int
    judged_rows: int
    loss: float | None
    loss_of_day: float | None


def fit_volatility(samples: Sequence[VolatilitySample], schedule: VolatilitySchedule) -> list[FittedVolatility]:
    """Fit a table at each date of the schedule on all closes whose next 24 h were over by then, markets pooled.

    Raises
    ------
    PipelineError
        Where the candles end before the first table.
    """
    pooled = VolatilitySample.joined(samples)
    first_ms, last_ms = (int(pooled.closed_ms.min()), int(pooled.closed_ms.max())) if len(pooled.closed_ms) else (0, -1)
    dates = range(_midnight(first_ms) + schedule.first_fit_days * _DAY_MS, last_ms + 1, schedule.step_days * _DAY_MS)
    if not dates:
        raise PipelineError(
            "The candles are too short to fit the volatility forecast.",
            f"Give more than {schedule.first_fit_days} days of 15m candles, or a smaller --first-fit-days.",
        )
    found = []
    for at, end in zip(dates, [*dates[1:], last_ms + 1], strict=True):
        known = pooled.where(pooled.closed_ms + WINDOW_BARS * Timeframe.M15.ms <= at)
        day, week, month = (round(max(value, 0.0), DIGITS) for value in har_shares(known))
        if max(day, week, month) > LARGEST_COEFFICIENT:
            raise PipelineError(
                f"The shares fitted for {from_ms(at):%Y-%m-%d} are {day}, {week} and {month}: no forecast.",
                "Give more candles, or look for a jump in them.",
            )
        table = HarCoefficients(valid_from=from_ms(at), day=day, week=week, month=month)
        judged = pooled.where((pooled.closed_ms >= at) & (pooled.closed_ms < end))
        count = len(judged.closed_ms)
        said = (judged.variances @ np.array(table.shares), judged.variances[:, 0])
        losses = (qlike(forecast, judged.came) for forecast in said)
        found.append(FittedVolatility(table, len(known.closed_ms), count, *(losses if count else (None, None))))
    return found


def har_shares(sample: VolatilitySample) -> tuple[float, float, float]:
    """Least squares of what came on the three variances, each close divided by the mean of its three.

    So divided, a market with large moves and one with small ones count alike, and nothing has a unit.
    """
    size = sample.variances.mean(axis=1)
    ratio = sample.came / size
    capped = np.minimum(ratio, np.quantile(ratio, LARGEST_SHARE))
    day, week, month = np.linalg.lstsq(sample.variances / size[:, None], capped, rcond=None)[0].tolist()
    return day, week, month


def qlike(said: Floats, came: Floats) -> float:
    """Mean of ``came / said - ln(came / said) - 1``: 0 where every forecast is right (Patton 2011)."""
    ratio = np.maximum(came, 1e-300) / said
    return float(np.mean(ratio - np.log(ratio) - 1.0)) if len(ratio) else float("nan")


def _midnight(at_ms: int) -> int:
    return -(-at_ms // _DAY_MS) * _DAY_MS
