"""A backfill from Python: a run a month, which gives way to ticks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from mm_pipeline.adapters.config.home import mm_home
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.domain.months import next_month, parse_month
from mm_pipeline.orchestration.assets.declaration import months_from
from mm_pipeline.orchestration.jobs import HISTORY_JOB
from mm_pipeline.orchestration.runs.execution import OnProgress, execute
from mm_pipeline.orchestration.turns import LIVE_TAG, REFETCH_TAG
from mm_pipeline.settings import Deployment


def backfill(
    deployment: Deployment,
    start: datetime,
    end: datetime,
    on_progress: OnProgress | None = None,
    *,
    is_refetch: bool = False,
    on_problem: Callable[[str], None] | None = None,
    overrides: Overrides | None = None,
) -> list[str]:
    """Materialize every month that ``[start, end)`` touches, a run a month; months that have not begun are left out.

    Between two months it gives way to a tick that is queued. ``on_problem`` is told what a check found wrong with a
    market or a grid; the others are materialized all the same. ``is_refetch`` asks for all candles of the months again.

    Returns
    -------
    list of str
        Keys of the months (``2024-02``).

    Raises
    ------
    ConfigError
        When the range is empty, or not within the months that can be materialized.
    PipelineError
        When a month's run failed; the months before it are done.
    """
    chosen = replace(overrides or Overrides(), deployment=deployment)
    months = months_from(deployment.settings.first_month)
    keys = [key for key in months.get_partition_keys() if _touches(key, start, end)]
    if not keys:
        raise ConfigError(
            f"no month from {deployment.settings.first_month} to now lies in {start:%Y-%m-%d} to {end:%Y-%m-%d}.",
            "Give days between these.",
        )
    done: list[str] = []
    told: set[str] = set()

    def tell(problem: str) -> None:
        if on_problem is not None and problem not in told:
            told.add(problem)
            on_problem(problem)

    for key in keys:
        try:
            execute(
                chosen.home or mm_home(),
                chosen,
                HISTORY_JOB,
                partition_key=key,
                tags={LIVE_TAG: "false", REFETCH_TAG: str(is_refetch).lower()},
                gives_way=deployment.settings.writing.give_way,
                on_progress=_of_all(on_progress, len(done), len(keys)),
                on_problem=tell,
            )
        except PipelineError as error:
            so_far = f"{done[0]} to {done[-1]} are done" if done else "no month is done"
            raise PipelineError(f"{key}: {error.problem.removesuffix('.')} ({so_far}).", error.hint) from error
        done.append(key)
    return done


def _of_all(on_progress: OnProgress | None, done: int, runs: int) -> OnProgress | None:
    """Progress of one of several runs as a part of the whole."""
    if on_progress is None:
        return None
    return lambda step, steps, of: on_progress(step, done * of + steps, runs * of)


def _touches(key: str, start: datetime, end: datetime) -> bool:
    month = parse_month(key)
    return start < next_month(month + timedelta(days=1)) and month < end
