"""What every stored frame promises: columns, types, order and ranges. A frame that breaks its contract is not written.

A contract is few, wide checks: one pass over the frame tests every rule at once. Business rules (staleness, parity) are
asset checks and do not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import polars as pl

from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.entry_state import ENTRY_STATES
from mm_pipeline.domain.errors import ContractError
from mm_pipeline.domain.exit_state import STATES, TRIGGERS
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.metrics import OU_STATUSES, SWING_STRUCTURES
from mm_pipeline.domain.regime.verdict import VERDICTS

if TYPE_CHECKING:
    from pandera.api.polars.types import PolarsData
    from pandera.polars import DataFrameSchema

TIME: Final = pl.Datetime("ms", "UTC")
_F, _I, _S, _B = pl.Float64(), pl.Int64(), pl.String(), pl.Boolean()
_TOLERANCE = 1e-9
"""Sums and shares are exact up to the rounding of floating point."""
_UNBOUNDED = frozenset({"ou_half_life_bars"})
"""Columns that may be +inf; no column may be NaN."""

Columns = Mapping[str, pl.DataType]


@dataclass(frozen=True)
class Contract:
    """Columns with their types, in order, and rules by name; a rule is an aggregate that is true or null when kept."""

    name: str
    columns: Columns
    rules: Mapping[str, pl.Expr]

    def check(self, frame: pl.DataFrame) -> None:
        """Refuse a frame that breaks the contract.

        Raises
        ------
        ContractError
            Naming everything that is broken.
        """
        from pandera.errors import SchemaErrors

        try:
            self._schema.validate(frame, lazy=True)
        except (SchemaErrors, pl.exceptions.PolarsError) as error:  # it fails to join reports of several kinds
            problem = f"{self.name} breaks its contract: {'; '.join(self._broken(frame)) or error}."
            raise ContractError(problem, "It was not written; the rows that break it come from the stage.") from error

    def empty(self) -> pl.DataFrame:
        """A frame of this contract without rows."""
        return pl.DataFrame(schema=dict(self.columns))

    @cached_property
    def _schema(self) -> DataFrameSchema:
        import pandera.polars as pa

        def holds(data: PolarsData) -> bool:
            kept = data.lazyframe.select(**self._all_rules).collect().row(0)
            return all(value is not False for value in kept)

        columns = {name: pa.Column(kind, nullable=True) for name, kind in self.columns.items()}
        return pa.DataFrameSchema(columns, checks=[pa.Check(holds, name="rules")], strict=True, ordered=True)

    @cached_property
    def _all_rules(self) -> dict[str, pl.Expr]:
        floats = [name for name, kind in self.columns.items() if kind == _F]
        bounded = [name for name in floats if name not in _UNBOUNDED]
        return {
            **self.rules,
            "no NaN": pl.all_horizontal(pl.lit(True), *(~pl.col(name).is_nan().any() for name in floats)),
            "no infinity": pl.all_horizontal(pl.lit(True), *(~pl.col(name).is_infinite().any() for name in bounded)),
        }

    def _broken(self, frame: pl.DataFrame) -> list[str]:
        """Everything that is wrong with the columns, else the names of the rules that are broken."""
        found = dict(frame.schema)
        wrong = [f"{name} is missing" for name in self.columns if name not in found]
        wrong += [f"{name} is not a column of it" for name in found if name not in self.columns]
        wrong += [
            f"{name} is {found[name]}, not {kind}"
            for name, kind in self.columns.items()
            if name in found and found[name] != kind
        ]
        if wrong or list(found) != list(self.columns):
            return wrong or ["its columns are in another order"]
        kept = frame.select(**self._all_rules).row(0, named=True)
        return [name for name, value in kept.items() if value is False]


def _between(low: float, high: float, *names: str) -> pl.Expr:
    return pl.all_horizontal(pl.col(name).is_between(low - _TOLERANCE, high + _TOLERANCE).all() for name in names)


def _at_least(low: float, *names: str) -> pl.Expr:
    return pl.all_horizontal((pl.col(name) >= low).all() for name in names)


def _one_of(name: str, allowed: Iterable[str]) -> pl.Expr:
    return pl.col(name).is_in(list(allowed)).all()


def _complete(*names: str) -> pl.Expr:
    return pl.all_horizontal(pl.col(name).is_not_null().all() for name in names)


def _ascending(name: str) -> pl.Expr:
    return (pl.col(name).to_physical().diff() > 0).all()


def _aligned(name: str, step_ms: int) -> pl.Expr:
    return (pl.col(name).to_physical() % step_ms == 0).all()


CANDLES = Contract(
    "candles",
    RAW_SCHEMA,
    {
        "no nulls": _complete(*RAW_SCHEMA),
        "open_time ascends without twins": _ascending("open_time"),
        "open_time on 15m": _aligned("open_time", Timeframe.M15.ms),
        "prices above 0": pl.all_horizontal((pl.col(name) > 0).all() for name in ("open", "high", "low", "close")),
        "volume not below 0": _at_least(0, "volume"),
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
        "times are there": _complete(*_BAR_TIMES),
        "open_time ascends without twins": _ascending("open_time"),
        f"bars are {timeframe}": (length == timeframe.ms).all() & _aligned("open_time", timeframe.ms),
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
            "prices are there": _complete("high", "low", "close", "is_synthetic"),
            "shares in 0..1": _between(0, 1, *_RANKS),
            "counts in 0..72": _between(0, 72, *_COUNTS_72),
            "adx in 0..100": _between(0, 100, "adx_14"),
            "not below 0": _at_least(0, *_NOT_NEGATIVE),
            "range is not inverted": (pl.col("range_high") >= pl.col("range_low")).all(),
            "names": _one_of("swing_structure", SWING_STRUCTURES) & _one_of("ou_status", OU_STATUSES),
        },
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
            "shares in 0..1": _between(0, 1, "range_score", "confidence", *_PROBABILITIES),
            "probabilities sum to 1": (pl.col("p_range_ok").is_null() | ((total - 1).abs() <= _TOLERANCE)).all(),
            "a verdict has its probabilities": (pl.col("verdict").is_null() | pl.col("p_range_ok").is_not_null()).all(),
            "names": _one_of("verdict", VERDICTS)
            & _one_of("verdict_raw", VERDICTS)
            & _one_of("primary_regime", ("RANGE", "TREND"))
            & _one_of("secondary_signal", ("STABLE", "WEAKENING", "BREAKING")),
        },
    )


REGIME_METRICS = {timeframe: _metrics_contract(timeframe) for timeframe in (Timeframe.H1, Timeframe.H4)}
REGIME = {timeframe: _regime_contract(timeframe) for timeframe in (Timeframe.H1, Timeframe.H4)}

_HEALTH = ("ABOVE_GRID", "IN_GRID", "BELOW_GRID")
_STOP_RISK = ("BREACHED", "CRITICAL", "HIGH", "MEDIUM", "SAFE")
_DISTANCES: Columns = dict.fromkeys(("distance_to_lower_atr", "distance_to_upper_atr", "distance_to_stop_atr"), _F)
_EVALUATIONS = {
    "one grid": (pl.col("grid").n_unique() <= 1) & _complete("grid", "evaluated_at"),
    "evaluated_at ascends without twins": _ascending("evaluated_at"),
    "evaluated_at on 15m": _aligned("evaluated_at", Timeframe.M15.ms),
    "price above 0": (pl.col("price") > 0).all(),
}

GRID_ANALYSIS = Contract(
    "grid_analysis",
    {
        "grid": _S,
        "evaluated_at": TIME,
        "grid_version": _S,
        "is_enabled": _B,
        **dict.fromkeys(("lower", "upper", "stop_loss", "fee"), _F),
        "spacing": _S,
        **dict.fromkeys(("price", "atr_14"), _F),
        "position_health": _S,
        **_DISTANCES,
        "stop_loss_risk": _S,
        "closes_outside": _I,
        **dict.fromkeys(("range_excess_atr", "lowest_low"), _F),
        "has_history": _B,
    },
    {
        **_EVALUATIONS,
        "the declaration is there": _complete("grid_version", "is_enabled", "lower", "upper", "stop_loss", "fee"),
        "stop below lower below upper": (
            (pl.col("stop_loss") < pl.col("lower")) & (pl.col("lower") < pl.col("upper"))
        ).all(),
        "closes_outside not below 0": _at_least(0, "closes_outside"),
        "names": _one_of("position_health", _HEALTH)
        & _one_of("stop_loss_risk", _STOP_RISK)
        & _one_of("spacing", ("arithmetic", "geometric")),
    },
)

TRIGGER: Final = pl.Struct({"value": _F, "threshold": _F, "margin": _F, "fired": _B, "since": TIME})
_REASONS: Final = pl.List(_S)
_UNKNOWN_IS_EXPLAINED = ((pl.col("state") != "UNKNOWN") | (pl.col("reasons").list.len() > 0)).all()


def _fired() -> Iterable[pl.Expr]:
    return (pl.col(name).struct.field("fired").fill_null(False) for name in TRIGGERS)


EXIT = Contract(
    "exit_states",
    {
        "grid": _S,
        "evaluated_at": TIME,
        "state": _S,
        "price": _F,
        "position_health": _S,
        **_DISTANCES,
        "stop_loss_risk": _S,
        **dict.fromkeys(TRIGGERS, TRIGGER),
        "counterfactual": pl.List(pl.Struct({"trigger": _S, "state": _S})),
        "reasons": _REASONS,
        "last_known_state": _S,
        "policy": _S,
        "grid_version": _S,
        **dict.fromkeys(("lower", "upper", "stop_loss"), _F),
        "verdict": _S,
        "confidence": _F,
        "input_hash": _S,
    },
    {
        **_EVALUATIONS,
        "state is there": _complete("state", "reasons", "policy", "input_hash"),
        "names": _one_of("state", STATES)
        & _one_of("last_known_state", STATES)
        & _one_of("position_health", _HEALTH)
        & _one_of("stop_loss_risk", _STOP_RISK),
        "only UNKNOWN and NORMAL need no trigger": (
            pl.col("state").is_in(["NORMAL", "UNKNOWN"]) | pl.any_horizontal(*_fired())
        ).all(),
        "no NaN in triggers": pl.all_horizontal(
            ~pl.col(name).struct.field(part).is_nan().any() for name in TRIGGERS for part in ("value", "margin")
        ),
        "UNKNOWN says why": _UNKNOWN_IS_EXPLAINED,
        "a known state has a price and its declaration": (
            (pl.col("state") == "UNKNOWN")
            | pl.all_horizontal(pl.col(name).is_not_null() for name in ("price", "grid_version", "lower", "stop_loss"))
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
        "state is there": _complete("state", "reasons", "policy", "grid_version", "input_hash"),
        "names": _one_of("state", ENTRY_STATES) & _one_of("verdict", VERDICTS),
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
