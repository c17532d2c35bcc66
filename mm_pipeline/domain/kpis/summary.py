"""KPIs per grid and notice: counts, rates, quantiles and shares over the outcomes of pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from mm_pipeline.domain.kpis.facts import OperatorFacts
from mm_pipeline.domain.kpis.outcomes import PageOutcome, outcomes
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import ENTRY, EXIT, Notice

COUNTS: Final = (
    *("pages", "unsent", "late", "escalated", "held_back", "acknowledged", "flat", "windows", "missed", "exits_judged"),
)
TIMES: Final = ("acknowledge_p50_s", "acknowledge_p90_s", "flat_p50_s", "flat_p90_s")
SHARES: Final = ("answered_in_window_share", "actionable_share")

_I, _F = pl.Int64(), pl.Float64()
KPI_SCHEMA: Final[dict[str, pl.DataType]] = {
    "grid": pl.String(),
    "notice": pl.String(),
    "watched_days": _F,
    "pages": _I,
    "pages_per_30d": _F,
    **dict.fromkeys(("unsent", "late", "escalated", "held_back", "acknowledged"), _I),
    **dict.fromkeys(TIMES[:2], _F),
    "flat": _I,
    **dict.fromkeys(TIMES[2:], _F),
    "windows": _I,
    "answered_in_window_share": _F,
    "missed": _I,
    "exits_judged": _I,
    "actionable_share": _F,
}
"""Times in seconds, shares in 0..1; null where nothing is there to be measured."""

_OUTCOME_SCHEMA: Final[dict[str, pl.DataType]] = {
    "grid": pl.String(),
    "notice": pl.String(),
    **dict.fromkeys(("is_sent", "is_late", "is_escalated"), pl.Boolean()),
    **dict.fromkeys(("acknowledge_s", "flat_s"), _F),
    **dict.fromkeys(("is_answered", "is_actionable"), pl.Boolean()),
}
_DAYS_PER_BAR: Final = Timeframe.M15.ms / 86_400_000
_KEY: Final = ("grid", "notice")
_PLACES: Final = {notice.value: place for place, notice in enumerate(Notice)}


def kpis(
    facts: OperatorFacts, *, since: datetime, until: datetime, as_of: datetime, max_lateness: timedelta
) -> pl.DataFrame:
    """KPIs of the decisions about evaluations with ``since <= evaluated_at < until``.

    What told, acknowledged, answered, missed and actionable mean is in :mod:`~mm_pipeline.domain.kpis.outcomes`.

    Parameters
    ----------
    as_of
        Nothing that happened later is looked at.
    max_lateness
        From which age on a page is late (``notify.max_lateness``).

    Returns
    -------
    ``KPI_SCHEMA``, a row for each grid and notice that was told or held back, gravest notice first.

    - ``watched_days``: live evaluations of the stretch, as long as a bar each; of a disabled grid for ENTER, of an
      enabled one for all others. ``pages_per_30d``: pages over that time; null where there is none.
    - ``unsent``: pages that no channel has taken. ``late``, ``escalated``: of those that one has, or not.
    - ``*_p50_s``, ``*_p90_s``: over the pages that were acknowledged (``acknowledged``), or followed by a flat position
      (``flat``); linear between order statistics.
    - ``answered_in_window_share``: over the windows that were the operator's to answer (``windows``); ``missed`` are
      the others of them.
    - ``actionable_share``: over the pages that asked for an exit and of which it is known (``exits_judged``).
    """
    found = outcomes(facts, since=since, until=until, as_of=as_of, max_lateness=max_lateness)
    pages = _frame_of(found).group_by(_KEY).agg(**_measures())
    held = _held_back(facts, since=since, until=until, as_of=as_of)
    rows = pages.join(held, on=_KEY, how="full", coalesce=True).join(
        _watched(facts.evaluations, since=since, until=until, as_of=as_of), on=_KEY, how="left"
    )
    rows = rows.with_columns(pl.col(*COUNTS).fill_null(0).cast(pl.Int64), pl.col("watched_days").fill_null(0.0))
    rate = pl.when(pl.col("watched_days") > 0).then(pl.col("pages") * 30 / pl.col("watched_days"))
    place = pl.col("notice").replace_strict(_PLACES, return_dtype=pl.Int64)
    return rows.with_columns(pages_per_30d=rate).sort("grid", place).select(list(KPI_SCHEMA)).cast(KPI_SCHEMA)  # type: ignore[arg-type]


def _frame_of(found: list[PageOutcome]) -> pl.DataFrame:
    return pl.DataFrame([vars(outcome) for outcome in found], schema=_OUTCOME_SCHEMA)


def _measures() -> dict[str, pl.Expr]:
    return {
        "pages": pl.len(),
        "unsent": (~pl.col("is_sent")).sum(),
        "late": pl.col("is_late").sum(),
        "escalated": pl.col("is_escalated").sum(),
        "acknowledged": pl.col("acknowledge_s").count(),
        "flat": pl.col("flat_s").count(),
        **{
            f"{name}_p{percent}_s": pl.col(f"{name}_s").quantile(percent / 100, "linear")
            for name in ("acknowledge", "flat")
            for percent in (50, 90)
        },
        "windows": pl.col("is_answered").count(),
        "answered_in_window_share": pl.col("is_answered").mean(),
        "missed": (~pl.col("is_answered")).sum(),
        "exits_judged": pl.col("is_actionable").count(),
        "actionable_share": pl.col("is_actionable").mean(),
    }


def _held_back(facts: OperatorFacts, *, since: datetime, until: datetime, as_of: datetime) -> pl.DataFrame:
    rows = [
        (one.decision.grid, one.decision.notice.value)
        for one in facts.notified
        if not one.decision.is_told and since <= one.decision.evaluated_at < until and one.decided_at <= as_of
    ]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(_KEY, pl.String()), orient="row")
    return frame.group_by(_KEY).agg(held_back=pl.len())


def _watched(evaluations: pl.DataFrame, *, since: datetime, until: datetime, as_of: datetime) -> pl.DataFrame:
    """Days of live evaluations by grid and notice."""
    at = pl.col("evaluated_at")
    live = evaluations.filter(pl.col("is_live") & (at >= since) & (at < until) & (at <= as_of))
    days = live.group_by("grid", "kind").agg(watched_days=pl.col("evaluated_at").n_unique() * _DAYS_PER_BAR)
    kinds = {notice.value: ENTRY if notice is Notice.ENTER else EXIT for notice in Notice}
    of_notice = pl.DataFrame({"notice": list(kinds), "kind": list(kinds.values())})
    return days.join(of_notice, on="kind").drop("kind")
