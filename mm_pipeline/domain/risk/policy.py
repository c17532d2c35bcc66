"""Thresholds of modelled risk (SPEC 7). They say how much may be lost, and decide no state."""

from __future__ import annotations

from datetime import timedelta

from pydantic import model_validator

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.policy import Duration, Policy, threshold

_BAR = timedelta(milliseconds=Timeframe.M15.ms)
_STUDY = "SPEC 7; held up by `mm study giveback`"


class RiskPolicy(Policy):
    """How paths are drawn from a market's past, and which of their ends is the capital at risk."""

    history_days: int = threshold(unit="days of bars drawn from", source=_STUDY, ge=14, le=730)
    min_history_days: int = threshold(
        unit="days of bars, below which risk is unknown", source="`mm study giveback` on KuCoin's 2025", ge=7, le=730
    )
    volatility_window: Duration = threshold(
        unit="duration", source=_STUDY, ge=timedelta(hours=2), le=timedelta(days=14)
    )
    block: Duration = threshold(unit="duration", source=_STUDY, ge=_BAR, le=timedelta(days=2))
    paths: int = threshold(unit="paths", source=_STUDY, ge=100, le=100_000)
    capital_at_risk_quantile: float = threshold(unit="probability", source="SPEC 7", gt=0, lt=0.5)

    @model_validator(mode="after")
    def _fits_bars_and_history(self) -> RiskPolicy:
        for name in ("volatility_window", "block"):
            if getattr(self, name) % _BAR:
                raise ValueError(f"{name} is not a whole number of 15min bars; write it like 8h")
        if 2 * self.min_history_days > self.history_days:
            raise ValueError("min_history_days is more than half of history_days; a few gaps would hide all risk")
        return self

    @property
    def volatility_bars(self) -> int:
        """Number of 15m returns in the volatility window."""
        return self.volatility_window // _BAR

    @property
    def block_bars(self) -> int:
        """Number of 15m bars in a block."""
        return self.block // _BAR

    @property
    def history_ms(self) -> int:
        """How far back bars are drawn from, before the newest known close."""
        return self.history_days * Timeframe.M15.bars_per_day * Timeframe.M15.ms

    @property
    def min_history_bars(self) -> int:
        """Fewest bars to draw from: those about gaps do not count."""
        return self.min_history_days * Timeframe.M15.bars_per_day

    @property
    def lookback_ms(self) -> int:
        """Milliseconds of bars before the newest known close that drawn paths are a function of.

        The oldest bar drawn is divided by the volatility of the returns before it, the first of which needs a close
        before itself. The modelled position, beside that, looks back to its grid's start.
        """
        return self.history_ms + (self.volatility_bars + 1) * Timeframe.M15.ms
