"""What the frames about operators promise; those about markets and grids are in :mod:`mm_pipeline.assets.contracts`."""

from __future__ import annotations

from typing import Final

import polars as pl

from mm_pipeline.assets.contract import Contract, aligned, at_least, between, complete, one_of
from mm_pipeline.domain.kpis import COUNTS, KPI_SCHEMA, SHARES, TIMES
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import Notice

_TIME: Final = pl.Datetime("ms", "UTC")

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
