"""How fast this home makes rows, by its last backfill; as the settings say where it has made none."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from mm_pipeline.adapters.frames.policy import BackfillPolicy
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.backfill import Pace
from mm_pipeline.contracts.stored import STORED
from mm_pipeline.domain.months import parse_month
from mm_pipeline.orchestration.jobs import HISTORY_JOB
from mm_pipeline.orchestration.partition_metadata import ROW_COUNT

_PARTITION = "dagster/partition"
_RUNS = 10
"""Newest backfills that are looked at for one with rows."""


def pace_of(instance: dg.DagsterInstance, store: FrameStore, policy: BackfillPolicy) -> Pace:
    """The pace of the newest backfill of a month that made rows, and the room that they take."""
    filters = dg.RunsFilter(job_name=HISTORY_JOB, statuses=[dg.DagsterRunStatus.SUCCESS])
    for record in instance.get_run_records(filters=filters, limit=_RUNS):
        month = record.dagster_run.tags.get(_PARTITION)
        seconds = (record.end_time or 0.0) - (record.start_time or 0.0)
        rows = 0 if month is None else rows_made(_events(instance, record.dagster_run.run_id))
        size = 0 if month is None else store.size_bytes(STORED, parse_month(month))
        if rows and size and seconds > 0.0:
            at = datetime.fromtimestamp(record.end_time or 0.0, UTC)
            source = f"this home's last backfill, {month} on {at:%Y-%m-%d}"
            return Pace(rows_per_s=rows / seconds, bytes_per_row=size / rows, source=source)
    return Pace(rows_per_s=policy.rows_per_s, bytes_per_row=policy.bytes_per_row, source="the settings, backfill")


def rows_made(materializations: list[dg.AssetMaterialization]) -> int:
    """Rows of the partitions that a run has made, of all assets."""
    counts = [made.metadata[ROW_COUNT].value for made in materializations if ROW_COUNT in made.metadata]
    return sum(int(str(count)) for count in counts)


def _events(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetMaterialization]:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    found = [record.event_log_entry.asset_materialization for record in records]
    return [made for made in found if made is not None]
