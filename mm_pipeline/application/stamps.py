"""What would be named in the file of a month today: whoever writes one, and whoever asks whether one is stale."""

from __future__ import annotations

from datetime import datetime

from mm_pipeline.application.month_stamp import CANDLES_HASH, GRID_HASH, MADE_TO, PAST_HASH, grid_hash, past_of
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.months import next_month


def stamp_of(watch: Watch, plan: Plan, dataset: str, key: str) -> dict[str, str]:
    """Settings and code, and the hashes of the candles and declarations that decide a key's rows in a plan's month."""
    grids = {grid.grid_id: grid for grid in plan.grids}
    past = past_of(dataset, plan)
    named = {
        CANDLES_HASH: watch.candle_hashes(plan).get(key),
        PAST_HASH: None if past is None else watch.candle_hashes(plan, past).get(key),
        GRID_HASH: grid_hash(grids[key], plan) if key in grids else None,
        MADE_TO: min(plan.end, plan.evaluated_at).isoformat(),
    }
    return dict(watch.written_by) | {name: value for name, value in named.items() if value is not None}


def month_plan(watch: Watch, plan: Plan, month: datetime) -> Plan:
    """One month of a run's plan."""
    if (plan.start, plan.end) == (month, next_month(month)):
        return plan
    return watch.plan(start=month, end=next_month(month), evaluated_ms=plan.evaluated_ms, is_live=False)
