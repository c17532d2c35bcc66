"""Volatility forecast of one market: a HAR of its last day, week and month (Corsi 2009), in variances (SPEC 6).

Fitting the coefficients does not belong here (:mod:`.volatility_fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import numpy as np
from pydantic import Field

from mm_pipeline.domain.arrays import Floats, Integers, Times
from mm_pipeline.domain.indicators.windows import lagged, moving
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.policy import Policy, threshold

HAR_DAYS: Final = (1, 7, 30)
"""Days over which each of the three variances is averaged."""
HAR_BARS: Final = tuple(days * Timeframe.M15.bars_per_day for days in HAR_DAYS)
_STEP: Final = Timeframe.M15.ms
_FITTED: Final = "fitted walk-forward by `mm study volatility`"


class HarCoefficients(Policy):
    """Share of each variance in the forecast, and from when on the three are used."""

    valid_from: Annotated[datetime, Field(strict=False)] = threshold(unit="UTC time", source=_FITTED)
    day: float = threshold(unit="share of the 24 h variance", source=_FITTED, ge=0, le=2)
    week: float = threshold(unit="share of the 7 d variance", source=_FITTED, ge=0, le=2)
    month: float = threshold(unit="share of the 30 d variance", source=_FITTED, ge=0, le=2)

    @property
    def valid_from_ms(self) -> int:
        """``valid_from`` as epoch ms; a time without a zone is UTC."""
        at = self.valid_from if self.valid_from.tzinfo else self.valid_from.replace(tzinfo=UTC)
        return round(at.timestamp() * 1000)

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of day, week and month."""
        return self.day, self.week, self.month


def realised_variances(opened_ms: Times, close: Floats) -> Floats:
    """Mean squared 15m log return of the last day, week and month at each close, shape ``(bars, 3)``.

    All returns of the last day must be there. Of week and month those count that are there: a market that is listed
    for three days has a week of three days. A return that ends a hole counts nowhere. Each sum is taken in the same
    order wherever it stands, so that a live evaluation and a replay find the same bits.
    """
    if not len(opened_ms):
        return np.empty((0, len(HAR_BARS)))
    slot = (opened_ms - opened_ms[0]) // _STEP
    is_next = np.diff(opened_ms, prepend=opened_ms[0]) == _STEP
    squared = np.where(is_next, np.square(np.log(close / lagged(close, 1))), 0.0)
    dense = np.zeros((2, int(slot[-1]) + 1 + HAR_BARS[-1]))
    dense[0, slot + HAR_BARS[-1]], dense[1, slot + HAR_BARS[-1]] = squared, is_next
    found = np.full((len(opened_ms), len(HAR_BARS)), np.nan)
    for place, bars in enumerate(HAR_BARS):
        total, count = (moving(np.add, row, bars)[slot + HAR_BARS[-1]] for row in dense)
        found[:, place] = total / np.maximum(count, 1)
        if place == 0:
            found[count < bars] = np.nan
            is_whole = count == bars
        found[~is_whole, place] = np.nan
    return found


def volatility_forecast(variances: Floats, closed_ms: Times, tables: Sequence[HarCoefficients]) -> Floats:
    """Expected root mean square of the 15m log returns of the 24 h after each close, shape ``(bars,)``.

    Parameters
    ----------
    variances
        :func:`realised_variances`.
    closed_ms
        Close times (epoch ms).
    tables
        Ascending; each close uses the newest table that was valid by then, and the first where none was.
    """
    shares = np.array([table.shares for table in tables])[tables_at(closed_ms, tables)]
    # Added one by one: a product of matrices may round otherwise by the number of rows.
    variance = variances[:, 0] * shares[:, 0] + variances[:, 1] * shares[:, 1] + variances[:, 2] * shares[:, 2]
    forecast: Floats = np.sqrt(variance)
    return forecast


def tables_at(closed_ms: Times, tables: Sequence[HarCoefficients]) -> Integers:
    """Which table each close uses."""
    starts = np.array([table.valid_from_ms for table in tables])
    return np.maximum(np.searchsorted(starts, closed_ms, side="right") - 1, 0)
