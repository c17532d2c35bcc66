"""What waiting may cost, as a page tells it: plain values. How they are estimated belongs to positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

HORIZONS: Final = ("15m", "1h", "4h", "24h")
"""Delays of an exit for which figures are given."""


@dataclass(frozen=True, kw_only=True)
class DelayRisk:
    """Risk of one grid at one evaluation; mappings of money have each of ``HORIZONS``, in quote.

    Attributes
    ----------
    capital_at_risk_quote
        Equity now minus the 5 % quantile of equity after the delay, exit fees included.
    giveback_p50_quote, giveback_p90_quote
        Quantiles of equity now minus equity after the delay; below 0 where waiting gains.
    worst_case_quote
        Loss if every resting buy fills and all is sold at the stop.
    stop_probability
        P(the stop is touched) within 4 h and 24 h; empty where the grid has no stop, or it is not known.
    source
        Where the position is known from: ``exchange``, ``import`` or ``modelled``.

    Raises
    ------
    ValueError
        When a mapping has other delays.
    """

    capital_at_risk_quote: Mapping[str, float]
    giveback_p50_quote: Mapping[str, float]
    giveback_p90_quote: Mapping[str, float]
    worst_case_quote: float
    source: str
    stop_probability: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("capital_at_risk_quote", "giveback_p50_quote", "giveback_p90_quote"):
            if set(getattr(self, name)) != set(HORIZONS):
                raise ValueError(f"{name} has {sorted(getattr(self, name))}, not {', '.join(HORIZONS)}")
