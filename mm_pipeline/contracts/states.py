"""What every stored frame promises: columns, types, order and ranges. A frame that breaks its contract is not written.

A contract is few, wide checks: one pass over the frame tests every rule at once. Business rules (staleness, parity) are
asset checks and do not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from mm_pipeline.contracts.contract import (
    FLOAT,
    TOLERANCE,
    Columns,
    Contract,
    aligned,
    ascending,
    at_least,
    between,
    complete,
    one_of,
)
from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.entry_state import ENTRY_STATES
from mm_pipeline.domain.exit_state import STATES, TRIGGERS
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import OU_STATUSES, SWING_STRUCTURES
from mm_pipeline.domain.regime.verdict import VERDICTS
from mm_pipeline.domain.risk import RISK_LEVELS
from mm_pipeline.domain.risk.columns import RISK_STRUCT

TIME: Final = pl.Datetime("ms", "UTC")
_F, _I, _S, _B = FLOAT, pl.Int64(), pl.String(), pl.Boolean()

CANDLES = Contract(
    "candles",
    RAW_SCHEMA,
    {
        "no nulls": complete(*RAW_SCHEMA),
        "open_time ascends without twins": ascending("open_time"),
        "open_time on 15m": aligned("open_time", Timeframe.M15.ms),
        "prices above 0": pl.all_horizontal((pl.col(name) > 0).all() for name in ("open", "high", "low", "close")),
        "volume not below 0": at_least(0, "volume"),
        "high and low enclose the bar": (
            (pl.col("high") >= pl.max_horizontal("open", "close"))
            & (pl.col("low") <= pl.min_horizontal("open", "close"))
        ).all(),
    },
)


_BAR_TIMES: Columns = {"open_time": TIME, "close_time": TIME, "known_at": TIME}
_RANKS = ("efficiency_ratio_10", "efficiency_ratio_24", "bandwidth_rank", "containment_72")
_COUNTS_72 = ("touches_upper_72", "touches_lower_72", "midline_crossings_72")
_NOT_NEGATIVE = (
    "bollinger_bandwidth",
    "atr_14",
    "atr_baseline_200",
    "volatility_expansion",
    "realised_volatility_24",
    "realised_volatility_168",
    "ou_kappa",
    "ou_kappa_upper",
    "ou_half_life_bars",
    "ou_kappa_baseline",
    "variance_ratio_10",
)
_METRICS = (
    *("efficiency_ratio_10", "efficiency_ratio_24"),
    *("bollinger_middle", "bollinger_upper", "bollinger_lower", "bollinger_bandwidth", "bandwidth_rank", "zscore_20"),
    *("atr_14", "atr_baseline_200", "volatility_expansion", "realised_volatility_24", "realised_volatility_168"),
    *("ema_20", "ema_50", "ema_gap_atr", "adx_14", "variance_ratio_10", "variance_ratio_10_z"),
    *("ou_rho", "ou_kappa", "ou_kappa_upper", "ou_half_life_bars", "ou_t", "ou_kappa_baseline"),
    *("swing_high", "swing_low", "range_high", "range_low", "containment_72", *_COUNTS_72),
)


def _bar_rules(timeframe: Timeframe) -> dict[str, pl.Expr]:
    length = pl.col("close_time").to_physical() - pl.col("open_time").to_physical()
    return {
        "times are there": complete(*_BAR_TIMES),
        "open_time ascends without twins": ascending("open_time"),
        f"bars are {timeframe}": (length == timeframe.ms).all() & aligned("open_time", timeframe.ms),
        "known at the close or later, in order": (pl.col("known_at") >= pl.col("close_time")).all()
        & (pl.col("known_at").to_physical().diff() >= 0).all(),
    }


def _metrics_contract(timeframe: Timeframe) -> Contract:
    return Contract(
        f"regime_metrics {timeframe}",
        {
            **_BAR_TIMES,
            **dict.fromkeys(("high", "low", "close"), _F),
            "is_synthetic": _B,
            **dict.fromkeys(_METRICS, _F),
            "swing_structure": _S,
            "ou_status": _S,
            "swing_high_confirmed_at": TIME,
            "swing_low_confirmed_at": TIME,
        },
        {
            **_bar_rules(timeframe),
            "prices are there": complete("high", "low", "close", "is_synthetic"),
            "shares in 0..1": between(0, 1, *_RANKS),
            "counts in 0..72": between(0, 72, *_COUNTS_72),
            "adx in 0..100": between(0, 100, "adx_14"),
            "not below 0": at_least(0, *_NOT_NEGATIVE),
            "range is not inverted": (pl.col("range_high") >= pl.col("range_low")).all(),
            "names": one_of("swing_structure", SWING_STRUCTURES) & one_of("ou_status", OU_STATUSES),
        },
        unbounded=frozenset({"ou_half_life_bars"}),
    )


_PROBABILITIES = ("p_range_ok", "p_range_weak", "p_transition", "p_trend")


def _regime_contract(timeframe: Timeframe) -> Contract:
    total = pl.sum_horizontal(_PROBABILITIES)
    return Contract(
        f"regime {timeframe}",
        {
            **_BAR_TIMES,
            "direction": _I,
            "confirmations": _I,
            "range_score": _F,
            **dict.fromkeys(_PROBABILITIES, _F),
            "verdict_raw": _S,
            "verdict": _S,
            "confidence": _F,
            "is_in_sample": _B,
            "primary_regime": _S,
            "secondary_signal": _S,
        },
        {
            **_bar_rules(timeframe),
            "shares in 0..1": between(0, 1, "range_score", "confidence", *_PROBABILITIES),
            "probabilities sum to 1": (pl.col("p_range_ok").is_null() | ((total - 1).abs() <= TOLERANCE)).all(),
            "a verdict has its probabilities": (pl.col("verdict").is_null() | pl.col("p_range_ok").is_not_null()).all(),
            "names": one_of("verdict", VERDICTS)
            & one_of("verdict_raw", VERDICTS)
            & one_of("primary_regime", ("RANGE", "TREND"))
            & one_of("secondary_signal", ("STABLE", "WEAKENING", "BREAKING")),
        },
    )


REGIME_METRICS = {timeframe: _metrics_contract(timeframe) for timeframe in (Timeframe.H1, Timeframe.H4)}
REGIME = {timeframe: _regime_contract(timeframe) for timeframe in (Timeframe.H1, Timeframe.H4)}

_HEALTH = ("ABOVE_GRID", "IN_GRID", "BELOW_GRID")
_STOP_RISK = ("BREACHED", "CRITICAL", "HIGH", "MEDIUM", "SAFE", "NO_STOP")
_DISTANCES: Columns = dict.fromkeys(("distance_to_lower_atr", "distance_to_upper_atr", "distance_to_stop_atr"), _F)
_EVALUATIONS = {
    "one grid": (pl.col("grid").n_unique() <= 1) & complete("grid", "evaluated_at"),
    "evaluated_at ascends without twins": ascending("evaluated_at"),
    "evaluated_at on 15m": aligned("evaluated_at", Timeframe.M15.ms),
    "price above 0": (pl.col("price") > 0).all(),
}

GRID_ANALYSIS = Contract(
    "grid_analysis",
    {
        "grid": _S,
        "evaluated_at": TIME,
        "grid_version": _S,
        "is_enabled": _B,
        "started_at": TIME,
        **dict.fromkeys(("lower", "upper", "stop_loss", "fee"), _F),
        "spacing": _S,
        **dict.fromkeys(("unwatched", "unearned"), _S),
        **dict.fromkeys(("price", "atr_14"), _F),
        "position_health": _S,
        **_DISTANCES,
        "stop_loss_risk": _S,
        "closes_outside": _I,
        **dict.fromkeys(("range_excess_atr", "lowest_low", "lowest_low_stop"), _F),
        "has_history": _B,
    },
    {
        **_EVALUATIONS,
        "the declaration is there": complete("grid_version", "is_enabled", "started_at", "lower", "upper", "fee"),
        "stop below lower below upper": (
            (pl.col("stop_loss") < pl.col("lower")) & (pl.col("lower") < pl.col("upper"))
        ).all(),
        "closes_outside not below 0": at_least(0, "closes_outside"),
        "names": one_of("position_health", _HEALTH)
        & one_of("stop_loss_risk", _STOP_RISK)
        & one_of("spacing", ("arithmetic", "geometric")),
    },
)

TRIGGER: Final = pl.Struct({"value": _F, "threshold": _F, "margin": _F, "fired": _B, "since": TIME})
_REASONS: Final = pl.List(_S)
_UNKNOWN_IS_EXPLAINED = ((pl.col("state") != "UNKNOWN") | (pl.col("reasons").list.len() > 0)).all()


_WARNING_OF_A_HOLE = (
    (pl.col("state") == "WARNING")
    & pl.col("stop_loss_breached").struct.field("value").is_null()
    & (pl.col("reasons").list.len() > 0)
)
"""Where a bar since the start is a hole, the stop's value is not known and the reasons say so."""


