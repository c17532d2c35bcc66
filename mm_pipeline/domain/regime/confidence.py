"""What the confidence model looks at: how settled the shown verdict is."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.columns import floats_of
from mm_pipeline.domain.regime.features import day_circle

_CODES: Final = {"range_ok": 0, "range_weak": 1, "transition": 2, "trend": 3}
_PARTS: Final = ("shown", "raw_agrees", "p_transition", "range_score", "efficiency_ratio_10")

CONFIDENCE_FEATURES: Final = (
    "hour_sin",
    "hour_cos",
    *(f"{verdict}:{part}" for verdict in _CODES for part in _PARTS),
)
"""Names of the features of ``confidence``."""


def confidence_features(
    metrics: pl.DataFrame,
    *,
    raw: NDArray[np.int64],
    shown: NDArray[np.int64],
    p_transition: Floats,
    range_score: Floats,
) -> dict[str, Floats]:
    """Features of ``confidence``, each of shape (n,); those of a verdict are 0 where another one is shown.

    The hour of the close (UTC) on the day's circle; and for each verdict its indicator, whether the raw verdict agrees,
    ``p_transition`` (0 where there is no range), the range score and the efficiency ratio over 10 bars. They look no
    farther back than the shown verdict does.
    """
    hour_sin, hour_cos = day_circle(metrics["close_time"])
    parts = {
        "shown": np.ones(len(shown)),
        "raw_agrees": (raw == shown).astype(np.float64),
        "p_transition": np.nan_to_num(p_transition),
        "range_score": range_score,
        "efficiency_ratio_10": floats_of(metrics["efficiency_ratio_10"]),
    }
    by_verdict = {
        f"{verdict}:{part}": np.where(shown == code, parts[part], 0.0)
        for verdict, code in _CODES.items()
        for part in _PARTS
    }
    return {"hour_sin": hour_sin, "hour_cos": hour_cos, **by_verdict}
