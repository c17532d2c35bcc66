"""The package's exit states and the plain loop's behind one shape, for grids described relative to a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from mm_pipeline.domain.candles import DataPolicy, data_quality
from mm_pipeline.domain.entry_state import entry_states
from mm_pipeline.domain.exit_state import exit_states
from mm_pipeline.domain.exit_state.policy import EntryPolicy, ExitStatePolicy
from mm_pipeline.domain.grid import Grid as DeclaredGrid
from mm_pipeline.domain.grid import GridVersion as DeclaredVersion
from mm_pipeline.domain.grid import Spacing
from mm_pipeline.domain.grid_analysis import grid_analysis
from mm_pipeline.domain.lookback import longest_lookback_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView, Timeline
from mm_pipeline_tests.reference.bars import MS_15M, frame_of
from mm_pipeline_tests.reference.entry_state import EntryThresholds, entry_state
from mm_pipeline_tests.reference.exit_state import CONFIRMED, INFORMED, SEED, TRIGGERS, ExitJudge, ExitThresholds
from mm_pipeline_tests.reference.grid import GridVersion, Market, analysis_at, grid_in_force, is_ahead
from mm_pipeline_tests.reference.samples import Sample, loops_of
from mm_pipeline_tests.reference.sides import judges_of, market_frames

Row = dict[str, Any]

ANALYSIS = (
    "price",
    "position_health",
    "distance_to_lower_atr",
    "distance_to_upper_atr",
    "distance_to_stop_atr",
    "stop_loss_risk",
)

_TABLE: dict[str, Any] = {
    "since_window": "7d",
    "stop_loss_risk": {"critical_atr": 1.0, "high_atr": 2.0, "medium_atr": 4.0},
    "information": ["stop_likely"],
    "regime_trend": {"is_confirmed_on_4h": False},
    "range_invalidated": {"buffer_atr": 0.5},
    "closes_outside": {"count": 2, "timeframe": "1h"},
    "latest": {"min_triggers": 1},
    "stop_likely": {"p_stop_24h": 0.5},
    "transition_persists": {"bars_1h": 4, "bars_4h": 2},
    "half_life_doubled": {"ratio": 2.0, "bars": 1, "kappa": "plain"},
    "volatility_expanded": {"ratio": 1.25},
    "warning": {"min_triggers": 2},
    "transition_likely": {"p_transition": 0.40},
    "confidence_declining": {"bars": 6, "drop": 0.10},
    "efficiency_rising": {"efficiency_ratio": 0.42, "rising_bars": 6, "bars": 3},
    "reversion_slowing": {"ratio": 0.67, "bars": 3},
}
_CONFIRMED_TABLE = _TABLE | {
    "regime_trend": {"is_confirmed_on_4h": True},
    "latest": {"min_triggers": 2},
    "half_life_doubled": {"ratio": 2.0, "bars": 3, "kappa": "upper"},
}
POLICIES: dict[str, tuple[ExitStatePolicy, ExitThresholds]] = {
    "seed": (ExitStatePolicy.model_validate(_TABLE), SEED),
    "confirmed": (ExitStatePolicy.model_validate(_CONFIRMED_TABLE), CONFIRMED),
    "informed": (ExitStatePolicy.model_validate(_TABLE | {"information": list(INFORMED.information)}), INFORMED),
}
ENTRY_POLICY = EntryPolicy(
    min_confidence=0.5, buffer_atr=0.5, min_width_pct=3.0, fee_multiple=3.0, max_levels=50, stop_atr_4h=1.5
)
DATA_POLICY = DataPolicy(
    max_age=timedelta(minutes=35),
    max_failed_fetches=2,
    warm_up_days=51,
    min_coverage=0.95,
    min_coverage_24h=0.90,
    quarantine_window=timedelta(hours=24),
    min_median_quote_volume_24h=0.0,
    max_synthetic_share_24h=1.0,
)


def evaluations_of(sample: Sample) -> list[int]:
    """Every 15m close of a sample, and three after its newest bar, when the market is going stale."""
    closes = sample.quarters.close_time
    return [*closes, *(closes[-1] + i * MS_15M for i in (1, 2, 3))]


@lru_cache(maxsize=64)
def package_states(sample: Sample, versions: tuple[GridVersion, ...], policy_name: str) -> tuple[list[Row], list[Row]]:
    """Exit states and grid analysis of the package, and the quality rows of the same evaluations."""
    view, analysis, quality = _judged(sample, versions, policy_name)
    states = exit_states(analysis, view, quality, POLICIES[policy_name][0], policy_name)
    return [_package_row(row) for row in states.to_dicts()], quality.to_dicts()


def package_entries(sample: Sample, versions: tuple[GridVersion, ...], policy_name: str) -> tuple[list[Row], list[Row]]:
    """Entry states of the package, and the quality rows of the same evaluations."""
    view, analysis, quality = _judged(sample, versions, policy_name)
    exit_policy = POLICIES[policy_name][0]
    states = entry_states(
        analysis, view, quality, exit_policy=exit_policy, policy=ENTRY_POLICY, policy_name=policy_name
    )
    return states.with_columns(pl.col("evaluated_at").dt.epoch("ms")).to_dicts(), quality.to_dicts()


def loop_entries(
    sample: Sample, versions: Sequence[GridVersion], policy_name: str, quality: Sequence[Row], *, rows: Sequence[int]
) -> list[Row]:
    """These rows of the same by the plain loop; data quality is an input."""
    judge = _exit_judge(sample, versions, policy_name)
    evaluations = [at for at in evaluations_of(sample) if grid_in_force(versions, at)]
    return [_entry_row(judge, evaluations[i], quality[i]) for i in rows]


def _entry_row(judge: ExitJudge, at: int, seen: Row) -> Row:
    is_liquid = not seen["is_low_liquidity"]
    entry = entry_state(judge, at, EntryThresholds(), is_good=seen["is_good"], is_liquid=is_liquid)
    row: Row = {"evaluated_at": at, "state": entry.state, "verdict": entry.verdict, "confidence": entry.confidence}
    for name in ("lower", "upper", "stop_loss", "levels"):
        row[f"proposed_{name}"] = None if entry.proposal is None else getattr(entry.proposal, name)
    return row


def _judged(
    sample: Sample, versions: Sequence[GridVersion], policy_name: str
) -> tuple[MarketView, pl.DataFrame, pl.DataFrame]:
    """Market, grid analysis and data quality by the package."""
    policy = POLICIES[policy_name][0]
    frames = market_frames(sample)
    view = MarketView(
        Timeline(frame_of(sample.quarters)),
        Timeline(frames[Timeframe.H1]),
        Timeline(frames[Timeframe.H4]),
        np.empty(0, np.int64),
    )
    declared = [DeclaredVersion(_declared(version), _utc(version.valid_from)) for version in versions]
    analysis = grid_analysis(declared, view, np.array(evaluations_of(sample), np.int64), policy)
    quality = data_quality(
        view.bars.frame,
        quarantined_ms=None,
        evaluated_ms=analysis["evaluated_at"].dt.epoch("ms").to_numpy(),
        policy=DATA_POLICY,
        lookback_ms=longest_lookback_ms(policy),
    )
    return view, analysis, quality


def loop_states(
    sample: Sample, versions: Sequence[GridVersion], policy_name: str, quality: Sequence[Row], *, every: int = 1
) -> list[Row]:
    """The same rows, or every so many of them, by the plain loop; whether data was good and fresh is an input."""
    judge = _exit_judge(sample, versions, policy_name)
    evaluations = [at for at in evaluations_of(sample) if grid_in_force(versions, at)]
    return [
        _loop_row(judge, at, is_good=seen["is_good"], is_fresh=not seen["is_stale"])
        for at, seen in list(zip(evaluations, quality, strict=True))[::every]
    ]


def _exit_judge(sample: Sample, versions: Sequence[GridVersion], policy_name: str) -> ExitJudge:
    market = Market(sample.quarters, *loops_of(sample))
    return ExitJudge(market, judges_of(sample), versions, POLICIES[policy_name][1])


def _loop_row(judge: ExitJudge, at: int, *, is_good: bool, is_fresh: bool) -> Row:
    grid = grid_in_force(judge.versions, at)
    assert grid is not None
    is_watched = not is_ahead(grid, at)
    state = judge.at(at, is_good=is_good and is_watched, is_fresh=is_fresh and is_watched)
    analysis = analysis_at(judge.market, grid, at)
    row: Row = {"grid": grid.id, "evaluated_at": at, "state": state.state, "counterfactual": state.counterfactual}
    row |= {name: None if analysis is None else getattr(analysis, name) for name in ANALYSIS}
    if not is_fresh and row["stop_loss_risk"] != "BREACHED":
        row["stop_loss_risk"] = None
    for name, trigger in state.triggers.items():
        row |= _flat(name, asdict(trigger) | {"fired": trigger.is_fired})
    return row


def _package_row(row: Row) -> Row:
    flat: Row = {"grid": row["grid"], "evaluated_at": _ms(row["evaluated_at"]), "state": row["state"]}
    flat["counterfactual"] = {each["trigger"]: each["state"] for each in row["counterfactual"]}
    flat |= {name: row[name] for name in ANALYSIS}
    for name in TRIGGERS:
        flat |= _flat(name, row[name] | {"since": _ms(row[name]["since"])})
    return flat


def _flat(name: str, trigger: Row) -> Row:
    return {f"{name}.{key}": trigger[key] for key in ("value", "threshold", "margin", "fired", "since")}


def _declared(version: GridVersion) -> DeclaredGrid:
    grid = version.grid
    return DeclaredGrid(
        id=grid.id,
        exchange="kucoin",
        symbol="ETH/USDT",
        enabled=grid.is_enabled,
        lower=grid.lower,
        upper=grid.upper,
        levels=6,
        spacing=Spacing(grid.spacing),
        stop_loss=grid.stop_loss,
        capital=1000.0,
        fee=grid.fee,
        started_at=_utc(grid.started_at),
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def _utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
