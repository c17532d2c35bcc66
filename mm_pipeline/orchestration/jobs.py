"""The jobs, and the runs that are asked for: a tick looks for the gap since the last evaluation by itself."""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from mm_pipeline.adapters.journal import Journal
from mm_pipeline.application.isolation import CONTRACT
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import month_start, parse_month
from mm_pipeline.orchestration.assets.candles import FRESH
from mm_pipeline.orchestration.assets.positions import AGREES
from mm_pipeline.orchestration.checks import DECLARED, HOURS, PARITY, RECONCILIATION
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG
from mm_pipeline.orchestration.turns import LIVE_TAG

EVALUATION_JOB: Final = "exit_evaluation"
HOURLY_JOB: Final = "hourly_metrics"
HISTORY_JOB: Final = "history"
HOUSEKEEPING_JOB: Final = "housekeeping"
RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"

PRIORITY_TAG: Final = "dagster/priority"
TICK_PRIORITY, HOURLY_PRIORITY = "10", "5"
"""A tick leaves the queue before what was queued earlier; backfills have priority 0."""

MAX_RUNTIME_TAG: Final = "dagster/max_runtime"
TICK_MAX_RUNTIME_S: Final = 600
"""A tick that hangs is ended before the next but one would have to wait for it; run monitoring does it."""

_MARKET = ("candles", "regime_metrics", "regime")
_STATES = ("grid_analysis", "positions", "risk", "exit_states", "entry_states")
_ALL = (*_MARKET, *_STATES, "notifications", "deliveries")
_PROOFS = (("candles", RECONCILIATION), ("exit_states", PARITY), ("exit_states", DECLARED))
_BAR = timedelta(milliseconds=Timeframe.M15.ms)
_CONSOLE = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
"""A run tells a hundred steps at level DEBUG; the event log keeps them all the same."""


def _selection(*assets: str, checks: tuple[tuple[str, str], ...] = ()) -> dg.AssetSelection:
    """Assets with the checks that they make themselves, and the named ones besides."""
    names = [*((asset, CONTRACT) for asset in assets), ("candles", FRESH), *checks]
    names += [("positions", AGREES)] if "positions" in assets else []
    keys = [dg.AssetCheckKey(dg.AssetKey(asset), name) for asset, name in names]
    return dg.AssetSelection.assets(*assets).without_checks() | dg.AssetSelection.checks(*keys)


exit_evaluation = dg.define_asset_job(
    EVALUATION_JOB,
    selection=_selection(*_ALL) | dg.AssetSelection.assets("archive"),
    config=_CONSOLE,
    tags={LIVE_TAG: "true"},
    description="From candles to the state of every grid; journals what it decides.",
)

history = dg.define_asset_job(
    HISTORY_JOB,
    selection=_selection(*_ALL, "replayed_notifications", checks=(("candles", HOURS),))
    | dg.AssetSelection.assets("archive"),
    config=_CONSOLE,
    tags={LIVE_TAG: "false"},
    description="Whole months of the past, with the pages that there would have been; journals nothing, pages nobody.",
)

hourly_metrics = dg.define_asset_job(
    HOURLY_JOB,
    selection=_selection(*_MARKET, "kpis", checks=_PROOFS),
    config=_CONSOLE,
    description="Metrics and verdicts, whether they can be believed (reconciliation, parity), and the operator's KPIs.",
)


def tick_request(journal: Journal, evaluated_ms: int, run_key: str, *, first_month: str) -> dg.RunRequest:
    """The live run for an evaluation: its month, or every month since the last evaluation that was journalled.

    Months before ``first_month`` are no partitions: what is missing in them stays so. Inside a month a run fills what
    is missing by itself. Where the journal cannot be read, the month alone is asked for: that run will say what is
    wrong.
    """
    evaluated_at = from_ms(evaluated_ms)
    month = month_start(evaluated_at - _BAR)
    try:
        first_due = _first_due(journal, evaluated_at)
    except StorageError:
        first_due = None
    first = month if first_due is None else min(month, month_start(first_due - _BAR))
    tags = {MAX_RUNTIME_TAG: str(TICK_MAX_RUNTIME_S), PRIORITY_TAG: TICK_PRIORITY}
    tags |= {EVALUATED_AT_TAG: evaluated_at.isoformat()}
    return run_request(run_key, not_before(first_month, first, month), month, tags)


def not_before(first_month: str, first: datetime, last: datetime) -> datetime:
    """The first month of a run to the last that can be materialized; the last one is asked for in any case."""
    return max(first, min(last, parse_month(first_month)))


def _first_due(journal: Journal, evaluated_at: datetime) -> datetime | None:
    """Earliest evaluation that is missing of a grid that is watched now and was before; None where there is none."""
    due = []
    for grid in journal.known_grids():
        version, last = journal.grid_in_force(grid, evaluated_at), journal.last_evaluation(grid)
        if version is None or last is None:
            continue
        is_ahead = version.grid.started_at > evaluated_at
        if is_ahead and not version.grid.enabled:
            continue  # nothing is evaluated of it until then; of an enabled one it is told at each evaluation
        due.append(max(last.evaluated_at + _BAR, last.evaluated_at if is_ahead else version.grid.started_at))
    return min(due, default=None)


def _key(month: datetime) -> str:
    return f"{month:%Y-%m}"


def run_request(run_key: str, first: datetime, last: datetime, tags: dict[str, str]) -> dg.RunRequest:
    """A run over the months from the first to the last."""
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=_key(last), tags=tags)
    return dg.RunRequest(run_key=run_key, tags=tags | {RANGE_START_TAG: _key(first), RANGE_END_TAG: _key(last)})
