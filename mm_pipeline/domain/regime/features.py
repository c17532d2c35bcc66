"""What the two fitted models look at: a handful of dimensionless numbers per closed 1h bar."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.indicators.windows import Floats

FARTHEST_ATR = 8.0
"""Distances to a bound beyond this many ATR are all alike: eight hours rarely travel farther."""


TRANSITION_FEATURES: Final = (
    "near_atr",
    "near_atr_squared",
    "far_atr",
    "log_volatility_expansion",
    "log_volatility_burst",
    "efficiency_ratio_10",
    "efficiency_ratio_24",
)
"""Names of the features of ``p_transition``."""


def has_range(metrics: pl.DataFrame) -> NDArray[np.bool_]:
    """Bars at which a confirmed-swing range is known: both bounds, the upper above the lower."""
    return np.asarray(_floats(metrics, "range_high") > _floats(metrics, "range_low"))


def transition_features(metrics: pl.DataFrame) -> dict[str, Floats]:
    """Features of ``p_transition``, each of shape (n,); NaN where there is no range or no lookback.

    near_atr, far_atr: distance of the close to the nearer and the farther bound in ATR, negative outside, capped.
    """
    close, atr = _floats(metrics, "close"), _floats(metrics, "atr_14")
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (_floats(metrics, "range_high") - close) / atr
        below = (close - _floats(metrics, "range_low")) / atr
        near = np.clip(np.minimum(above, below), -FARTHEST_ATR, FARTHEST_ATR)
        far = np.clip(np.maximum(above, below), -FARTHEST_ATR, 2 * FARTHEST_ATR)
        volatility = np.log(_floats(metrics, "volatility_expansion"))
        burst = np.log(_floats(metrics, "realised_volatility_24") / _floats(metrics, "realised_volatility_168"))
    features = {
        "near_atr": near,
        "near_atr_squared": near * np.abs(near),
        "far_atr": far,
        "log_volatility_expansion": volatility,
        "log_volatility_burst": np.clip(burst, -3.0, 3.0),
        "efficiency_ratio_10": _floats(metrics, "efficiency_ratio_10"),
        "efficiency_ratio_24": _floats(metrics, "efficiency_ratio_24"),
    }
    usable = has_range(metrics) & np.all([np.isfinite(values) for values in features.values()], axis=0)
    return {name: np.where(usable, values, np.nan) for name, values in features.items()}


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).to_numpy()
