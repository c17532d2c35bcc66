"""Entry state of a disabled grid, and the range that is proposed to its operator (SPEC section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Bools, Floats
from mm_pipeline.domain.columns import (
    TIME,
    Type,
    constant_column,
    epoch_ms,
    float_column,
    floats_of,
    integer_column,
    name_column,
    texts_column,
)
from mm_pipeline.domain.exit_state.policy import LATEST, EntryPolicy, ExitStatePolicy
from mm_pipeline.domain.exit_state.triggers import market_triggers
from mm_pipeline.domain.failed_fetches import failed_fetches_in
from mm_pipeline.domain.holes import cover_notes_in
from mm_pipeline.domain.market_view import AsOf, MarketView

ENTRY_STATES: Final = ("ENTER", "WAIT", "AVOID", "UNKNOWN")

_ENTER, _WAIT, _AVOID, _UNKNOWN = range(4)
_AVOIDED: Final = ("TREND", "TRANSITION")
_NOT_RANGE_OK: Final = "the verdict is not RANGE_OK"

ENTRY_SCHEMA: Final[dict[str, Type]] = {
    "grid": pl.String,
    "evaluated_at": TIME,
    "state": pl.String,
    "price": pl.Float64,
    "as_of": TIME,
    "verdict": pl.String,
    "confidence": pl.Float64,
    "proposed_lower": pl.Float64,
    "proposed_upper": pl.Float64,
    "proposed_levels": pl.Int64,
    "proposed_stop_loss": pl.Float64,
    "reasons": pl.List(pl.String),
    "policy": pl.String,
    "grid_version": pl.String,
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
    outside the proposed range, thin trading, a range too narrow for its fees, and a newest bar that was not fetched.

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
    ``grid, evaluated_at, state`` (ENTER, WAIT, AVOID, UNKNOWN), ``price``, ``as_of`` (close of the newest bar used),
    ``verdict, confidence``,
    ``proposed_lower, proposed_upper, proposed_stop_loss`` (quote), ``proposed_levels`` (prices), ``reasons``,
    ``policy, grid_version``.
    """
    if analysis.is_empty():
        return pl.DataFrame(schema=ENTRY_SCHEMA)
    hourly = market.hourly.at(epoch_ms(analysis["evaluated_at"]))
    proposal = propose_range(analysis, market, policy)
    against = _against(analysis, hourly, proposal, policy) | _would_be_on(market, analysis, exit_policy)
    is_trend, is_transition = (hourly.pick(hourly.timeline.is_named("verdict", name)) == 1 for name in _AVOIDED)
    is_avoided = is_trend | is_transition
    is_good, is_low_liquidity = (quality[name].to_numpy() for name in ("is_good", "is_low_liquidity"))
    is_late = failed_fetches_in(quality).to_numpy() > 0
    is_hindered = np.any([*against.values(), is_low_liquidity, is_late], axis=0)
    state = np.select([~is_good, is_avoided, ~is_hindered], [_UNKNOWN, _AVOID, _ENTER], _WAIT)
    verdicts = dict(zip((f"the verdict is {name}" for name in _AVOIDED), (is_trend, is_transition), strict=True))
    against[_NOT_RANGE_OK] &= ~is_avoided
    in_front = [quality["reasons"], quality["liquidity_reasons"], *cover_notes_in(quality)]
    return pl.DataFrame(
        [
            analysis["grid"],
            analysis["evaluated_at"],
            name_column("state", state, ENTRY_STATES),
            analysis["price"],
            market.bars.at(epoch_ms(analysis["evaluated_at"])).column("close_time").alias("as_of"),
            hourly.column("verdict"),
            hourly.column("confidence"),
            *proposal.columns(),
            texts_column("reasons", verdicts | against, in_front=in_front),
            constant_column("policy", policy_name, len(analysis), pl.String),
            analysis["grid_version"],
        ]
    )


