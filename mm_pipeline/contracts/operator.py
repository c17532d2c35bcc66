"""What the frames about operators promise; those about markets and grids are in :mod:`mm_pipeline.contracts.states`."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import polars as pl

from mm_pipeline.contracts.contract import Contract, aligned, ascending, at_least, between, complete, one_of
from mm_pipeline.domain.kpis import COUNTS, KPI_SCHEMA, SHARES, TIMES
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import Cause, HeldBack, Notice
from mm_pipeline.domain.notifications.frame import NOTIFICATIONS_SCHEMA
from mm_pipeline.domain.risk import GIVEBACK_PROBABILITIES, HORIZONS, SOURCES, STOP_HORIZONS
from mm_pipeline.domain.risk.columns import FIGURES_SCHEMA, POSITION_SCHEMA

_TIME: Final = pl.Datetime("ms", "UTC")
_IDENTITY_TOLERANCE_QUOTE: Final = 1e-6
"""Rounding of sums of a capital up to 100,000 quote."""
_DUST_UTILIZATION: Final = 0.5
"""``account.dust_share`` of one interval is at most half of the capital."""
_MOST_BOUND: Final = 1.5
"""``account.quantity_tolerance`` of an interval is at most half of it."""
_CAPITAL_QUOTE: Final = pl.col("equity_quote") - pl.col("total_pnl_quote") - pl.col("net_flows_quote").fill_null(0.0)

KPIS = Contract(
    "kpis",
    {"evaluated_at": _TIME, **KPI_SCHEMA},
    {
        "one grid": pl.col("grid").n_unique() <= 1,
        "all is counted": complete("evaluated_at", "grid", "notice", "watched_days", *COUNTS),
        "evaluated_at on 15m": aligned("evaluated_at", Timeframe.M15.ms),
        "one row a month and notice": ~pl.struct("evaluated_at", "notice").is_duplicated().any(),
        "not below 0": at_least(0, "watched_days", "pages_per_30d", *COUNTS, *TIMES),
        "shares in 0..1": between(0, 1, *SHARES),
        "quantiles in order": pl.all_horizontal(
            (pl.col(f"{name}_p50_s") <= pl.col(f"{name}_p90_s")).all() for name in ("acknowledge", "flat")
        ),
        "parts are no more than the whole": pl.all_horizontal(
            (pl.col(part) <= pl.col(whole)).all()
            for part, whole in (
                *((name, "pages") for name in ("unsent", "late", "escalated", "acknowledged", "flat", "windows")),
                ("missed", "windows"),
                ("exits_judged", "pages"),
            )
        ),
        "names": one_of("notice", [notice.value for notice in Notice]),
    },
)
"""``evaluated_at``: the last evaluation that the row's month has so far."""

NOTIFICATIONS = Contract(
    "notifications",
    NOTIFICATIONS_SCHEMA,
    {
        "evaluated_at ascends without twins": ascending("evaluated_at"),
        "evaluated_at on 15m": aligned("evaluated_at", Timeframe.M15.ms),
        "all is said of a decision": complete(
            "kind", "notice", "state", "cause", "episode_at", "number", "triggers", "page", "priority", "is_live"
        ),
        "names": one_of("notice", [notice.value for notice in Notice])
        & one_of("cause", [cause.value for cause in Cause])
        & one_of("held_back", [reason.value for reason in HeldBack]),
        "a page has words, and what is held back has none": (
            (pl.col("held_back").is_null() == pl.col("title").is_not_null())
            & (pl.col("title").is_null() == pl.col("text").is_null())
        ).all(),
        "an episode begins before it goes on": (pl.col("episode_at") <= pl.col("evaluated_at")).all(),
        "a disabled grid hears of entries alone": (
            (pl.col("kind") == "entry") == (pl.col("notice") == Notice.ENTER.value)
        ).all(),
    },
)

DELIVERIES = Contract(
    "deliveries",
    {
        "evaluated_at": _TIME,
        "page": pl.String(),
        "notice": pl.String(),
        "channel": pl.String(),
        "attempt": pl.Int64(),
        "event": pl.String(),
        "at": _TIME,
        "detail": pl.String(),
    },
    {
        "all is said of an event": complete("evaluated_at", "page", "notice", "channel", "attempt", "event", "at"),
        "attempts count from 0": at_least(0, "attempt"),
    },
)

_SINCE_ITS_START: Final = {
    "evaluated_at ascends without twins": ascending("evaluated_at"),
    "evaluated_at on 15m": aligned("evaluated_at", Timeframe.M15.ms),
    "one grid": pl.col("grid").n_unique() <= 1,
}

POSITIONS = Contract(
    "positions",
    POSITION_SCHEMA,
    {
        **_SINCE_ITS_START,
        "whose and from where is said": complete("grid", "evaluated_at", "grid_version", "source"),
        "names": one_of("source", SOURCES),
        "the PnL identity holds": (
            (
                pl.col("total_pnl_quote")
                - pl.sum_horizontal("grid_profit_quote", "unrealised_quote", "residual_quote", ignore_nulls=False)
                + pl.col("unmatched_fees_quote")
            ).abs()
            <= _IDENTITY_TOLERANCE_QUOTE
        ).all(),
        "counts not below 0": at_least(0, "open_orders", "foreign_fills"),
        "amounts not below 0": at_least(0, "locked_base", "oversold_base", "uncovered_base", "sold_by_balance_base"),
        "a position that is not known is not told": (
            pl.col("position_unknown").is_null() | pl.col("inventory_base").is_null()
        ).all(),
        "no less than nothing is held, but for dust": (pl.col("inventory_base") >= -pl.col("dust_base")).all(),
        "utilization is no less than nothing, but for dust": (
            pl.col("capital_utilization") >= -_DUST_UTILIZATION
        ).all(),
        "no more is bound, at cost, than was put in": (
            (_CAPITAL_QUOTE < _IDENTITY_TOLERANCE_QUOTE)
            | (
                (pl.col("capital_utilization") - _MOST_BOUND) * _CAPITAL_QUOTE
                <= pl.col("unrealised_quote") + _IDENTITY_TOLERANCE_QUOTE
            )
        ).all(),
    },
)

RISK = Contract(
    "risk",
    FIGURES_SCHEMA,
    {
        **_SINCE_ITS_START,
        "whose is said": complete("grid", "evaluated_at", "grid_version"),
        "figures, or why not": (
            pl.col("risk_unknown").is_not_null() == pl.col("capital_at_risk_15m_quote").is_null()
        ).all(),
        "quantiles in order": pl.all_horizontal(
            (pl.col(f"giveback_{less}_{horizon}_quote") <= pl.col(f"giveback_{more}_{horizon}_quote")).all()
            for horizon in HORIZONS
            for less, more in pairwise(GIVEBACK_PROBABILITIES)
        ),
        "probabilities in 0..1": between(0, 1, *(f"p_stop_{horizon}" for horizon in STOP_HORIZONS)),
        "the worst case is no gain": at_least(0, "worst_case_quote"),
    },
)
