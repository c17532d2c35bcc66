"""What was wrong with markets and grids at a live evaluation, journalled; other runs leave no trace."""

from collections.abc import Collection, Mapping

from mm_pipeline.adapters.journal import Incident
from mm_pipeline.application.isolation import code_of
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import PipelineError


def record_incidents(watch: Watch, plan: Plan, problems: Mapping[str, PipelineError]) -> None:
    """Journal what was wrong with markets (or grids) at a live evaluation, by subject; other runs leave no trace."""
    if plan.is_live:
        watch.decisions().record_notices(
            Incident(market=subject, tick_at=plan.evaluated_at, code=code_of(problem), message=str(problem))
            for subject, problem in problems.items()
        )


def end_incidents(watch: Watch, plan: Plan, subjects: Collection[str]) -> None:
    """Take back what an earlier run of the same live evaluation noted of markets (or grids) that are well now.

    What is wrong with them at a later stage, that stage notes again.
    """
    if plan.is_live and subjects:
        watch.decisions().end_notices(subjects, tick_at=plan.evaluated_at)
