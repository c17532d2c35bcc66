"""Trailing windows and the finite form of recursive filters, the building blocks of every indicator."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TRUNCATION = 1e-4
"""Weight of the neglected tail of a recursive filter (SPEC 1)."""

_CHUNK_ROWS = 2048


def finite_length(decay: float) -> int:
    """Bars after which a recursive filter with this decay is cut: ``ceil(ln 1e-4 / ln decay)``."""
    return math.ceil(math.log(TRUNCATION) / math.log(decay))


def ema_decay(n: int) -> float:
    """Decay of an exponential mean of span ``n``: ``1 - 2 / (n + 1)``."""
    return 1.0 - 2.0 / (n + 1)


def wilder_decay(n: int) -> float:
    """Decay of Wilder's smoothing over ``n`` bars: ``1 - 1 / n``."""
    return 1.0 - 1.0 / n


def rows(values: Floats, n: int) -> Floats:
    """View of all full trailing windows, shape (len - n + 1, n); (0, n) where the input is shorter."""
    if len(values) < n:
        return np.empty((0, n))
    return np.lib.stride_tricks.sliding_window_view(values, n)


def trailing(reduce: Callable[..., Floats], n: int, *inputs: Floats) -> Floats:
    """Apply ``reduce(window_of_first, window_of_second, ...)`` to every full window of the last ``n`` values.

    ``reduce`` gets arrays of shape (rows, n) and returns (rows,) or (rows, k); it is called on blocks of rows so that
    temporaries stay small. The result has the length of the input, NaN before the first full window.
    """
    length = len(inputs[0])
    views = [rows(values, n) for values in inputs]
    blocks = [
        reduce(*(view[start : start + _CHUNK_ROWS] for view in views)) for start in range(0, len(views[0]), _CHUNK_ROWS)
    ]
    if not blocks:
        shape = reduce(*(np.ones((1, n)) for _ in inputs)).shape[1:]
        return np.full((length, *shape), np.nan)
    values = np.concatenate(blocks)
    return np.concatenate([np.full((min(n - 1, length), *values.shape[1:]), np.nan), values])


def moving(reduce: np.ufunc, values: Floats, n: int) -> Floats:
    """Reduce the last ``n`` values, a few, with ``np.add``, ``np.maximum`` or ``np.minimum``, oldest first.

    The same values give the same bits wherever they stand, so that equal windows compare equal. NaN before the first
    full window and where a value is NaN.
    """
    result = np.full(len(values), np.nan)
    if len(values) >= n:
        total = result[n - 1 :]
        total[:] = values[: len(total)]
        for later in range(1, n):
            reduce(total, values[later : later + len(total)], out=total)
    return result


def lagged(values: Floats, bars: int) -> Floats:
    """The value some bars ago, at least one; NaN where there is none."""
    return np.concatenate([np.full(min(bars, len(values)), np.nan), values[:-bars]])


def finite_mean(values: Floats, decay: float) -> Floats:
    """Finite weighted mean ``sum_{k<L} d^k x_{t-k} / sum_{k<L} d^k`` with L from :func:`finite_length` (SPEC 1).

    Leading NaN of the input (its own lookback) are passed over; the output starts L - 1 values later.
    """
    length = finite_length(decay)
    weights = decay ** np.arange(length, dtype=np.float64)
    skip = int(np.isnan(values).sum())
    result = np.full(len(values), np.nan)
    if len(values) - skip >= length:
        result[skip + length - 1 :] = np.convolve(values[skip:], weights, "valid") / weights.sum()
    return result


def is_flat(window: Floats) -> NDArray[np.bool_]:
    """Rows of a (rows, n) window whose values are all equal, exactly: no rounding decides what is flat."""
    return np.asarray(window.max(axis=1) == window.min(axis=1))
