"""How shown verdicts met a known truth: counts by hour, recall and precision with honest intervals, and delay.

Neighbouring hours of one market are not independent: intervals come from resampling blocks of days, whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.regime.verdict import VERDICTS

TRUTHS: Final = ("RANGE", "TRANSITION", "TREND")
SHOWN_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "RANGE": ("RANGE_OK", "RANGE_WEAK"),
    "TRANSITION": ("TRANSITION",),
    "TREND": ("TREND",),
}
"""Which shown verdicts are right for each true regime."""
BLOCK_DAYS: Final = 7
DRAWS: Final = 2000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval by block bootstrap; None where there is nothing to share."""

    value: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """Value and interval, rounded to four digits."""
        return {name: None if value is None else round(value, 4) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Delay:
    """Hours from the beginning of true segments of a regime until a right verdict was first shown.

    ``missed`` segments ended before; quantiles are over those that were detected (None where there is none).
    """

    segments: int
    missed: int
    median_h: float | None
    p90_h: float | None


@dataclass(frozen=True)
class ConfusionTable:
    """Hours by true regime and shown verdict, per block of days.

    Attributes
    ----------
    blocks
        Counts, shape (blocks, truths, shown): the unit of resampling.
    """

    truth_names: tuple[str, ...]
    shown_names: tuple[str, ...]
    blocks: np.ndarray[Any, np.dtype[np.int64]]

    @cached_property
    def counts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Hours, shape (truths, shown)."""
        return np.asarray(self.blocks.sum(axis=0), dtype=np.int64)

    @property
    def hours(self) -> int:
        """Hours judged."""
        return int(self.counts.sum())

    def count(self, truth: str, shown: str) -> int:
        """Hours of this truth that were shown so."""
        return int(self.counts[self.truth_names.index(truth), self.shown_names.index(shown)])

    def share(self, truth: str, shown: str) -> float:
        """Share of the hours of this truth that were shown so; 0 where the truth never was."""
        total = int(self.counts[self.truth_names.index(truth)].sum())
        return self.count(truth, shown) / total if total else 0.0

    def base_rate(self, truth: str) -> float:
        """Share of all hours: the precision of always saying so."""
        total = int(self.counts[self.truth_names.index(truth)].sum())
        return total / self.hours if self.hours else 0.0

    def recall(self, truth: str) -> Share:
        """Share of the hours of a truth on which a right verdict was shown."""
        right = self._right(truth)
        return self._share(right, self.blocks[:, self.truth_names.index(truth), :].sum(axis=1))

    def precision(self, truth: str) -> Share:
        """Share of the hours on which a verdict of this truth was shown that were of this truth."""
        shown = [self.shown_names.index(name) for name in SHOWN_OF[truth]]
        return self._share(self._right(truth), self.blocks[:, :, shown].sum(axis=(1, 2)))

    def accuracy(self) -> Share:
        """Share of all hours on which a right verdict was shown."""
        right = np.sum([self._right(truth) for truth in self.truth_names], axis=0)
        return self._share(right, self.blocks.sum(axis=(1, 2)))

    def _right(self, truth: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        shown = [self.shown_names.index(name) for name in SHOWN_OF[truth]]
        return np.asarray(self.blocks[:, self.truth_names.index(truth), :][:, shown].sum(axis=1), dtype=np.int64)

    def _share(self, part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> Share:
        if not whole.sum():
            return Share(None, None, None)
        blocks = len(whole)
        # Seeded, so that a rerun says the same.
        drawn = np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), size=DRAWS)
        parts, wholes = drawn @ part, drawn @ whole
        shares = parts[wholes > 0] / wholes[wholes > 0]
        low, high = np.quantile(shares, [0.025, 0.975])
        return Share(float(part.sum() / whole.sum()), float(low), float(high))


def confusion_of(markets: Sequence[pl.DataFrame]) -> ConfusionTable:
    """Count hours.

    Parameters
    ----------
    markets
        Per market ``close_time, truth, verdict`` of 1h bars; rows without a verdict are left out.
    """
    counted = []
    for market in markets:
        known = market.filter(pl.col("verdict").is_not_null())
        block = known["close_time"].dt.epoch("ms").to_numpy() // (BLOCK_DAYS * _DAY_MS)
        truth = np.array([TRUTHS.index(name) for name in known["truth"]], dtype=np.int64)
        shown = np.array([VERDICTS.index(name) for name in known["verdict"]], dtype=np.int64)
        _, place = np.unique(block, return_inverse=True)
        blocks = np.zeros((int(place.max(initial=-1)) + 1, len(TRUTHS), len(VERDICTS)), dtype=np.int64)
        np.add.at(blocks, (place, truth, shown), 1)
        counted.append(blocks)
    return ConfusionTable(TRUTHS, VERDICTS, np.concatenate(counted))


def detection_delay(markets: Sequence[pl.DataFrame], truth: str) -> Delay:
    """How long it took to show a right verdict after a regime began.

    A segment counts where it began under another truth and was judged from its beginning on. A right verdict that was
    already shown when it began counts as 0 hours.

    Parameters
    ----------
    markets
        As for :func:`confusion_of`, ascending.
    truth
        One of ``TRUTHS``.
    """
    hours: list[float] = []
    missed = 0
    for market in markets:
        known = market.filter(pl.col("verdict").is_not_null())
        runs = known.group_by(pl.col("truth").rle_id().alias("run"), maintain_order=True).agg(
            pl.col("truth").first(),
            pl.col("close_time").first().alias("begins"),
            right_at=pl.col("close_time").filter(pl.col("verdict").is_in(SHOWN_OF[truth])).first(),
        )
        for begins, right_at in runs[1:].filter(truth=truth).select("begins", "right_at").iter_rows():
            if right_at is None:
                missed += 1
            else:
                hours.append((right_at - begins).total_seconds() * 1000 / Timeframe.H1.ms)
    if not hours:
        return Delay(missed, missed, None, None)
    median, p90 = np.quantile(hours, [0.5, 0.9])
    return Delay(len(hours) + missed, missed, float(median), float(p90))
