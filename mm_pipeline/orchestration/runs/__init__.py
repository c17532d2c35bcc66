"""Runs started from Python: one evaluation now or as of a moment, and backfills. The commands call this.

Schedules and sensors do not belong here; they start the same jobs through Dagster's daemon.
"""

from mm_pipeline.orchestration.runs.backfills import backfill, plan_backfill
from mm_pipeline.orchestration.runs.evaluations import GridEvaluation, evaluate_now
from mm_pipeline.orchestration.runs.execution import dagster_instance, give_way, opened_instance

__all__ = [
    "GridEvaluation",
    "backfill",
    "dagster_instance",
    "evaluate_now",
    "give_way",
    "opened_instance",
    "plan_backfill",
]
