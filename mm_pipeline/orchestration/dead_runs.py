"""Sensor ``dead_runs``: a run whose process is gone keeps the pool from no tick."""

from typing import Final

import dagster as dg

from mm_pipeline.orchestration.run_locks import end_dead_runs

DEAD_RUNS_INTERVAL_S: Final = 15
"""A run whose process is gone keeps the pool from the next tick no longer than this."""


@dg.sensor(
    name="dead_runs",
    minimum_interval_seconds=DEAD_RUNS_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Runs whose process is gone are marked as failed, so that the next tick gets the pool.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End them, and say which."""
    ended = end_dead_runs(context.instance)
    for message in ended:
        context.log.error(message)
    return dg.SkipReason(" ".join(ended) or "Every run that is under way has its process.")
