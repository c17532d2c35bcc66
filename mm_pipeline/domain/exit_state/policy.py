"""Thresholds of grid analysis, exit states and entry states (SPEC sections 5 and 6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.policy import Duration, Policy, threshold

REVIEW = "founding review, trigger table"

MANDATORY: Final = ("regime_trend", "range_invalidated", "closes_outside", "stop_loss_breached")
LATEST: Final = ("stop_likely", "transition_persists", "half_life_doubled", "volatility_expanded")
WARNING: Final = ("transition_likely", "confidence_declining", "efficiency_rising", "reversion_slowing")
TRIGGERS: Final = (*MANDATORY, *LATEST, *WARNING)

Judged = Literal[
    "regime_trend",
    "stop_likely",
    "transition_persists",
    "half_life_doubled",
    "volatility_expanded",
    "transition_likely",
    "confidence_declining",
    "efficiency_rising",
    "reversion_slowing",
]
"""Triggers that judge; the others are facts about the grid's bars, and no policy may leave them out."""


class StopLossRiskPolicy(Policy):
    """Distance from price to stop below which each risk level begins; at or below the stop it is BREACHED."""

    critical_atr: float = threshold(unit="ATR", source="SPEC 5", gt=0, le=100)
    high_atr: float = threshold(unit="ATR", source="SPEC 5", gt=0, le=100)
    medium_atr: float = threshold(unit="ATR", source="SPEC 5", gt=0, le=100)

    @model_validator(mode="after")
    def _levels_rise(self) -> StopLossRiskPolicy:
        if not self.critical_atr <= self.high_atr <= self.medium_atr:
            raise ValueError("critical_atr, high_atr and medium_atr do not rise; a nearer stop is the higher risk")
        return self


class RegimeTrendPolicy(Policy):
    """MANDATORY: the shown verdict is TREND."""

    is_confirmed_on_4h: bool = threshold(
        unit="yes/no", source="SPEC 6: also asks that verdict_4h is TREND or TRANSITION"
    )


class RangeInvalidatedPolicy(Policy):
    """MANDATORY: a 4h close left the range."""

    buffer_atr: float = threshold(unit="ATR(4h)", source="SPEC 5", ge=0, le=10)


class ClosesOutsidePolicy(Policy):
    """MANDATORY: consecutive closes outside the grid's bounds."""

    count: int = threshold(unit="closes", source=REVIEW, ge=1, le=96)
    timeframe: Annotated[Timeframe, Field(strict=False)] = threshold(unit="timeframe", source="SPEC 5")


class LatestPolicy(Policy):
    """LATEST_ACCEPTABLE_EXIT: how many of its triggers it takes."""

    min_triggers: int = threshold(unit="triggers of 4", source="SPEC 6, policies", ge=1, le=4)


class StopLikelyPolicy(Policy):
    """LATEST: the stop is likely to be touched within 24 h."""

    p_stop_24h: float = threshold(unit="probability", source="`mm study policies`", gt=0, le=1)


class TransitionPersistsPolicy(Policy):
    """LATEST: the shown verdict stays TRANSITION."""

    bars_1h: int = threshold(unit="1h bars", source=REVIEW, ge=1, le=24)
    bars_4h: int = threshold(unit="4h bars", source=REVIEW, ge=1, le=6)


class HalfLifeDoubledPolicy(Policy):
    """LATEST: reversion is slower than its baseline by this ratio."""

    ratio: float = threshold(unit="half-life over baseline", source=REVIEW, gt=1, le=20)
    bars: int = threshold(unit="1h bars running", source="SPEC 6, policies", ge=1, le=24)
    kappa: Literal["plain", "upper"] = threshold(unit="estimate of kappa", source="SPEC 6, policies")


class VolatilityExpandedPolicy(Policy):
    """LATEST: the range of bars is wider than its baseline by this ratio."""

    ratio: float = threshold(unit="ratio", source=REVIEW, ge=1, le=10)


class WarningPolicy(Policy):
    """WARNING: how many of its four triggers it takes."""

    min_triggers: int = threshold(unit="triggers of 4", source=REVIEW, ge=1, le=4)


