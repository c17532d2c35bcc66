"""The exit state as one pure table over triggers, with its explanation (SPEC section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.exit_state.policy import ExitStatePolicy
from mm_pipeline.domain.exit_state.triggers import (
    LATEST,
    MANDATORY,
    SEEN_IN_BARS,
    TRIGGERS,
    WARNING,
    Bools,
    Trigger,
    grid_triggers,
    market_triggers,
)
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.market_view import MarketView, Times

STATES: Final = ("NORMAL", "WARNING", "LATEST_ACCEPTABLE_EXIT", "MANDATORY_EXIT", "UNKNOWN")
_NORMAL, _WARNING, _LATEST, _MANDATORY, _UNKNOWN = range(5)
Codes = NDArray[np.int64]

ANALYSIS_COLUMNS: Final = (
    "position_health",
    "distance_to_lower_atr",
    "distance_to_upper_atr",
    "distance_to_stop_atr",
    "stop_loss_risk",
)


def decide_state(fired: Mapping[str, Bools], *, is_good: Bools, is_fresh: Bools, policy: ExitStatePolicy) -> Codes:
    """State at each evaluation from what fired and whether the data is good: the whole decision.

    Parameters
    ----------
    fired
        For each trigger an array of shape (n,).
    is_good
        Data is good (SPEC 2).
    is_fresh
        The market is not stale: a trigger that is a fact about bars may be believed although other data is not good.
    policy
        ``latest.min_triggers`` and ``warning.min_triggers``.

    Returns
    -------
    Index into ``STATES`` for each evaluation.
    """
    mandatory = np.any([fired[name] for name in MANDATORY], axis=0)
    seen = np.any([fired[name] for name in SEEN_IN_BARS], axis=0)
    latest = np.sum([fired[name] for name in LATEST], axis=0) >= policy.latest.min_triggers
    warning = np.sum([fired[name] for name in WARNING], axis=0) >= policy.warning.min_triggers
    return np.select(
        [~is_good & ~(is_fresh & seen), mandatory, latest, warning],
        [_UNKNOWN, _MANDATORY, _LATEST, _WARNING],
        _NORMAL,
    )


def exit_states(
    analysis: pl.DataFrame, market: MarketView, quality: pl.DataFrame, policy: ExitStatePolicy, policy_name: str
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

    Returns
    -------
    ``grid, evaluated_at, state, price``, SPEC 5's names, a struct ``{value, threshold, margin, fired, since}`` per
    trigger, ``counterfactual`` (list of ``{trigger, state}``: the state without each fired trigger), ``reasons``,
    ``last_known_state`` (of the rows before, where UNKNOWN), ``policy, grid_version``, the declaration in force
    (``lower, upper, stop_loss``, quote) and the hourly ``verdict, confidence``.
    """
    evaluated_ms = analysis["evaluated_at"].dt.epoch("ms").to_numpy()
    triggers = market_triggers(market, evaluated_ms, policy) | grid_triggers(analysis, policy)
    fired = {name: triggers[name].fired for name in TRIGGERS}
    has_history = analysis["has_history"].to_numpy()
    known = {
        "is_good": quality["is_good"].to_numpy() & has_history,
        "is_fresh": ~quality["is_stale"].to_numpy(),
        "policy": policy,
    }
    state = decide_state(fired, **known)
    without = {name: decide_state(fired | {name: np.zeros_like(fired[name])}, **known) for name in TRIGGERS}
    window_ms = int(policy.since_window.total_seconds() * 1000)
    hourly = market.hourly.at(evaluated_ms).frame
    return analysis.select(
        "grid",
        "evaluated_at",
        _names(state).alias("state"),
        "price",
        *ANALYSIS_COLUMNS,
        *(_struct(name, triggers[name], evaluated_ms, window_ms) for name in TRIGGERS),
        _counterfactual(fired, without),
        _reasons(fired, quality["reasons"], has_history),
        _names(_last_known(state, evaluated_ms, window_ms)).alias("last_known_state"),
        pl.lit(policy_name).alias("policy"),
        "grid_version",
        "lower",
        "upper",
        "stop_loss",
        hourly["verdict"],
        hourly["confidence"],
    )


def run_began(flag: Bools, evaluated_ms: Times, window_ms: int) -> Times:
    """Evaluation (epoch ms) that began the present unbroken run of true, at most ``window_ms`` back; -1 where false.

    A missing evaluation breaks a run.
    """
    position = np.arange(len(flag))
    begins = flag.copy()
    begins[1:] &= ~flag[:-1] | (np.diff(evaluated_ms) != Timeframe.M15.ms)
    began = evaluated_ms[np.maximum.accumulate(np.where(begins, position, 0))] if len(flag) else evaluated_ms
    return np.where(flag, np.maximum(began, evaluated_ms - window_ms), -1)


def _struct(name: str, trigger: Trigger, evaluated_ms: Times, window_ms: int) -> pl.Series:
    since = pl.Series("since", run_began(trigger.fired, evaluated_ms, window_ms)).replace(-1, None)
    return (
        pl.DataFrame({"value": trigger.value, "threshold": trigger.threshold, "margin": trigger.margin})
        .with_columns(
            pl.all().fill_nan(None), fired=pl.Series(trigger.fired), since=since.cast(pl.Datetime("ms", "UTC"))
        )
        .to_struct(name)
    )


def _counterfactual(fired: Mapping[str, Bools], without: Mapping[str, Codes]) -> pl.Series:
    """For every fired trigger the state that would stand without it."""
    entries = [
        pl.DataFrame(
            [pl.Series("row", np.flatnonzero(fired[name])), _names(without[name][fired[name]]).alias("state")]
        ).with_columns(order=pl.lit(order), trigger=pl.lit(name))
        for order, name in enumerate(TRIGGERS)
    ]
    lists = (
        pl.concat(entries)
        .sort("row", "order")
        .group_by("row", maintain_order=True)
        .agg(counterfactual=pl.struct("trigger", "state"))
    )
    rows = pl.DataFrame({"row": np.arange(len(fired[TRIGGERS[0]]))})
    joined = rows.join(lists, on="row", how="left", maintain_order="left")
    return joined.select(pl.col("counterfactual").fill_null([])).to_series()


def _reasons(fired: Mapping[str, Bools], data_reasons: pl.Series, has_history: Bools) -> pl.Series:
    """Why: what is wrong with the data first, then the names of the triggers that fired."""
    names = [pl.when(pl.lit(pl.Series(fired[name]))).then(pl.lit(name)) for name in TRIGGERS]
    history = pl.when(~pl.lit(pl.Series(has_history))).then(
        pl.lit("candles do not reach back to the grid's started_at")
    )
    frame = data_reasons.alias("data").to_frame()
    return frame.select(reasons=pl.concat_list("data", pl.concat_list([history, *names]).list.drop_nulls())).to_series()


def _last_known(state: Codes, evaluated_ms: Times, window_ms: int) -> Codes:
    """For UNKNOWN rows the newest other state of the rows before, at most ``window_ms`` back; else -1."""
    if len(state) == 0:
        return state
    is_known = state != _UNKNOWN
    newest: Codes = np.maximum.accumulate(np.where(is_known, np.arange(len(state)), -1))
    is_recent = evaluated_ms - evaluated_ms[np.maximum(newest, 0)] <= window_ms
    return np.where(~is_known & (newest >= 0) & is_recent, state[np.maximum(newest, 0)], -1)


def _names(codes: Codes) -> pl.Series:
    """Names of states; null for -1."""
    return pl.Series(STATES, dtype=pl.String).gather(pl.Series(codes, dtype=pl.Int64).replace(-1, None))
