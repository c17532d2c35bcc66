"""What a run of Dagster has to do, for its stages and for what reads and writes their frames."""

import dagster as dg

from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.orchestration.run_moment import evaluated_ms_of
from mm_pipeline.orchestration.turns import BACKFILL_TAG, LIVE_TAG


def run_plan(run: dg.DagsterRun, window: dg.TimeWindow, watch: Watch) -> Plan:
    """The months that the run was asked for, up to the evaluation that its tag names, else to now."""
    evaluated_ms = evaluated_ms_of(run.run_id, run.tags, watch.now)
    newest_bar = from_ms(evaluated_ms - Timeframe.M15.ms)
    is_tick = run.tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in run.tags
    is_live = is_tick and window.start <= newest_bar < window.end
    return watch.plan(start=window.start, end=window.end, evaluated_ms=evaluated_ms, is_live=is_live)
