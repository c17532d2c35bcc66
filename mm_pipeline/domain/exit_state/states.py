"""The exit state as one pure table over triggers, with its explanation (SPEC section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Codes, Times
from mm_pipeline.domain.columns import (
    TIME,
    Type,
    cases_of,
    constant_column,
    epoch_ms,
    float_column,
    grouped,
    name_column,
    taken,
    texts_column,
    times_of,
)
from mm_pipeline.domain.exit_state.policy import LATEST, MANDATORY, TRIGGERS, WARNING, ExitStatePolicy
from mm_pipeline.domain.exit_state.triggers import SEEN_IN_BARS, Trigger, grid_triggers, market_triggers, stop_likely
from mm_pipeline.domain.exit_state.trust import Trust, last_known, metrics_there, reasons_in_front, stop_risk_now
from mm_pipeline.domain.failed_fetches import FAILED_FETCHES, failed_fetches_in
from mm_pipeline.domain.holes import hides_coarse_close, is_hole, oldest_hole
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.risk.level import risk_level

STATES: Final = ("NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT", "UNKNOWN")
_NORMAL, _WARNING, _LATEST, _MANDATORY, _UNKNOWN = range(5)

_STOP: Final = "stop_loss_breached"
_RANGE: Final = "range_invalidated"
_STOP_LIKELY: Final = "stop_likely"
_NO_HISTORY: Final = "candles do not reach back to the grid's started_at"
_NO_VERDICT: Final = "no verdict at 1h or 4h: too many bars are missing"
_NO_FORECAST: Final = "stop_likely is off: P(stop) is not known, for want of candles of the last day or of past months"
_NO_BASELINE: Final = "half_life_doubled and reversion_slowing are off: the market did not revert over the last 30 days"

STOP_RISK: Final = "stop_loss_risk"

ANALYSIS_COLUMNS: Final = (
    "position_health",
    "distance_to_lower_atr",
    "distance_to_upper_atr",
    "distance_to_stop_atr",
    STOP_RISK,
)

_TRIGGER: Final = pl.Struct(
    {"value": pl.Float64, "threshold": pl.Float64, "margin": pl.Float64, "fired": pl.Boolean, "since": TIME}
)
EXIT_SCHEMA: Final[dict[str, Type]] = {
    "grid": pl.String,
    "evaluated_at": TIME,
    "state": pl.String,
    "price": pl.Float64,
    "as_of": TIME,
    "position_health": pl.String,
    "distance_to_lower_atr": pl.Float64,
    "distance_to_upper_atr": pl.Float64,
    "distance_to_stop_atr": pl.Float64,
    "stop_loss_risk": pl.String,
    **dict.fromkeys(TRIGGERS, _TRIGGER),
    "counterfactual": pl.List(pl.Struct({"trigger": pl.String, "state": pl.String})),
    "reasons": pl.List(pl.String),
    "last_known_state": pl.String,
    FAILED_FETCHES: pl.Int64,
    "policy": pl.String,
    "grid_version": pl.String,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "stop_loss": pl.Float64,
    "verdict": pl.String,
    "confidence": pl.Float64,
    "risk_level": pl.String,
}


def decide_state(
    fired: Mapping[str, Bools],
    *,
    is_good: Bools,
    is_fresh: Bools,
    has_metrics: Bools,
    has_hole: Bools,
    policy: ExitStatePolicy,
) -> Codes:
    """State at each evaluation from what fired and whether the data is good: the whole decision.

    Parameters
    ----------
    fired
        For each trigger an array of shape (n,), or (variants, n).
    is_good
        Data is good (SPEC 2).
    is_fresh
        The market is not stale: a trigger that is a fact about bars may be believed although other data is not good.
    has_metrics
        1h and 4h bars reach as far as the 15m ones: where they do not, only the 15m fact, the stop, may be believed.
    has_hole
        A bar since the grid's start is a hole: what is latched over it is not known, so WARNING is the mildest state.
    policy
        ``latest.min_triggers`` and ``warning.min_triggers``.

    Returns
    -------
    Index into ``STATES`` for each evaluation, of the same shape.
    """
    mandatory = np.any([fired[name] for name in MANDATORY], axis=0)
    seen = np.any([fired[name] & (has_metrics | (name == _STOP)) for name in SEEN_IN_BARS], axis=0)
    latest = np.sum([fired[name] for name in LATEST], axis=0) >= policy.latest.min_triggers
    warning = np.sum([fired[name] for name in WARNING], axis=0) >= policy.warning.min_triggers
    return np.select(
        [~is_good & ~(is_fresh & seen), mandatory, latest, warning | has_hole],
        [_UNKNOWN, _MANDATORY, _LATEST, _WARNING],
        _NORMAL,
    )


def exit_states(
    analysis: pl.DataFrame,
    market: MarketView,
    quality: pl.DataFrame,
    policy: ExitStatePolicy,
    policy_name: str,
    *,
    from_ms: int | None = None,
) -> pl.DataFrame:
    """Exit state of an enabled grid at each evaluation, with everything that explains it.

    Parameters
    ----------
    analysis
        Output of :func:`~mm_pipeline.domain.grid_analysis.grid_analysis`, one row per evaluation, ascending.
    market
        Bars, metrics and verdicts of its market.
    quality
        Output of :func:`~mm_pipeline.domain.candles.data_quality` for the same evaluations, row for row.
    policy, policy_name
        Thresholds and their name.
    from_ms
        First evaluation (epoch ms) that is returned; those before it are only looked back on (``since``,
        ``last_known_state``). All are, without it.

    Returns
    -------
    ``grid, evaluated_at, state, price``, ``as_of`` (close of the newest bar used), SPEC 5's names, a struct
    ``{value, threshold, margin, fired, since}`` per trigger, ``counterfactual`` (list of
    ``{trigger, state}``: the state without each fired trigger), ``reasons``,
    ``last_known_state`` (of the rows before, where UNKNOWN), ``policy, grid_version``, the declaration in force
    (``lower, upper, stop_loss``, quote), the hourly ``verdict, confidence``, and ``risk_level``.
    """
    if analysis.is_empty():
        return pl.DataFrame(schema=EXIT_SCHEMA)
    evaluated_ms = epoch_ms(analysis["evaluated_at"])
    triggers = market_triggers(market, evaluated_ms, policy) | grid_triggers(analysis, policy)
    triggers |= stop_likely(analysis, market, evaluated_ms, policy)
    has_history = analysis["has_history"].to_numpy()
    has_verdict = market.hourly.at(evaluated_ms).has("verdict") & market.four_hourly.at(evaluated_ms).has("verdict")
    started_ms = epoch_ms(analysis["started_at"])
    holes = oldest_hole(market, started_ms, evaluated_ms)
    triggers[_STOP] = triggers[_STOP].unknown_where(is_hole(holes))
    hides_close = hides_coarse_close(market, Timeframe.H4, started_ms, evaluated_ms)
    triggers[_RANGE] = triggers[_RANGE].unknown_where(hides_close)
    is_watched = analysis["unwatched"].is_null().to_numpy()
    has_begun = epoch_ms(analysis["started_at"]) <= evaluated_ms
    trust = Trust(
        is_good=quality["is_good"].to_numpy() & has_history & has_verdict & is_watched,
        # Of a grid whose file is gone the breach of its last known stop is believed, and nothing else.
        is_fresh=~quality["is_stale"].to_numpy() & (is_watched | has_begun),
        has_metrics=metrics_there(quality) & is_watched,
        has_hole=is_hole(holes),
    )
    decisions = _decide({name: triggers[name].fired for name in TRIGGERS}, trust, policy)
    window_ms = int(policy.since_window.total_seconds() * 1000)
    known_state = last_known(
        decisions.state, decisions.state != _UNKNOWN, evaluated_ms, window_ms, analysis["started_at"]
    )
    first = 0 if from_ms is None else int(np.searchsorted(evaluated_ms, from_ms))
    seen, shown = analysis.slice(first), slice(first, None)
    hourly = market.hourly.at(evaluated_ms[shown])
    fired = {name: triggers[name].fired[shown] for name in TRIGGERS}
    is_baseline_asked = policy.asks("half_life_doubled", "reversion_slowing")
    lacks_forecast = np.isnan(triggers[_STOP_LIKELY].value) & analysis["stop_loss"].is_not_null().to_numpy()
    lacks_forecast &= policy.asks(_STOP_LIKELY)
    told = {
        _NO_HISTORY: ~has_history[shown],
        _NO_VERDICT: quality["is_good"].to_numpy()[shown] & ~has_verdict[shown],
        **fired,
        _NO_BASELINE: has_verdict[shown] & ~hourly.has("ou_kappa_baseline") & is_baseline_asked,
        _NO_FORECAST: trust.is_good[shown] & lacks_forecast[shown],
    }
    in_front = reasons_in_front(seen, quality.slice(first), holes.slice(first))
    return pl.DataFrame(
        [
            seen["grid"],
            seen["evaluated_at"],
            name_column("state", decisions.state[shown], STATES),
            seen["price"],
            market.bars.at(evaluated_ms[shown]).column("close_time").alias("as_of"),
            *(seen[name] for name in ANALYSIS_COLUMNS if name != STOP_RISK),
            stop_risk_now(seen[STOP_RISK], quality["is_stale"].slice(first)),
            *(_struct(name, triggers[name], evaluated_ms, window_ms, shown) for name in TRIGGERS),
            decisions.counterfactual(shown),
            texts_column("reasons", told, in_front=in_front),
            name_column("last_known_state", known_state[shown], STATES),
            failed_fetches_in(quality).slice(first),
            constant_column("policy", policy_name, len(seen), pl.String),
            *(seen[name] for name in ("grid_version", "lower", "upper", "stop_loss")),
            hourly.column("verdict"),
            hourly.column("confidence"),
            risk_level(name_column("state", decisions.state[shown], STATES), seen[STOP_RISK]),
        ]
    )


@dataclass(frozen=True)
class _Decisions:
    """State of each evaluation, and what it would be without each fired trigger.

    Attributes
    ----------
    state
        Index into ``STATES``, shape (n,).
    case
        Which combination of triggers and data an evaluation met, shape (n,).
    fired
        Whether each trigger is on in a combination, shape (triggers, combinations).
    without
        State of each combination without each trigger, shape (triggers, combinations).
    """

    state: Codes
    case: Codes
    fired: Bools
    without: Codes

    def counterfactual(self, shown: slice) -> pl.Series:
        """For every fired trigger the state that would stand without it."""
        case, trigger = np.nonzero(self.fired.T)
        names = [name_column("trigger", trigger, TRIGGERS), name_column("state", self.without[trigger, case], STATES)]
        entries = pl.DataFrame(names).to_struct("counterfactual")
        return taken(grouped(entries, case, self.fired.shape[1]), self.case[shown])


def _decide(fired: Mapping[str, Bools], trust: Trust, policy: ExitStatePolicy) -> _Decisions:
    """Decide each distinct combination once: as it is, and with each trigger left out in turn."""
    flags = [*fired.values(), trust.is_good, trust.is_fresh, trust.has_metrics, trust.has_hole]
    (*cases, is_good, is_fresh, has_metrics, has_hole), case = cases_of(flags)
    on = np.array(cases)
    variants = np.repeat(on[:, None, :], 1 + len(fired), axis=1)
    for trigger in range(len(fired)):
        variants[trigger, 1 + trigger] = False
    states = decide_state(
        dict(zip(fired, variants, strict=True)),
        is_good=is_good,
        is_fresh=is_fresh,
        has_metrics=has_metrics,
        has_hole=has_hole,
        policy=policy,
    )
    return _Decisions(state=states[0][case], case=case, fired=on, without=states[1:])


def run_began(flag: Bools, evaluated_ms: Times, window_ms: int) -> Times:
    """Evaluation (epoch ms) that began the present unbroken run of true, at most ``window_ms`` back; -1 where false.

    A missing evaluation breaks a run.
    """
    position = np.arange(len(flag))
    begins = flag.copy()
    begins[1:] &= ~flag[:-1] | (np.diff(evaluated_ms) != Timeframe.M15.ms)
    began = evaluated_ms[np.maximum.accumulate(np.where(begins, position, 0))]
    return np.where(flag, np.maximum(began, evaluated_ms - window_ms), -1)


def _struct(name: str, trigger: Trigger, evaluated_ms: Times, window_ms: int, shown: slice) -> pl.Series:
    fired = trigger.fired[shown]
    since_ms = run_began(trigger.fired, evaluated_ms, window_ms)[shown]
    return pl.DataFrame(
        [
            float_column("value", trigger.value[shown]),
            float_column("threshold", trigger.threshold[shown]),
            float_column("margin", trigger.margin[shown]),
            pl.Series("fired", fired),
            times_of(since_ms, "since", is_there=fired),
        ]
    ).to_struct(name)