def _against(analysis: pl.DataFrame, hourly: AsOf, proposal: Proposal, policy: EntryPolicy) -> dict[str, Bools]:
    """What of the verdict and the proposed range speaks against entering."""
    price = floats_of(analysis["price"])
    has_range = ~np.isnan(proposal.lower)
    is_inside = (price >= proposal.lower) & (price <= proposal.upper)
    return {
        _NOT_RANGE_OK: hourly.pick(hourly.timeline.is_named("verdict", "RANGE_OK")) != 1,
        "confidence is below entry.min_confidence": ~(hourly.floats("confidence") >= policy.min_confidence),
        "no confirmed-swing range to propose": ~has_range,
        "price is outside the proposed range": has_range & ~is_inside,
        "the proposed range is too narrow for its fees": has_range & np.isnan(proposal.levels),
    }


def _would_be_on(market: MarketView, analysis: pl.DataFrame, policy: ExitStatePolicy) -> dict[str, Bools]:
    """Exit triggers that a grid started now would have on."""
    triggers = market_triggers(market, epoch_ms(analysis["evaluated_at"]), policy)
    return {f"{name} would be on": triggers[name].fired for name in ("regime_trend", *LATEST) if name in triggers}


@dataclass(frozen=True)
class Proposal:
    """Range to enter at each evaluation (quote) and its number of levels; NaN where there is none."""

    lower: Floats
    upper: Floats
    levels: Floats
    stop_loss: Floats

    def columns(self) -> list[pl.Series]:
        """The proposal as columns, null where there is none."""
        return [
            float_column("proposed_lower", self.lower),
            float_column("proposed_upper", self.upper),
            integer_column("proposed_levels", self.levels),
            float_column("proposed_stop_loss", self.stop_loss),
        ]


def propose_range(analysis: pl.DataFrame, market: MarketView, policy: EntryPolicy) -> Proposal:
    """Range to enter at each evaluation: NaN where no confirmed-swing range is known.

    Bounds: the range +- ``buffer_atr`` ATR, widened about its middle to ``min_width_pct``. Levels: as many as leave
    every interval a net profit of ``fee_multiple`` times its fees (NaN where not even one interval does). Stop:
    ``stop_atr_4h`` ATR(4h) below the lower bound. All in quote.
    """
    evaluated_ms = epoch_ms(analysis["evaluated_at"])
    hourly, four_hourly = market.hourly.at(evaluated_ms), market.four_hourly.at(evaluated_ms)
    high, low = hourly.floats("range_high"), hourly.floats("range_low")
    buffer = policy.buffer_atr * hourly.floats("atr_14")
    middle = (high + low) / 2
    half = np.maximum((high - low) / 2 + buffer, middle * policy.min_width_pct / 200)
    half[~(high > low)] = np.nan
    lower, upper = middle - half, middle + half
    return Proposal(
        lower=lower,
        upper=upper,
        levels=_levels(lower, upper, analysis, policy),
        stop_loss=lower - policy.stop_atr_4h * four_hourly.floats("atr_14"),
    )


def _levels(lower: Floats, upper: Floats, analysis: pl.DataFrame, policy: EntryPolicy) -> Floats:
    """Most levels whose narrowest interval still nets ``fee_multiple`` times its fees; NaN below two.

    An interval from a to b earns b - a per unit and pays fee x (a + b); it nets m times its fees where
    ``b - a >= (1 + m) fee (a + b)``. Arithmetic intervals are relatively narrowest at the top, geometric ones alike.
    """
    cost = (1.0 + policy.fee_multiple) * floats_of(analysis["fee"])
    with np.errstate(divide="ignore", invalid="ignore"):
        arithmetic = (upper - lower) * (1 + cost) / (2 * cost * upper)
        geometric = np.log(upper / lower) / np.log((1 + cost) / (1 - cost))
        is_paid = (cost <= 0) & (upper > lower)  # a rebate: every interval earns
    is_geometric = floats_of(analysis["spacing"] == "geometric") == 1
    intervals = np.where(is_paid, np.inf, np.floor(np.where(is_geometric, geometric, arithmetic)))
    levels = np.minimum(intervals + 1, policy.max_levels)
    return np.where(levels >= 2, levels, np.nan)
