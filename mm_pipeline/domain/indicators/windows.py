"""Reductions of trailing windows and the finite form of recursive filters, the building blocks of every indicator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats

TRUNCATION = 1e-4
"""Weight of the neglected tail of a recursive filter (SPEC 1)."""

_CACHED_ROWS = 256


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


def by_rows(reduce: Callable[..., Floats], *windows: Floats) -> Floats:
    """Apply ``reduce`` to a few hundred windows at a time: what it makes of them on the way fits the processor's cache.

    Each input has one window a row; the result has one value (or row of values) for each.
    """
    starts = range(0, max(1, len(windows[0])), _CACHED_ROWS)
    return np.concatenate([reduce(*(view[start : start + _CACHED_ROWS] for view in windows)) for start in starts])


def from_first_window(values: Floats, length: int) -> Floats:
    """One value (or row of values) for each full window, as one for each of ``length`` bars: NaN before the first."""
    return np.concatenate([np.full((length - len(values), *values.shape[1:]), np.nan), values])


def lagged(values: Floats, bars: int) -> Floats:
    """The value some bars ago, at least one; NaN where there is none."""
    return np.concatenate([np.full(min(bars, len(values)), np.nan), values[:-bars]])


def moving(reduce: np.ufunc, values: Floats, n: int) -> Floats:
    """Reduce the last ``n`` values, a few, with ``np.add``, ``np.maximum`` or ``np.minimum``, oldest first.

    The same values give the same bits wherever they stand, so that equal windows compare equal. NaN before the first
    full window and where a value is NaN.
    """
    total = values[: max(0, len(values) - n + 1)].copy()
    for later in range(1, n):
        reduce(total, values[later : later + len(total)], out=total)
    return from_first_window(total, len(values))


def moving_sum(values: Floats, n: int, *, decay: float = 1.0) -> Floats:
    """Sum of ``decay^k`` times the value k bars ago over the last ``n`` values, many; NaN as in :func:`moving`.

    Sums of 1, 2, 4, 8 .. values are each made of two of the one before, and a window of those that its length is made
    of. So equal windows have equal bits wherever they stand, and whatever stands before them. Nothing is ever
    subtracted: no rounding of a large value outlives it, and a window of zeros sums to exactly 0.
    """
    windows = max(0, len(values) - n + 1)
    total = np.zeros(windows)
    for start, count, part in doubled(values, n, lambda older, newer, size: newer + decay**size * older):
        total += decay ** (n - start - count) * part[start : start + windows]
    return from_first_window(total, len(values))


def doubled(values: Floats, n: int, join: Callable[[Floats, Floats, int], Floats]) -> Iterator[tuple[int, int, Floats]]:
    """Parts of a window of ``n``, newest first: where each starts in it, its length, and that part at every bar.

    Parameters
    ----------
    values
        Of each bar alone; sliced along the bars.
    join
        Makes what belongs to ``2 size`` bars of what belongs to the older and the newer half, ``size`` bars each.
    """
    part, size, left = values, 1, n
    while True:
        if n & size:
            left -= size
            yield left, size, part
        if not left:
            return
        part, size = join(part[:-size], part[size:], size), 2 * size


def finite_mean(values: Floats, decay: float) -> Floats:
    """Finite weighted mean ``sum_{k<L} d^k x_{t-k} / sum_{k<L} d^k`` with L from :func:`finite_length` (SPEC 1).

    NaN before the first L values that follow the leading NaN of the input (its own lookback).
    """
    length = finite_length(decay)
    return moving_sum(values, length, decay=decay) / _total_weight(decay, length)


@cache
def _total_weight(decay: float, length: int) -> float:
    return math.fsum(decay**k for k in range(length))


def is_flat(values: Floats, n: int) -> NDArray[np.bool_]:
    """Bars whose last ``n`` values are all equal, exactly: no rounding decides what is flat."""
    bar = np.arange(len(values))
    newest_change = np.maximum.accumulate(np.where(values != lagged(values, 1), bar, 0))
    return np.asarray(bar - newest_change >= n - 1)


def count_true(flags: NDArray[np.bool_]) -> Floats:
    """How many flags of each row are set; packed into bytes they are counted faster than one by one."""
    counts: Floats = np.bitwise_count(np.packbits(flags, axis=1)).sum(axis=1, dtype=np.float64)
    return counts
