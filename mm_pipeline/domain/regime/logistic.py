"""Fitted logistic tables with the time from which each may be used.

A bar is judged by the newest table whose ``valid_from`` is not after it; bars before the first table use that one and
are flagged in-sample. Fitting lives in :mod:`mm_pipeline.domain.regime.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats


@dataclass(frozen=True)
class LogisticTable:
    """Coefficients of one fit: ``p = 1 / (1 + exp(-(intercept + coefficients . features)))``.

    ``valid_from_ms`` is the first bar close (epoch ms) it may judge; its fit saw only what was known before.
    """

    valid_from_ms: int
    intercept: float
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class LogisticSeries:
    """A walk-forward series of tables over the same features, oldest first."""

    features: tuple[str, ...]
    tables: tuple[LogisticTable, ...]

    def predict(self, features: Mapping[str, Floats], at_ms: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        """Probability for each bar, and whether its table was fitted on data that includes or follows the bar.

        Parameters
        ----------
        features
            One array of shape (n,) per name in ``self.features``; NaN gives NaN.
        at_ms
            Close times (epoch ms), shape (n,).
        """
        starts = np.array([table.valid_from_ms for table in self.tables])
        chosen = np.searchsorted(starts, at_ms, side="right") - 1
        used = np.maximum(chosen, 0)
        intercept = np.array([table.intercept for table in self.tables])
        coefficients = np.array([table.coefficients for table in self.tables])
        score = intercept[used].astype(np.float64)
        for column, name in enumerate(self.features):
            score = score + coefficients[used, column] * features[name]
        return 1.0 / (1.0 + np.exp(-score)), chosen < 0
