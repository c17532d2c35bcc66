"""Thresholds of modelled risk (SPEC 7). They say how much may be lost, and decide no state."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.policy import Policy, threshold
from mm_pipeline.domain.risk.volatility import HAR_DAYS, HarCoefficients

_BARS_PER_DAY = Timeframe.M15.bars_per_day
_STUDY = "SPEC 7; held up by `mm study giveback`"


class RiskPolicy(Policy):
    """How a market's past is used as its future, and which of the ends is the capital at risk."""

    history_days: int = threshold(unit="days in which windows begin", source=_STUDY, ge=14, le=730)
    min_history_days: int = threshold(
        unit="days of windows, below which risk is unknown", source="`mm study giveback` on KuCoin's 2025", ge=7, le=730
    )
    draw_every_bars: int = threshold(
        unit="15m bars between windows; no common factor with 96, so that each time of day is drawn alike",
        source=_STUDY,
        ge=1,
        le=95,
    )
    capital_at_risk_quantile: float = threshold(unit="probability", source="SPEC 7", gt=0, lt=0.5)
    volatility: Annotated[tuple[HarCoefficients, ...], Field(strict=False)] = threshold(
        unit="tables, the oldest first", source="`mm study volatility`", min_length=1
    )

    @model_validator(mode="after")
    def _fits_the_calendar(self) -> RiskPolicy:
        if math.gcd(self.draw_every_bars, _BARS_PER_DAY) > 1:
            raise ValueError("draw_every_bars shares a factor with the 96 bars of a day; write 1, 5, 7, 11 or 13")
        if 2 * self.min_history_days > self.history_days:
            raise ValueError("min_history_days is more than half of history_days; a few gaps would hide all risk")
        if any(later.valid_from_ms <= table.valid_from_ms for table, later in pairwise(self.volatility)):
            raise ValueError("volatility is not in order of valid_from; write the oldest first")
        return self

    @property
    def history_ms(self) -> int:
        """How far back windows begin, before the newest known close."""
        return self.history_days * _BARS_PER_DAY * Timeframe.M15.ms

    @property
    def min_windows(self) -> int:
        """Fewest windows to use: those about holes do not count."""
        return self.min_history_days * _BARS_PER_DAY // self.draw_every_bars

    @property
    def lookback_ms(self) -> int:
        """Milliseconds of bars before the newest known close that risk is a function of.

        The oldest window is divided by the forecast at its start, whose first return needs a close before itself. The
        modelled position, beside that, looks back to its grid's start.
        """
        return self.history_ms + (HAR_DAYS[-1] * _BARS_PER_DAY + 1) * Timeframe.M15.ms
