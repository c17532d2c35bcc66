"""What each trigger asks, in words and units an operator reads; the asking itself is the domain's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mm_pipeline.reporting.price_words import price_text


@dataclass(frozen=True)
class TriggerWords:
    """How a trigger is printed.

    Attributes
    ----------
    measures
        What its value is.
    sign
        How value and threshold are compared where it fires.
    unit
        Unit of both, short.
    decimals
        Digits after the point.
    is_yes_no
        Whether the value is 1 for yes and 0 for no.
    """

    measures: str
    sign: str
    unit: str
    decimals: int
    is_yes_no: bool = False


_STOP: Final = "stop_loss_breached"

TRIGGER_WORDS: Final[Mapping[str, TriggerWords]] = MappingProxyType(
    {
        "regime_trend": TriggerWords("the verdict is TREND", "=", "", 0, is_yes_no=True),
        "range_invalidated": TriggerWords("farthest 4h close beyond the range", ">", "ATR(4h)", 2),
        "closes_outside": TriggerWords("closes in a row outside the grid", ">=", "closes", 0),
        "stop_loss_breached": TriggerWords("lowest price since the start", "<=", "quote", 2),
        "stop_likely": TriggerWords("P(stop touched in 24 h)", ">=", "", 2),
        "transition_persists": TriggerWords("bars in a row in TRANSITION", ">=", "bars", 0),
        "half_life_doubled": TriggerWords("speed of reversion over its baseline", "<=", "ratio", 2),
        "volatility_expanded": TriggerWords("ATR over its baseline", ">", "ratio", 2),
        "transition_likely": TriggerWords("probability of leaving the range", ">=", "", 2),
        "confidence_declining": TriggerWords("fall of confidence", ">=", "", 2),
        "efficiency_rising": TriggerWords("efficiency ratio, rising", ">=", "", 2),
        "reversion_slowing": TriggerWords("speed of reversion over its baseline", "<=", "ratio", 2),
    }
)


def value_text(name: str, value: float | None) -> str:
    """The value of a trigger as text; a dash where it has none."""
    words = TRIGGER_WORDS[name]
    if value is None:
        return "-"
    if words.unit == "quote":
        return price_text(value)
    return ("yes" if value else "no") if words.is_yes_no else f"{value:,.{words.decimals}f}"


def fires_at_text(name: str, threshold: float | None) -> str:
    """What a trigger asks: ``>= 0.50``, ``yes``; one that the policy takes as information asks for nothing."""
    words = TRIGGER_WORDS[name]
    if threshold is None and name != _STOP:  # a grid without a stop has no threshold either
        return "information"
    return "yes" if words.is_yes_no else f"{words.sign} {value_text(name, threshold)} {words.unit}".rstrip()


def comparison_text(name: str, value: float | None, threshold: float | None) -> str:
    """Value against threshold with the unit: ``1.31 > 1.25 ratio``."""
    words = TRIGGER_WORDS[name]
    if words.is_yes_no:
        return value_text(name, value)
    return f"{value_text(name, value)} {words.sign} {value_text(name, threshold)} {words.unit}".rstrip()