def _fired() -> Iterable[pl.Expr]:
    return (pl.col(name).struct.field("fired").fill_null(False) for name in TRIGGERS)


EXIT = Contract(
    "exit_states",
    {
        "grid": _S,
        "evaluated_at": TIME,
        "state": _S,
        "price": _F,
        "as_of": TIME,
        "position_health": _S,
        **_DISTANCES,
        "stop_loss_risk": _S,
        **dict.fromkeys(TRIGGERS, TRIGGER),
        "counterfactual": pl.List(pl.Struct({"trigger": _S, "state": _S})),
        "reasons": _REASONS,
        "last_known_state": _S,
        "failed_fetches": _I,
        "policy": _S,
        "grid_version": _S,
        **dict.fromkeys(("lower", "upper", "stop_loss"), _F),
        "verdict": _S,
        "confidence": _F,
        "risk_level": _S,
        "input_hash": _S,
        "risk": RISK_STRUCT,
    },
    {
        **_EVALUATIONS,
        "state is there": complete("state", "reasons", "policy", "input_hash", "risk_level"),
        "names": one_of("state", STATES)
        & one_of("risk_level", RISK_LEVELS)
        & one_of("last_known_state", STATES)
        & one_of("position_health", _HEALTH)
        & one_of("stop_loss_risk", _STOP_RISK),
        "only UNKNOWN and NORMAL need no trigger": (
            pl.col("state").is_in(["NORMAL", "UNKNOWN"]) | pl.any_horizontal(*_fired()) | _WARNING_OF_A_HOLE
        ).all(),
        "no NaN in triggers": pl.all_horizontal(
            ~pl.col(name).struct.field(part).is_nan().any() for name in TRIGGERS for part in ("value", "margin")
        ),
        "UNKNOWN says why": _UNKNOWN_IS_EXPLAINED,
        "a known state has a price and its declaration": (
            (pl.col("state") == "UNKNOWN")
            | pl.all_horizontal(pl.col(name).is_not_null() for name in ("price", "grid_version", "lower"))
        ).all(),
    },
)

ENTRY = Contract(
    "entry_states",
    {
        "grid": _S,
        "evaluated_at": TIME,
        "state": _S,
        "price": _F,
        "as_of": TIME,
        "verdict": _S,
        "confidence": _F,
        "proposed_lower": _F,
        "proposed_upper": _F,
        "proposed_levels": _I,
        "proposed_stop_loss": _F,
        "reasons": _REASONS,
        "policy": _S,
        "grid_version": _S,
        "input_hash": _S,
    },
    {
        **_EVALUATIONS,
        "state is there": complete("state", "reasons", "policy", "grid_version", "input_hash"),
        "names": one_of("state", ENTRY_STATES) & one_of("verdict", VERDICTS),
        "what to enter is proposed": (
            (pl.col("state") != "ENTER")
            | pl.all_horizontal(
                pl.col(name).is_not_null() for name in ("proposed_lower", "proposed_upper", "proposed_levels")
            )
        ).all(),
        "the proposal is not inverted": (pl.col("proposed_lower") < pl.col("proposed_upper")).all(),
        "all but ENTER say why": ((pl.col("state") == "ENTER") | (pl.col("reasons").list.len() > 0)).all(),
    },
)
