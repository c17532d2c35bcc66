"""Regime of a market: raw and shown verdict, probabilities, confidence (SPEC section 4)."""

from mm_pipeline.domain.regime.policy import RegimePolicy
from mm_pipeline.domain.regime.verdict import VERDICTS, Calibration, market_regime

__all__ = ["VERDICTS", "Calibration", "RegimePolicy", "market_regime"]
