"""The worst tenth of many resamples, compiled: values above the tail are not looked at."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.position.compilation import compiled


@compiled
def worst_tenth_of_draws(ordered: Floats, week: Integers, times_drawn: Integers, wanted: Floats) -> Floats:
    """Mean of the lowest ``wanted`` values of each resample, the one at the edge in part; NaN where none is wanted.

    ``ordered`` rises; a value is in a resample as often as its week is drawn.
    """
    found = np.full(len(times_drawn), np.nan)
    for draw in range(len(times_drawn)):
        left, total = wanted[draw], 0.0
        if left <= 0.0:
            continue
        for k in range(len(ordered)):
            taken = min(float(times_drawn[draw, week[k]]), left)
            total += taken * ordered[k]
            left -= taken
            if left <= 0.0:
                break
        found[draw] = total / wanted[draw]
    return found
