"""Evaluations whose newest bar is missing because the fetch failed: the first is told, one that lasts is UNKNOWN."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.columns import constant_column, epoch_ms
from mm_pipeline.domain.market_view import Timeline, run_lengths

FAILED_FETCH: Final = "is_failed_fetch"
"""Column of problems: the market's candles could not be fetched; what that means depends on the bars that are there."""
FAILED_FETCHES: Final = "failed_fetches"
"""Column of quality and of exit states: evaluations in a row, this one included, whose newest bar is missing because
the fetch failed; 0 where it is there, or no fetch failed."""


def with_failed_fetches(
    quality: pl.DataFrame, problems: pl.DataFrame, bars: Timeline, policy: DataPolicy
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Judge failed fetches by the bars that are there.

    Parameters
    ----------
    quality
        Output of :func:`~mm_pipeline.domain.candles.data_quality`, ascending.
    problems
        As for ``advise``; where ``FAILED_FETCH`` is set, a fetch that failed.
    bars
        15m bars of the market.
    policy
        ``max_failed_fetches``.

    Returns
    -------
    quality
        With ``FAILED_FETCHES``, and the failure first among the reasons where a bar is missing or data is not good.
    problems
        The others, and every failure that has lasted ``max_failed_fetches`` evaluations: those are UNKNOWN.
    """
    is_failed = pl.col(FAILED_FETCH).fill_null(False) if FAILED_FETCH in problems.columns else pl.lit(False)
    others = problems.filter(~is_failed).drop(FAILED_FETCH, strict=False)
    failed = problems.filter(is_failed).drop(FAILED_FETCH, strict=False)
    evaluated_ms = epoch_ms(quality["evaluated_at"])
    is_late = np.isin(evaluated_ms, epoch_ms(failed["evaluated_at"])) & (_as_of_ms(bars, evaluated_ms) < evaluated_ms)
    counted = quality.with_columns(pl.Series(FAILED_FETCHES, run_lengths(is_late, evaluated_ms), dtype=pl.Int64))
    if failed.is_empty():
        return counted, others
    lasting = failed.join(counted.select("evaluated_at", FAILED_FETCHES), on="evaluated_at", maintain_order="left")
    lasting = lasting.filter(pl.col(FAILED_FETCHES) >= policy.max_failed_fetches)
    why = pl.format(
        "the newest bar could not be fetched at {} evaluations in a row (data.max_failed_fetches): {}",
        FAILED_FETCHES,
        "problem",
    )
    blinding = lasting.with_columns(why.alias("problem"), hides_bars=False, hides_metrics=False).select(others.columns)
    return _told(counted, failed, policy), pl.concat([others, blinding])


def failed_fetches_in(quality: pl.DataFrame) -> pl.Series:
    """The column of counts; 0 throughout where nobody said that a fetch failed."""
    if FAILED_FETCHES in quality.columns:
        return quality[FAILED_FETCHES]
    return constant_column(FAILED_FETCHES, 0, len(quality), pl.Int64)


def _told(quality: pl.DataFrame, failed: pl.DataFrame, policy: DataPolicy) -> pl.DataFrame:
    texts = failed.group_by("evaluated_at").agg(pl.col("problem").unique(maintain_order=True))
    joined = quality.join(texts, on="evaluated_at", how="left", maintain_order="left")
    count = pl.col(FAILED_FETCHES)
    is_told = (count < policy.max_failed_fetches) & ((count > 0) | ~pl.col("is_good"))
    problem = pl.when(is_told).then("problem").fill_null([])
    return joined.with_columns(reasons=pl.concat_list(problem, "reasons")).drop("problem")


def _as_of_ms(bars: Timeline, evaluated_ms: Integers) -> Integers:
    """Close (epoch ms) of the newest bar known at each evaluation; -1 where there is none."""
    closed = np.append(epoch_ms(bars.frame["close_time"]), -1)
    return np.asarray(closed[bars.index_at(evaluated_ms)])
