"""Opponents of a policy on the same grids: random exits, its own signals shifted in time, perfect foresight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zlib import crc32

import numpy as np

from mm_pipeline.application.studies.policies.baseline import Baseline
from mm_pipeline.domain.arrays import Floats, Integers
from mm_pipeline.domain.market import Timeframe

SHIFTS: Final = 200
_NEAREST_DAYS: Final = 30
"""A shift is no nearer than this to what was true: volatility stays for weeks."""
_INVENTORY_BINS: Final = (0.2, 0.4, 0.6, 0.8)
"""Shares of the capital between which random exits have a rate of their own."""


@dataclass(frozen=True, eq=False)
class Draws:
    """What a fixed seed draws for one series, the same for every policy.

    Attributes
    ----------
    shifts
        Shape ``(SHIFTS,)``: bars.
    waits, skips
        Shape ``(draws, m)``: exponential of mean 1, and uniform in 0..1.
    """

    shifts: Integers
    waits: Floats
    skips: Floats

    @classmethod
    def of(cls, baseline: Baseline, name: str, draws: int) -> Draws:
        """Drawn from the name of a series, whatever others there are."""
        random = np.random.default_rng(crc32(name.encode()))
        market, grids = baseline.market, len(baseline.programme.entry)
        return cls(
            shifts_of(len(market.closed_ms) - market.first, random),
            random.exponential(size=(draws, grids)),
            random.random((draws, grids)),
        )


def shifts_of(span_bars: int, random: np.random.Generator) -> Integers:
    """Random shifts round a stretch of bars, at least ``_NEAREST_DAYS`` or a quarter of the stretch away from 0."""
    nearest = min(_NEAREST_DAYS * Timeframe.M15.bars_per_day, span_bars // 4)
    return random.integers(nearest, max(span_bars - nearest, nearest + 1), size=SHIFTS)


def random_exits(baseline: Baseline, left: Integers, draws: Draws) -> Integers:
    """Exits at random, at the rate a bar that a policy has at each size of inventory; shape ``(draws, m)``.

    Parameters
    ----------
    left
        Shape ``(m,)``: where the policy leaves each grid; -1 where it does not place it. As large a share of grids is
        skipped at random.
    """
    programme = baseline.programme
    is_placed, is_exit = left >= 0, (left >= 0) & (left < programme.last)
    place = np.digitize(programme.held_share, _INVENTORY_BINS)
    kinds = len(_INVENTORY_BINS) + 1
    is_in = np.zeros(len(place), dtype=np.bool_)
    for entry, end in zip(programme.entry[is_placed].tolist(), left[is_placed].tolist(), strict=True):
        is_in[entry + 1 : end + 1] = True
    exits = np.bincount(place[left[is_exit]], minlength=kinds)
    rate = exits / np.maximum(np.bincount(place[is_in], minlength=kinds), 1)
    hazard = np.cumsum(-np.log1p(-np.minimum(rate, 0.999))[place])
    due = hazard[programme.entry] + draws.waits
    found = np.minimum(np.searchsorted(hazard, due.ravel()).reshape(due.shape), programme.last)
    return np.where(draws.skips < np.mean(~is_placed) if len(left) else False, -1, found)


def oracle_exits(baseline: Baseline) -> Integers:
    """Where each grid is worth most, shape ``(1, m)``; -1 where it never is worth anything."""
    programme = baseline.programme
    found = np.full((1, len(programme.entry)), -1, dtype=np.int64)
    for k, (entry, last) in enumerate(zip(programme.entry.tolist(), programme.last.tolist(), strict=True)):
        best = entry + 1 + int(np.argmax(programme.worth_pct[entry + 1 : last + 1]))
        if programme.worth_pct[best] > 0:
            found[0, k] = best
    return found
