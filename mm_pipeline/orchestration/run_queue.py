"""What stands between a tick and its run: how long it waits, and whether the pool lets it pass. Reads, never writes.

Whoever watches this must not wait in the same queue: ``mm up`` and a sensor do, no asset does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from mm_pipeline.domain.policy import print_duration
from mm_pipeline.orchestration.assets.declaration import POOL
from mm_pipeline.orchestration.turns import BACKFILL_TAG, LIVE_TAG

POOL_LIMIT: Final = 1
"""One writer of frames: with 0 no tick ever runs, with 2 two write the same files."""
QUEUED_SUBJECT: Final = "a tick is queued"
POOL_SUBJECT: Final = "the pool's limit"
LOOK_YOURSELF: Final = "Look at your grids yourself until evaluations come again."
_WAITING: Final = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING]
_RUNS: Final = 200


@dataclass(frozen=True)
class WaitingTick:
    """A live evaluation that has not begun."""

    run_id: str
    since: datetime


def waiting_ticks(instance: dg.DagsterInstance) -> list[WaitingTick]:
    """Live evaluations that wait, the oldest first."""
    filters = dg.RunsFilter(statuses=_WAITING, tags={LIVE_TAG: "true"})
    records = instance.get_run_records(filters=filters, limit=_RUNS)
    found = [
        WaitingTick(record.dagster_run.run_id, record.create_timestamp.replace(tzinfo=UTC))
        for record in records
        if BACKFILL_TAG not in record.dagster_run.tags
    ]
    return sorted(found, key=lambda tick: tick.since)


def pool_limit(instance: dg.DagsterInstance) -> int | None:
    """Runs that may write frames at once; None where nothing limits them."""
    chosen = {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}
    return chosen.get(POOL, instance.get_concurrency_config().pool_config.default_pool_limit)


def pool_problem(limit: int | None) -> str | None:
    """What is wrong with the pool's limit, and how to put it right; None where nothing is."""
    if limit == POOL_LIMIT:
        return None
    effect = "no evaluation can run" if limit == 0 else "runs that write the same files run side by side"
    shown = "none" if limit is None else str(limit)
    return (
        f"The limit of the pool {POOL} is {shown} and must be {POOL_LIMIT}: {effect}. "
        f"Set it in the UI (Deployment, Concurrency), or: dagster instance concurrency set {POOL} {POOL_LIMIT}"
    )


def queued_alarm(runs: list[str], limit: timedelta) -> tuple[str, str]:
    """Title and text of the alarm about evaluations that have waited for longer than the limit; ids of their runs."""
    text = f"{len(runs)} evaluation(s) have waited for more than {print_duration(limit)} to begin: run {runs[0]}."
    return "BLIND: an evaluation waits and does not begin", f"{text}\n{LOOK_YOURSELF}"


def pool_alarm(problem: str) -> tuple[str, str]:
    """Title and text of the alarm about the pool's limit."""
    return "WATCH: the limit of the pool was changed", f"{problem}\n{LOOK_YOURSELF}"


def last_tick(instance: dg.DagsterInstance, job: str) -> str | None:
    """Id of the newest run that the schedule asked for; None before the first."""
    filters = dg.RunsFilter(tags={"dagster/schedule_name": job})
    records = instance.get_run_records(filters=filters, limit=1)
    return records[0].dagster_run.run_id if records else None
