"""Entry state of a disabled grid, and the range that is proposed to its operator (SPEC section 6)."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.exit_state.policy import EntryPolicy, ExitStatePolicy
from mm_pipeline.domain.exit_state.triggers import LATEST, market_triggers
from mm_pipeline.domain.indicators.windows import Floats
from mm_pipeline.domain.market_view import MarketView

ENTRY_STATES: Final = ("ENTER", "WAIT", "AVOID", "UNKNOWN")

_WAIT_REASONS: Final = {
    "verdict": "the verdict is not RANGE_OK",
    "confidence": "confidence is below entry.min_confidence",
    "range": "no confirmed-swing range to propose",
    "price": "price is outside the proposed range",
    "fees": "the proposed range is too narrow for its fees",
}


def entry_states(
    analysis: pl.DataFrame,
    market: MarketView,
    quality: pl.DataFrame,
    *,
    exit_policy: ExitStatePolicy,
    policy: EntryPolicy,
    policy_name: str,
) -> pl.DataFrame:
    """Entry state of a disabled grid at each evaluation.

    A grid that started now has no bars behind it, so of the exit triggers only those of the market can be on:
    ``regime_trend`` and the LATEST ones, any of which forbids ENTER whatever ``latest.min_triggers`` is. So do a price
    outside the proposed range, thin trading, and a range too narrow for its fees.

    Parameters
    ----------
    analysis
        Output of :func:`~mm_pipeline.domain.grid_analysis.grid_analysis`, one row per evaluation, ascending.
    market, quality
        As for :func:`~mm_pipeline.domain.exit_state.exit_states`.
    exit_policy, policy, policy_name
        Thresholds and their name.

    Returns
    -------
    ``grid, evaluated_at, state`` (ENTER, WAIT, AVOID, UNKNOWN), ``price``, ``verdict, confidence``,
    ``proposed_lower, proposed_upper, proposed_stop_loss`` (quote), ``proposed_levels`` (prices), ``reasons``,
    ``policy, grid_version``.
    """
    evaluated_ms = analysis["evaluated_at"].dt.epoch("ms").to_numpy()
    hourly = market.hourly.at(evaluated_ms)
    proposal = propose_range(analysis, market, policy)
    price = analysis["price"].cast(pl.Float64).to_numpy()
    inside = (price >= proposal["proposed_lower"].to_numpy()) & (price <= proposal["proposed_upper"].to_numpy())
    triggers = market_triggers(market, evaluated_ms, exit_policy)
    facts = pl.DataFrame(
        {
            "verdict": hourly.frame["verdict"],
            "is_good": quality["is_good"],
            "is_low_liquidity": quality["is_low_liquidity"],
            "wait:verdict": ~hourly.frame["verdict"].eq_missing("RANGE_OK"),
            "wait:confidence": ~(hourly.floats("confidence") >= policy.min_confidence),
            "wait:range": proposal["proposed_lower"].is_nan(),
            "wait:price": ~inside & ~proposal["proposed_lower"].is_nan().to_numpy(),
            "wait:fees": proposal["proposed_levels"].is_null() & proposal["proposed_lower"].is_not_nan(),
            **{f"on:{name}": triggers[name].fired for name in ("regime_trend", *LATEST)},
            "data_reasons": quality["reasons"],
            "liquidity_reasons": quality["liquidity_reasons"],
        }
    )
    state = facts.select(state=_entry_state()).to_series()
    reasons = facts.select(reasons=_entry_reasons()).to_series()
    return analysis.select(
        "grid",
        "evaluated_at",
        state,
        "price",
        hourly.frame["verdict"],
        hourly.frame["confidence"],
        *proposal.with_columns(pl.col(pl.Float64).fill_nan(None)),
        reasons,
        pl.lit(policy_name).alias("policy"),
        "grid_version",
    )


def _entry_state() -> pl.Expr:
    hindered = pl.any_horizontal(pl.col("^(wait|on):.*$"), "is_low_liquidity")
    return (
        pl.when(~pl.col("is_good"))
        .then(pl.lit("UNKNOWN"))
        .when(pl.col("verdict").is_in(["TREND", "TRANSITION"]))
        .then(pl.lit("AVOID"))
        .when(~hindered)
        .then(pl.lit("ENTER"))
        .otherwise(pl.lit("WAIT"))
    )


def _entry_reasons() -> pl.Expr:
    """Everything that speaks against entering, data first; empty where nothing does."""
    is_avoided = pl.col("verdict").is_in(["TREND", "TRANSITION"])
    avoid = pl.when(is_avoided).then(pl.concat_str(pl.lit("the verdict is "), "verdict"))
    waits = [
        pl.when(pl.col(f"wait:{key}") & (~is_avoided.fill_null(False) if key == "verdict" else True)).then(pl.lit(text))
        for key, text in _WAIT_REASONS.items()
    ]
    triggers = [pl.when(pl.col(f"on:{name}")).then(pl.lit(f"{name} would be on")) for name in ("regime_trend", *LATEST)]
    own = pl.concat_list(avoid, *waits, *triggers).list.drop_nulls()
    return pl.concat_list("data_reasons", "liquidity_reasons", own)


def propose_range(analysis: pl.DataFrame, market: MarketView, policy: EntryPolicy) -> pl.DataFrame:
    """Range to enter at each evaluation: NaN where no confirmed-swing range is known.

    Bounds: the range +- ``buffer_atr`` ATR, widened about its middle to ``min_width_pct``. Levels: as many as leave
    every interval a net profit of ``fee_multiple`` times its fees (null where not even one interval does). Stop:
    ``stop_atr_4h`` ATR(4h) below the lower bound. All in quote.
    """
    evaluated_ms = analysis["evaluated_at"].dt.epoch("ms").to_numpy()
    hourly, four_hourly = market.hourly.at(evaluated_ms), market.four_hourly.at(evaluated_ms)
    high, low = hourly.floats("range_high"), hourly.floats("range_low")
    buffer = policy.buffer_atr * hourly.floats("atr_14")
    middle = (high + low) / 2
    half = np.maximum((high - low) / 2 + buffer, middle * policy.min_width_pct / 200)
    half[~(high > low)] = np.nan
    lower, upper = middle - half, middle + half
    levels = _levels(lower, upper, analysis, policy)
    return pl.DataFrame(
        {
            "proposed_lower": lower,
            "proposed_upper": upper,
            "proposed_levels": pl.Series(levels).fill_nan(None).cast(pl.Int64),
            "proposed_stop_loss": lower - policy.stop_atr_4h * four_hourly.floats("atr_14"),
        }
    )


def _levels(lower: Floats, upper: Floats, analysis: pl.DataFrame, policy: EntryPolicy) -> Floats:
    """Most levels whose narrowest interval still nets ``fee_multiple`` times its fees; NaN below two.

    An interval from a to b earns b - a per unit and pays fee x (a + b); it nets m times its fees where
    ``b - a >= (1 + m) fee (a + b)``. Arithmetic intervals are relatively narrowest at the top, geometric ones alike.
    """
    cost = (1.0 + policy.fee_multiple) * analysis["fee"].cast(pl.Float64).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        arithmetic = (upper - lower) * (1 + cost) / (2 * cost * upper)
        geometric = np.log(upper / lower) / np.log((1 + cost) / (1 - cost))
    is_geometric = (analysis["spacing"] == "geometric").to_numpy()
    intervals = np.floor(np.where(is_geometric, geometric, arithmetic))
    levels = np.minimum(intervals + 1, policy.max_levels)
    return np.where(levels >= 2, levels, np.nan)
