"""What the confidence model looks at: how settled the shown verdict is."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.indicators.windows import Floats

RUN_BARS: Final = 24
"""A verdict that has been shown for longer than this counts as shown this long: memory is finite."""

_CODES: Final = {"range_ok": 0, "range_weak": 1, "transition": 2, "trend": 3}
_PARTS: Final = ("shown", "log2_run", "raw_agrees", "p_transition", "range_score", "efficiency_ratio_24")

CONFIDENCE_FEATURES: Final = tuple(f"{verdict}:{part}" for verdict in _CODES for part in _PARTS)
"""Names of the features of ``confidence``."""


def run_length(codes: NDArray[np.int64], cap: int) -> NDArray[np.int64]:
    """Bars, the present one included, over which the code has not changed, counted up to ``cap``."""
    bar = np.arange(len(codes))
    changed = np.ones(len(codes), dtype=bool)
    changed[1:] = codes[1:] != codes[:-1]
    began: NDArray[np.int64] = np.maximum.accumulate(np.where(changed, bar, 0))
    return np.asarray(np.minimum(bar - began + 1, cap))


def confidence_features(
    metrics: pl.DataFrame,
    *,
    raw: NDArray[np.int64],
    shown: NDArray[np.int64],
    p_transition: Floats,
    range_score: Floats,
) -> dict[str, Floats]:
    """Features of ``confidence``, each of shape (n,), one set per shown verdict (0 elsewhere).

    For each verdict: its indicator, log2 of how long it has been shown, whether the raw verdict agrees,
    ``p_transition`` (0 where there is no range), the range score and the efficiency ratio over 24 bars.
    """
    parts = {
        "shown": np.ones(len(shown)),
        "log2_run": np.log2(run_length(shown, RUN_BARS)),
        "raw_agrees": (raw == shown).astype(np.float64),
        "p_transition": np.nan_to_num(p_transition),
        "range_score": range_score,
        "efficiency_ratio_24": metrics["efficiency_ratio_24"].cast(pl.Float64).to_numpy(),
    }
    return {
        f"{verdict}:{name}": np.where(shown == code, values, 0.0)
        for verdict, code in _CODES.items()
        for name, values in parts.items()
    }
