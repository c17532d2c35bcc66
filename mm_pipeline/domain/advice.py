"""What an operator is told to do: the one place where a grid gets exit advice or entry advice, never both.

An enabled grid is watched for its exit and never shown entry advice; a disabled one is advised on entry and never shown
exit or risk recommendations.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mm_pipeline.domain.arrays import Bools
from mm_pipeline.domain.candles import DataPolicy, data_quality
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.entry_state import entry_states
from mm_pipeline.domain.exit_state import EntryPolicy, ExitStatePolicy, exit_states
from mm_pipeline.domain.exit_state.trust import HAS_METRICS, metrics_there
from mm_pipeline.domain.failed_fetches import with_failed_fetches
from mm_pipeline.domain.holes import with_cover_notes
from mm_pipeline.domain.lookback import longest_lookback_ms
from mm_pipeline.domain.market_view import MarketView


@dataclass(frozen=True)
class Advice:
    """Rows of one grid: exit states while it was enabled, entry states while it was not."""

    exit_states: pl.DataFrame
    entry_states: pl.DataFrame


@dataclass(frozen=True)
class AdvicePolicy:
    """The thresholds that turn analysis into advice, and the name they go by."""

    name: str
    data: DataPolicy
    exit_state: ExitStatePolicy
    entry: EntryPolicy


def advise(
    analysis: pl.DataFrame,
    market: MarketView,
    policy: AdvicePolicy,
    problems: pl.DataFrame | None = None,
    *,
    from_ms: int | None = None,
) -> Advice:
    """Decide exit or entry state of one grid at each evaluation.

    Parameters
    ----------
    analysis
        Output of :func:`~mm_pipeline.domain.grid_analysis.grid_analysis`, ascending.
    market
        Bars, metrics and verdicts of its market.
    policy
        Thresholds.
    problems
        ``evaluated_at, problem, hides_bars, hides_metrics``: evaluations at which the market could not be judged for a
        reason that its bars do not show; they are UNKNOWN. Where bars are hidden (a skewed clock) nothing is believed;
        where metrics are (they broke their contract) a breached stop still wins; else (a grid file that cannot be
        read) every fact about bars does. ``is_failed_fetch`` marks a fetch that failed: it is told beside the state
        where the newest bar is missing for it, and makes the evaluation UNKNOWN where that has lasted.
    from_ms
        First evaluation (epoch ms) that is advised on; those before it are only looked back on. All are, without it.

    Returns
    -------
    Every row of ``analysis`` from then on is in exactly one of the two frames.
    """
    evaluated_ms = epoch_ms(analysis["evaluated_at"])
    quality = data_quality(
        market.bars.frame,
        quarantined_ms=market.quarantined_ms,
        evaluated_ms=evaluated_ms,
        policy=policy.data,
        lookback_ms=longest_lookback_ms(policy.exit_state),
        told_from_ms=from_ms,
    )
    quality = with_cover_notes(quality, market, policy.data)
    if problems is not None:
        quality, blinding = with_failed_fetches(quality, problems, market.bars, policy.data)
        quality = _blinded(quality, blinding)
    is_enabled = analysis["is_enabled"].to_numpy()
    is_entered = ~is_enabled if from_ms is None else ~is_enabled & (evaluated_ms >= from_ms)
    return Advice(
        exit_states=exit_states(
            _rows(analysis, is_enabled),
            market,
            _rows(quality, is_enabled),
            policy.exit_state,
            policy.name,
            from_ms=from_ms,
        ),
        entry_states=entry_states(
            _rows(analysis, is_entered),
            market,
            _rows(quality, is_entered),
            exit_policy=policy.exit_state,
            policy=policy.entry,
            policy_name=policy.name,
        ),
    )


def _rows(frame: pl.DataFrame, is_wanted: Bools) -> pl.DataFrame:
    """The wanted rows; mostly all or none, as a grid is seldom switched."""
    if is_wanted.all():
        return frame
    return frame.filter(pl.Series(is_wanted)) if is_wanted.any() else frame.clear()


def _blinded(quality: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Mark evaluations that met a problem as not good, the problem first among the reasons."""
    named = problems.group_by("evaluated_at").agg(
        pl.col("problem").unique(maintain_order=True), pl.col("hides_bars", "hides_metrics").any()
    )
    joined = quality.join(named, on="evaluated_at", how="left", maintain_order="left")
    has_problem = pl.col("problem").is_not_null()
    return joined.with_columns(
        is_good=pl.col("is_good") & ~has_problem,
        is_stale=pl.col("is_stale") | pl.col("hides_bars").fill_null(False),
        reasons=pl.concat_list(pl.col("problem").fill_null([]), "reasons"),
        **{HAS_METRICS: pl.Series(metrics_there(quality)) & ~pl.col("hides_metrics").fill_null(False)},
    ).drop("problem", "hides_bars", "hides_metrics")
