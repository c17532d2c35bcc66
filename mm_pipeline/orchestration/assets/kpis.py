"""Asset ``kpis``: how operators were served and how they answered, a month at a time."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from mm_pipeline.adapters.journal.operator_queries import OperatorQueries
from mm_pipeline.application.isolation import isolated
from mm_pipeline.application.market_frames import ByGrid
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts.operator import KPIS
from mm_pipeline.domain.kpis import kpis as kpis_of
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import months_between, next_month
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import contract_result, monthly_asset, plan_of
from mm_pipeline.orchestration.io_managers import SNAPSHOT
from mm_pipeline.orchestration.resources import WatchResource

_BAR = timedelta(milliseconds=Timeframe.M15.ms)


@monthly_asset(
    group="operator",
    contract=KPIS,
    deps=["notifications", "deliveries"],
    metadata={SNAPSHOT: True},
    description="Pages, times to acknowledge and to flat, windows missed, and which advice held, by grid and notice.",
)
def kpis(context: dg.AssetExecutionContext, watch: WatchResource) -> Iterator[dg.MaterializeResult[ByGrid]]:
    """SPEC 9 for every month that is asked for, from the journal; what was answered since is counted with its page."""
    frames = kpi_frames(watch, plan_of(context, watch))
    outcome = isolated(frames, lambda grid: _checked(frames[grid]), context.log)
    yield dg.MaterializeResult(
        value=outcome.made,
        metadata=_summary(outcome.made),
        check_results=[contract_result("kpis", outcome.problems)],
    )


def kpi_frames(watch: Watch, plan: Plan) -> ByGrid:
    """KPIs by grid, a block of rows a month; of every grid that is watched, or was told of, in the plan's months."""
    months = [_month(watch, month, plan.evaluated_at) for month in months_between(plan.start, plan.end)]
    rows = pl.concat([KPIS.empty(), *months])
    grids = sorted({grid.grid_id for grid in plan.grids} | set(rows["grid"]))
    return {grid: rows.filter(pl.col("grid") == grid) for grid in grids}


def _month(watch: Watch, month: datetime, newest: datetime) -> pl.DataFrame:
    """Evaluations of the month's bars, as far as they were made."""
    since, last = month + _BAR, min(next_month(month), newest)
    if last < since:
        return KPIS.empty()
    now, until = watch.now(), last + _BAR
    facts = OperatorQueries(watch.decisions()).facts(since=since, until=until, as_of=now)
    found = kpis_of(facts, since=since, until=until, as_of=now, max_lateness=watch.settings.notify.max_lateness)
    at = pl.lit(last, dtype=KPIS.columns["evaluated_at"]).alias("evaluated_at")
    return found.select(at, pl.all())


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    KPIS.check(frame)
    return frame


_SHOWN = (
    *("grid", "notice", "pages", "pages_per_30d", "acknowledge_p50_s", "flat_p50_s"),
    *("answered_in_window_share", "missed", "actionable_share"),
)


def _summary(frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The newest month of each grid, a row a notice."""
    rows = [row for frame in frames.values() for row in _newest(frame).select(_SHOWN).iter_rows(named=True)]
    return {"kpis": metadata.table(rows)}


def _newest(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("evaluated_at") == pl.col("evaluated_at").max())
