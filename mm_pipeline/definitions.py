"""The composition root: everything that Dagster is told, and nothing else. Wiring only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from mm_pipeline import automation
from mm_pipeline.adapters.home import (
    JOURNAL_VARIABLE,
    archive_dir,
    data_home,
    frames_dir,
    journal_file,
    keep_private,
    mm_home,
)
from mm_pipeline.adapters.journal import sqlite_url
from mm_pipeline.assets.archive import archive
from mm_pipeline.assets.candles import candles
from mm_pipeline.assets.grids import grid_analysis
from mm_pipeline.assets.kpis import kpis
from mm_pipeline.assets.notifications import deliveries, notifications
from mm_pipeline.assets.positions import positions_and_risk
from mm_pipeline.assets.regime import regime, regime_metrics
from mm_pipeline.assets.states import exit_and_entry_states
from mm_pipeline.resources import (
    AccountFactory,
    ChannelFactory,
    ClockResource,
    ConfiguredChannels,
    ExchangeAccounts,
    ExchangeSources,
    FramesIOManager,
    JournalResource,
    SourceFactory,
    Watch,
)
from mm_pipeline.resources.last_resort import StorageGuard, storage_guard
from mm_pipeline.resources.watch import code_version
from mm_pipeline.settings import Deployment, load_deployment

ASSETS = (
    candles,
    regime_metrics,
    regime,
    grid_analysis,
    positions_and_risk,
    exit_and_entry_states,
    notifications,
    deliveries,
    kpis,
    archive,
)


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What a caller replaces of the installation; None keeps it.

    Attributes
    ----------
    deployment
        Settings and grids.
    home
        Where frames and journal are kept.
    frames_root
        Path or URL of the frames alone.
    journal_url
        The journal's database.
    sources
        Where candles come from.
    channels
        How operators are reached.
    accounts
        Whose accounts are read.
    clock_at
        ISO 8601 instant at which the clock stands.
    """

    deployment: Deployment | None = None
    home: Path | None = None
    frames_root: str | None = None
    journal_url: str | None = None
    sources: SourceFactory | None = None
    channels: ChannelFactory | None = None
    accounts: AccountFactory | None = None
    clock_at: str | None = None


def watch_of(overrides: Overrides) -> Watch:
    """The watch that an installation's assets ask."""
    deployment = overrides.deployment or load_deployment()
    home = overrides.home or data_home(is_paper=deployment.settings.is_paper)
    sources = overrides.sources or ExchangeSources()
    journal_url = overrides.journal_url or os.environ.get(JOURNAL_VARIABLE) or sqlite_url(journal_file(home))
    return Watch(
        deployment=dg.ResourceDefinition.hardcoded_resource(deployment),
        clock=ClockResource(at=overrides.clock_at),
        journal=JournalResource(url=journal_url),
        sources=dg.ResourceDefinition.hardcoded_resource(sources),
        accounts=dg.ResourceDefinition.hardcoded_resource(overrides.accounts or ExchangeAccounts()),
        channels=dg.ResourceDefinition.hardcoded_resource(overrides.channels or ConfiguredChannels(home)),
        frames_root=overrides.frames_root or str(frames_dir(home)),
        archive_root=str(archive_dir(home)),
        home=str(overrides.home or mm_home()),
    )


def storage_guard_of(overrides: Overrides) -> StorageGuard:
    """What looks after journal and disk of an installation, for whoever runs or supervises it from outside Dagster."""
    deployment = overrides.deployment or load_deployment()
    watch = watch_of(overrides)
    return storage_guard(
        deployment,
        overrides.channels or ConfiguredChannels(overrides.home or data_home(is_paper=deployment.settings.is_paper)),
        home=Path(watch.home),
        frames_root=watch.frames_root,
        journal_url=watch.journal.url,
        clock=watch.clock.clock(),
    )


def build_definitions(overrides: Overrides | None = None) -> dg.Definitions:
    """Everything that is deployed: assets, checks, jobs, schedules, sensors and resources."""
    overrides = overrides or Overrides()
    watch = watch_of(overrides)
    deployment = overrides.deployment or load_deployment()
    written_by = {"settings_hash": deployment.settings.hash, "code_version": code_version()}
    return dg.Definitions(
        assets=list(ASSETS),
        asset_checks=list(automation.CHECKS),
        jobs=list(automation.JOBS),
        schedules=list(automation.SCHEDULES),
        sensors=list(automation.SENSORS),
        resources={
            "watch": watch,
            "io_manager": FramesIOManager(
                root=watch.frames_root,
                written_by=written_by,
                clock=ClockResource(at=overrides.clock_at),
                watch=watch,
            ),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What ``workspace.yaml`` loads; built when it is asked for, so that importing this module reads no settings."""
    keep_private(mm_home())  # daemon, code server and run workers started by plain Dagster commands too
    return build_definitions()
