"""Everything that Dagster is told: assets, checks, jobs, schedules, sensors and resources. Wiring only."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.bootstrap import Overrides, following
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.orchestration import jobs, schedules, sensors
from mm_pipeline.orchestration.assets.archive import archive
from mm_pipeline.orchestration.assets.candles import candles
from mm_pipeline.orchestration.assets.declaration import months_from
from mm_pipeline.orchestration.assets.grid_analysis import grid_analysis
from mm_pipeline.orchestration.assets.kpis import kpis
from mm_pipeline.orchestration.assets.notifications import deliveries, notifications
from mm_pipeline.orchestration.assets.positions import positions_and_risk
from mm_pipeline.orchestration.assets.regime import regime, regime_metrics
from mm_pipeline.orchestration.assets.replayed_notifications import replayed_notifications
from mm_pipeline.orchestration.assets.states import exit_and_entry_states
from mm_pipeline.orchestration.checks import frames_declared, hourly_reconciliation, hours_agree, replay_parity
from mm_pipeline.orchestration.dead_runs import dead_runs
from mm_pipeline.orchestration.housekeeping import housekeeping
from mm_pipeline.orchestration.io_managers import frames_io_manager
from mm_pipeline.orchestration.resources import watch_resource
from mm_pipeline.orchestration.studies import study_definitions

ASSETS = (
    candles,
    regime_metrics,
    regime,
    grid_analysis,
    positions_and_risk,
    exit_and_entry_states,
    notifications,
    replayed_notifications,
    deliveries,
    kpis,
    archive,
)

CHECKS = (replay_parity, frames_declared, hourly_reconciliation, hours_agree)
JOBS = (jobs.exit_evaluation, jobs.hourly_metrics, jobs.history, housekeeping)
SCHEDULES = (schedules.every_15_minutes, schedules.every_hour, schedules.every_day)
SENSORS = (
    sensors.grid_files,
    sensors.watch_is_blind,
    sensors.due_deliveries,
    sensors.receipts,
    sensors.run_queue,
    dead_runs,
)


def build_definitions(overrides: Overrides | None = None) -> dg.Definitions:
    """The code location of an installation.

    The month of the newest bar is a partition in any case: a mistyped ``first_month``, or a clock that is years behind,
    stops no watch.
    """
    current = following(overrides)
    newest = from_ms(floor_to_evaluation(current().clock.now())) - timedelta(milliseconds=Timeframe.M15.ms)
    months = months_from(min(current().settings.first_month, f"{newest:%Y-%m}"))
    watched = dg.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=months), ASSETS)
    studies = study_definitions(current)
    return dg.Definitions(
        assets=[*watched, *studies.assets],
        asset_checks=list(CHECKS),
        jobs=list(JOBS),
        schedules=list(SCHEDULES),
        sensors=list(SENSORS),
        resources={
            "watch": watch_resource(current),
            "io_manager": frames_io_manager(current),
            **studies.resources,
        },
        executor=dg.in_process_executor,
    )