class TransitionLikelyPolicy(Policy):
    """WARNING: a transition is likely."""

    p_transition: float = threshold(unit="probability", source=REVIEW, ge=0, le=1)


class ConfidenceDecliningPolicy(Policy):
    """WARNING: confidence falls over these bars by at least this much."""

    bars: int = threshold(unit="1h bars", source="SPEC 6", ge=3, le=24)
    drop: float = threshold(unit="probability", source="SPEC 6", ge=0, le=1)


class EfficiencyRisingPolicy(Policy):
    """WARNING: price moves ever more in one direction."""

    efficiency_ratio: float = threshold(unit="0..1", source="SPEC 3: 90 % point of a random walk", ge=0, le=1)
    rising_bars: int = threshold(unit="1h bars", source="SPEC 6: compared with its value then", ge=1, le=24)
    bars: int = threshold(unit="1h bars running", source="SPEC 6", ge=1, le=24)


class ReversionSlowingPolicy(Policy):
    """WARNING: kappa has fallen to this share of its baseline."""

    ratio: float = threshold(unit="kappa over baseline", source="SPEC 6", gt=0, le=1)
    bars: int = threshold(unit="1h bars running", source="SPEC 6", ge=1, le=24)


class ExitStatePolicy(Policy):
    """All thresholds of the exit state, one block a trigger; ``seed`` and ``calibrated`` are two files of them."""

    since_window: Duration = threshold(
        unit="duration",
        source="SPEC 1: how far back `since` is looked for",
        ge=timedelta(hours=1),
        le=timedelta(days=14),
    )
    stop_loss_risk: StopLossRiskPolicy
    information: Annotated[tuple[Judged, ...], Field(strict=False)] = threshold(
        unit="names of triggers that are shown and ask for nothing", source="`mm study policies`"
    )
    regime_trend: RegimeTrendPolicy
    range_invalidated: RangeInvalidatedPolicy
    closes_outside: ClosesOutsidePolicy
    latest: LatestPolicy
    stop_likely: StopLikelyPolicy
    transition_persists: TransitionPersistsPolicy
    half_life_doubled: HalfLifeDoubledPolicy
    volatility_expanded: VolatilityExpandedPolicy
    warning: WarningPolicy
    transition_likely: TransitionLikelyPolicy
    confidence_declining: ConfidenceDecliningPolicy
    efficiency_rising: EfficiencyRisingPolicy
    reversion_slowing: ReversionSlowingPolicy

    @model_validator(mode="after")
    def _states_can_come(self) -> ExitStatePolicy:
        for name, triggers, needed in (
            ("latest", LATEST, self.latest.min_triggers),
            ("warning", WARNING, self.warning.min_triggers),
        ):
            asked = [trigger for trigger in triggers if trigger not in self.information]
            if 0 < len(asked) < needed:
                raise ValueError(
                    f"{name}.min_triggers is {needed}, but only {', '.join(asked)} asks: the state would never come. "
                    f"Write {len(asked)} or less, or take triggers out of information"
                )
        return self

    def asks(self, *names: Judged) -> bool:
        """Whether one of these triggers is more than information."""
        return not set(names) <= set(self.information)


class EntryPolicy(Policy):
    """When a flat, disabled grid is told to ENTER, and the range that is proposed to it."""

    min_confidence: float = threshold(unit="probability", source="SPEC 6", ge=0, le=1)
    buffer_atr: float = threshold(unit="ATR beyond the confirmed-swing range", source="SPEC 6", ge=0, le=10)
    min_width_pct: float = threshold(unit="% of the middle", source="SPEC 6", ge=0, le=100)
    fee_multiple: float = threshold(unit="net profit of an interval over its fees", source="SPEC 6", ge=0, le=100)
    max_levels: int = threshold(unit="prices", source="KuCoin's limit of 200 active orders a symbol", ge=2, le=200)
    stop_atr_4h: float = threshold(unit="ATR(4h) below the lower bound", source="SPEC 6", gt=0, le=20)
