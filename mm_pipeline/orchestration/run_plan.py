"""What a run of Dagster has to do, for its stages and for what reads and writes their frames."""

from datetime import datetime
from typing import Final

import dagster as dg

from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import next_month, parse_month, previous_month
from mm_pipeline.orchestration.run_moment import evaluated_ms_of
from mm_pipeline.orchestration.turns import BACKFILL_TAG, LIVE_TAG

_PARTITION: Final = "dagster/partition"
_RANGE_START, _RANGE_END = (f"dagster/asset_partition_range_{end}" for end in ("start", "end"))


def check_has_begun(run: dg.DagsterRun, window: dg.TimeWindow, watch: Watch) -> None:
    """Refuse a month that is ahead of the clock; a tick may be, where its clock is wrong, and says so itself.

    Raises
    ------
    ConfigError
        When the last month of the run has not begun.
    """
    # The run's moment comes first: whatever looks at the clock after it must not move it by a bar.
    evaluated_at = from_ms(evaluated_ms_of(run.run_id, run.tags, watch.now))
    last, now = previous_month(window.end), min(evaluated_at, watch.now())
    is_tick = run.tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in run.tags
    if not is_tick and last > now:
        raise ConfigError(
            f"{last:%Y-%m} has not begun: it is {now:%Y-%m-%d %H:%M} UTC.", "Ask for months up to the present one."
        )


def months_asked(run: dg.DagsterRun, now: datetime) -> tuple[datetime, datetime]:
    """First instant of a run's first month, and of the month after its last; the present month where it names none."""
    present = f"{now:%Y-%m}"
    first, last = (run.tags.get(tag, run.tags.get(_PARTITION, present)) for tag in (_RANGE_START, _RANGE_END))
    return parse_month(first), next_month(parse_month(last))


def nothing_to_do(plan: Plan) -> str | None:
    """Why the plan has no grid, or not even a market, to evaluate in its months; None where it has."""
    declared = any(grid.in_force(plan.first_ms, max(plan.last_ms, plan.first_ms)) for grid in plan.grids)
    months = f"from {plan.start:%Y-%m} to {previous_month(plan.end):%Y-%m}"
    if not plan.markets:
        return f"No market is watched and no grid is declared {months}."
    return None if declared else f"No grid is declared {months}."


def run_plan(run: dg.DagsterRun, window: dg.TimeWindow, watch: Watch) -> Plan:
    """The months that the run was asked for, up to the evaluation that its tag names, else to now."""
    evaluated_ms = evaluated_ms_of(run.run_id, run.tags, watch.now)
    newest_bar = from_ms(evaluated_ms - Timeframe.M15.ms)
    is_tick = run.tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in run.tags
    is_live = is_tick and window.start <= newest_bar < window.end
    return watch.plan(start=window.start, end=window.end, evaluated_ms=evaluated_ms, is_live=is_live)
