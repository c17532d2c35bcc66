"""What ``p_transition`` looks at: a handful of dimensionless numbers per closed 1h bar."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.columns import epoch_ms, floats_of
from mm_pipeline.domain.market import Timeframe

FARTHEST: Final = 8.0
"""Distances to a bound beyond this many ATR, or usual eight-hour moves, are all alike: eight hours rarely go there."""
HORIZON_H: Final = 8.0
_BARS_PER_YEAR: Final = 365.0 * 24.0

TRANSITION_FEATURES: Final = (
    "is_outside",
    "outside_atr_root",
    "inside_atr_root",
    "inside_baseline",
    "inside_week",
    "far_atr_log",
    "hour_sin",
    "hour_cos",
)
"""Names of the features of ``p_transition``."""


def has_range(metrics: pl.DataFrame) -> NDArray[np.bool_]:
    """Bars at which a confirmed-swing range is known: both bounds, the upper above the lower."""
    return np.asarray(_floats(metrics, "range_high") > _floats(metrics, "range_low"))


def transition_features(metrics: pl.DataFrame) -> dict[str, Floats]:
    """Features of ``p_transition``, each of shape (n,); NaN where there is no range or no lookback (201 bars).

    is_outside
        1 where the close lies outside the range: it need only stay there.
    outside_atr_root
        Square root of how far outside, in ATR; 0 inside.
    inside_atr_root, inside_baseline, inside_week
        Distance to the nearer bound, 0 outside, by three measures of how far eight hours carry: the square root in
        ATR, in mean true ranges of 200 bars, and in standard deviations of eight hours at the last week's volatility.
    far_atr_log
        ln(1 + distance to the farther bound in ATR).
    hour_sin, hour_cos
        Hour of the close (UTC) on the day's circle: markets move more in some hours, and the day repeats.
    """
    close, atr = _floats(metrics, "close"), _floats(metrics, "atr_14")
    hour_sin, hour_cos = day_circle(metrics["close_time"])
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (_floats(metrics, "range_high") - close) / atr
        below = (close - _floats(metrics, "range_low")) / atr
        near, far = np.minimum(above, below), np.maximum(above, below)
        inside = np.clip(near, 0.0, FARTHEST)
        week_move = close * _floats(metrics, "realised_volatility_168") * np.sqrt(HORIZON_H / _BARS_PER_YEAR)
        features = {
            "is_outside": np.where(np.isfinite(near), near < 0.0, np.nan),
            "outside_atr_root": np.sqrt(np.clip(-near, 0.0, FARTHEST)),
            "inside_atr_root": np.sqrt(inside),
            "inside_baseline": np.clip(inside * _floats(metrics, "volatility_expansion"), 0.0, FARTHEST),
            "inside_week": np.clip(inside * atr / week_move, 0.0, FARTHEST),
            "far_atr_log": np.log1p(np.clip(far, 0.0, 2.0 * FARTHEST)),
            "hour_sin": hour_sin,
            "hour_cos": hour_cos,
        }
    usable = has_range(metrics) & np.all([np.isfinite(values) for values in features.values()], axis=0)
    return {name: np.where(usable, values, np.nan) for name, values in features.items()}


def day_circle(close_time: pl.Series) -> tuple[Floats, Floats]:
    """Sine and cosine of the hour (UTC) at which each 1h bar closed, 24 hours being the full circle."""
    hour = epoch_ms(close_time) // Timeframe.H1.ms % 24 * (2.0 * np.pi / 24.0)
    return np.sin(hour), np.cos(hour)


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return floats_of(frame[name])
