"""Reductions of trailing windows and the finite form of recursive filters, the building blocks of every indicator."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """Sum of ``decay^k`` times the value k bars ago over the last ``n`` values, many; NaN as in :func:`moving`."""
    return block_sum(values, values, n, decay=decay)


def block_sum(heads: Floats, tails: Floats, n: int, *, decay: float = 1.0) -> Floats:
    """Sum over each window of ``n``: of ``tails`` up to the end of a block, of ``heads`` from the next block on.

    Blocks of ``n`` values start at every multiple of ``n``, so each window is the tail of one and the head of the next,
    both known from running sums. Nothing is ever subtracted: no rounding of a large value outlives it, and a window of
    zeros sums to exactly 0.
    """
    fade = decay ** np.arange(n)
    head_sums = np.cumsum(_blocks(heads, n) / fade, axis=1) * fade
    tail_sums = np.cumsum((_blocks(tails, n) / fade)[:, ::-1], axis=1)[:, ::-1] * (fade * decay ** (n - 1))
    tail_sums[:, 0] = 0.0  # the window is one whole block, which is all head
    windows = max(0, len(heads) - n + 1)
    total = head_sums.ravel()[n - 1 : n - 1 + windows] + tail_sums.ravel()[:windows]
    return from_first_window(total, len(heads))


def _blocks(values: Floats, n: int) -> Floats:
    """The values in rows of ``n``, the last filled up with zeros."""
    return np.concatenate([values, np.zeros(-len(values) % n)]).reshape(-1, n)


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
