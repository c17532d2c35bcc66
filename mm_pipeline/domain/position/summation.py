"""Sums that do not drift over years of fills."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.position.compilation import compiled


def running_sum(values: Floats, start: float = 0.0) -> Floats:
    """Sum before and after each value, as if added in twice the precision (Neumaier 1974).

    A plain cumulative sum of the flows of 100,000 quote is off by 1e-7 after 50,000 fills.

    Parameters
    ----------
    values
        Shape ``(n,)``.

    Returns
    -------
    Shape ``(n + 1,)``, the first ``start``.
    """
    return compiled(_running_sum)(values, start)


def _running_sum(values: Floats, start: float) -> Floats:
    sums = np.empty(len(values) + 1)
    sums[0] = start
    total, lost = start, 0.0
    for i in range(len(values)):
        value = values[i]
        rounded = total + value
        if abs(total) >= abs(value):
            lost += (total - rounded) + value
        else:
            lost += (value - rounded) + total
        total = rounded
        sums[i + 1] = total + lost
    return sums
