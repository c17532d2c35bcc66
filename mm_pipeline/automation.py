"""When things run: jobs, schedules and sensors."""

from __future__ import annotations

from typing import Final

import dagster as dg

from mm_pipeline.assets.candles import FRESH
from mm_pipeline.assets.stage import CONTRACT, LIVE_TAG

EVALUATION_JOB: Final = "exit_evaluation"
BACKFILL_JOB: Final = EVALUATION_JOB
_MARKET = ("candles", "regime_metrics", "regime")
_ALL = (*_MARKET, "grid_analysis", "exit_states", "entry_states")


def _with_own_checks(*assets: str) -> dg.AssetSelection:
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), CONTRACT) for asset in assets]
    keys.append(dg.AssetCheckKey(dg.AssetKey("candles"), FRESH))
    return dg.AssetSelection.assets(*assets).without_checks() | dg.AssetSelection.checks(*keys)


exit_evaluation = dg.define_asset_job(
    EVALUATION_JOB,
    selection=_with_own_checks(*_ALL),
    tags={LIVE_TAG: "true"},
    description="From candles to states of every grid; journals what it decides.",
)

CHECKS: tuple[dg.AssetChecksDefinition, ...] = ()
JOBS = (exit_evaluation,)
SCHEDULES: tuple[dg.ScheduleDefinition, ...] = ()
SENSORS: tuple[dg.SensorDefinition, ...] = ()
