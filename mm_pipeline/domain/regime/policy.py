"""Thresholds of the regime verdict (SPEC section 4)."""

from __future__ import annotations

from mm_pipeline.domain.policy import Policy, threshold

REVIEW = "founding review, required states"
LONGEST_SHOWN_WINDOW_BARS = 24
"""Bound of the hysteresis window; lookbacks are declared with it."""
RANDOM_WALK = "SPEC 3: 90 % point of a random walk's efficiency ratio over 24 bars"


class TrendPolicy(Policy):
    """When the verdict is TREND."""

    min_confirmations: int = threshold(unit="confirmations of 4", source="SPEC 4; never below 2", ge=2, le=4)
    min_confirmations_4h: int = threshold(unit="confirmations of 3", source="SPEC 4: on 4h all three", ge=2, le=3)
    leaning_confirmations: int = threshold(
        unit="confirmations", source="SPEC 4: with these the primary regime of a TRANSITION is TREND", ge=1, le=4
    )
    efficiency_ratio: float = threshold(unit="0..1", source="SPEC 4", ge=0, le=1)
    ema_gap_atr: float = threshold(unit="ATR", source="SPEC 3: a gap that counts as a cross", ge=0, le=5)


class TransitionPolicy(Policy):
    """When the verdict is TRANSITION."""

    p_transition: float = threshold(unit="probability", source="SPEC 4: more likely than not", ge=0, le=1)
    min_signals: int = threshold(unit="signals of 3", source="SPEC 4", ge=1, le=3)
    efficiency_ratio: float = threshold(unit="0..1", source=RANDOM_WALK, ge=0, le=1)
    rising_bars: int = threshold(unit="bars", source="SPEC 4: the ratio is compared with its value then", ge=1, le=24)
    volatility_expansion: float = threshold(unit="ratio", source=REVIEW, ge=1, le=10)


class RangePolicy(Policy):
    """When the verdict is RANGE_OK, and what a full mark in each part of the range score takes."""

    min_score: float = threshold(unit="0..1", source="SPEC 4", ge=0, le=1)
    full_touches: int = threshold(unit="bars at each bound", source="SPEC 4", ge=1, le=72)
    full_crossings: int = threshold(unit="midline crossings", source="SPEC 4", ge=1, le=71)
    full_dickey_fuller_t: float = threshold(unit="-t statistic", source="Fuller 1976, 5 % point", gt=0, le=10)


class ShownVerdictPolicy(Policy):
    """Hysteresis of the shown verdict."""

    window_bars: int = threshold(
        unit="bars", source="SPEC 4: how far back a held verdict is looked for", ge=2, le=LONGEST_SHOWN_WINDOW_BARS
    )


class WeakeningPolicy(Policy):
    """When the secondary signal of a good range is WEAKENING."""

    p_transition: float = threshold(unit="probability", source=REVIEW, ge=0, le=1)
    confidence_bars: int = threshold(unit="bars", source="SPEC 6, confidence_declining", ge=3, le=24)
    confidence_drop: float = threshold(unit="probability", source="SPEC 6, confidence_declining", ge=0, le=1)


class RegimePolicy(Policy):
    """All thresholds of the verdict."""

    trend: TrendPolicy
    transition: TransitionPolicy
    range: RangePolicy
    shown: ShownVerdictPolicy
    weakening: WeakeningPolicy
