"""When evaluations and hourly checks run. Schedules never catch up."""

from datetime import timedelta
from typing import Final

import dagster as dg

from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import month_start
from mm_pipeline.orchestration.housekeeping import housekeeping
from mm_pipeline.orchestration.jobs import (
    EVALUATION_JOB,
    HOURLY_JOB,
    HOURLY_PRIORITY,
    HOUSEKEEPING_JOB,
    PRIORITY_TAG,
    exit_evaluation,
    hourly_metrics,
    not_before,
    run_request,
    tick_request,
)
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG

EVALUATION_CRON: Final = "1,16,31,46 * * * *"
"""A minute after each 15m close: exchanges publish a closed candle within seconds."""
HOURLY_CRON: Final = "5 * * * *"
"""Between two evaluations, so that neither waits for the other."""
HOUSEKEEPING_CRON: Final = "24 3 * * *"
"""Between two evaluations as well."""

_BAR = timedelta(milliseconds=Timeframe.M15.ms)
_DAY = timedelta(days=1)


@dg.schedule(
    name=EVALUATION_JOB,
    job=exit_evaluation,
    cron_schedule=EVALUATION_CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="One evaluation of every grid a minute after each 15m close.",
)
def every_15_minutes(context: dg.ScheduleEvaluationContext, watch: WatchResource) -> dg.RunRequest:
    """Evaluate the newest closed bar, and all since the last evaluation."""
    evaluated_ms = floor_to_evaluation(context.scheduled_execution_time)
    run_key = f"{EVALUATION_JOB} {from_ms(evaluated_ms).isoformat()}"
    return tick_request(watch.decisions(), evaluated_ms, run_key, first_month=watch.settings.first_month)


@dg.schedule(
    name=HOURLY_JOB,
    job=hourly_metrics,
    cron_schedule=HOURLY_CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Metrics, reconciliation with the exchange's own hours, and parity with the journal.",
)
def every_hour(context: dg.ScheduleEvaluationContext, watch: WatchResource) -> dg.RunRequest:
    """The month of the newest closed bar, and for a day the one before it: its last pages may still be answered."""
    evaluated_at = from_ms(floor_to_evaluation(context.scheduled_execution_time))
    run_key = f"{HOURLY_JOB} {evaluated_at.isoformat()}"
    tags = {EVALUATED_AT_TAG: evaluated_at.isoformat(), PRIORITY_TAG: HOURLY_PRIORITY}
    first, last = month_start(evaluated_at - _DAY), month_start(evaluated_at - _BAR)
    return run_request(run_key, not_before(watch.settings.first_month, first, last), last, tags)


every_day = dg.ScheduleDefinition(
    name=HOUSEKEEPING_JOB,
    job=housekeeping,
    cron_schedule=HOUSEKEEPING_CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Runs of the past are removed, so that the home stays bounded.",
)
