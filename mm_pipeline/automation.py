"""When things run: jobs, schedules and sensors. Schedules never catch up, so the tick itself looks for the gap."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from mm_pipeline.adapters.clock import from_ms
from mm_pipeline.adapters.grid_files import GRID_SUFFIXES
from mm_pipeline.adapters.journal import Journal, MarketNotice
from mm_pipeline.adapters.months import month_start
from mm_pipeline.assets.candles import FRESH
from mm_pipeline.assets.checks import PARITY, RECONCILIATION, hourly_reconciliation, replay_parity
from mm_pipeline.assets.dead_runs import dead_runs
from mm_pipeline.assets.positions import AGREES
from mm_pipeline.assets.run_queue import (
    POOL_SUBJECT,
    QUEUED_SUBJECT,
    pool_alarm,
    pool_limit,
    pool_problem,
    queued_alarm,
    waiting_ticks,
)
from mm_pipeline.assets.stage import CONTRACT, MONTHS
from mm_pipeline.assets.turns import BACKFILL_TAG, LIVE_TAG
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import TEXT_LIMIT
from mm_pipeline.resources import Watch
from mm_pipeline.resources.grid_notices import PIPELINE
from mm_pipeline.resources.plan import floor_to_evaluation
from mm_pipeline.resources.run_moment import EVALUATED_AT_TAG

EVALUATION_JOB: Final = "exit_evaluation"
HOURLY_JOB: Final = "hourly_metrics"
RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"

EVALUATION_CRON: Final = "1,16,31,46 * * * *"
"""A minute after each 15m close: exchanges publish a closed candle within seconds."""
HOURLY_CRON: Final = "5 * * * *"
"""Between two evaluations, so that neither waits for the other."""

RUN_FAILED: Final = "run_failed"
"""Code of a notice that a live evaluation failed as a whole."""
OTHER_RUN_FAILED: Final = "other_run_failed"

DELIVERY_INTERVAL_S: Final = 15
RECEIPT_INTERVAL_S: Final = 30
"""Pushover asks for at least 5 s between two questions about a receipt."""

QUEUE_INTERVAL_S: Final = 30
PRIORITY_TAG: Final = "dagster/priority"
TICK_PRIORITY, HOURLY_PRIORITY = "10", "5"
"""A tick leaves the queue before what was queued earlier; backfills have priority 0."""

MAX_RUNTIME_TAG: Final = "dagster/max_runtime"
TICK_MAX_RUNTIME_S: Final = 600
"""A tick that hangs is ended before the next but one would have to wait for it; run monitoring does it."""

_MARKET = ("candles", "regime_metrics", "regime")
_STATES = ("grid_analysis", "positions", "risk", "exit_states", "entry_states")
_ALL = (*_MARKET, *_STATES, "notifications", "deliveries")
_BAR = timedelta(milliseconds=Timeframe.M15.ms)
_DAY = timedelta(days=1)
_LOOK_BACK = timedelta(days=1)
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

hourly_metrics = dg.define_asset_job(
    HOURLY_JOB,
    selection=_selection(*_MARKET, "kpis", checks=(("candles", RECONCILIATION), ("exit_states", PARITY))),
    config=_CONSOLE,
    description="Metrics and verdicts, whether they can be believed (reconciliation, parity), and the operator's KPIs.",
)


def tick_request(journal: Journal, evaluated_ms: int, run_key: str) -> dg.RunRequest:
    """The live run for an evaluation: its month, or every month since the last evaluation that was journalled.

    Inside a month a run fills what is missing by itself. Where the journal cannot be read, the month alone is asked
    for: that run will say what is wrong.
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
    return _request(run_key, first, month, tags)


def _first_due(journal: Journal, evaluated_at: datetime) -> datetime | None:
    """Earliest evaluation that is missing of a grid that is watched now and was before; None where there is none."""
    due = []
    for grid in journal.known_grids():
        version, last = journal.grid_in_force(grid, evaluated_at), journal.last_evaluation(grid)
        if version is not None and last is not None:
            is_ahead = version.grid.started_at > evaluated_at  # which is told at each evaluation until then
            due.append(max(last.evaluated_at + _BAR, last.evaluated_at if is_ahead else version.grid.started_at))
    return min(due, default=None)


def _key(month: datetime) -> str:
    return MONTHS.get_partition_key_for_timestamp(month.timestamp())


@dg.schedule(
    name=EVALUATION_JOB,
    job=exit_evaluation,
    cron_schedule=EVALUATION_CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="One evaluation of every grid a minute after each 15m close.",
)
def every_15_minutes(context: dg.ScheduleEvaluationContext, watch: Watch) -> dg.RunRequest:
    """Evaluate the newest closed bar, and all since the last evaluation."""
    evaluated_ms = floor_to_evaluation(context.scheduled_execution_time)
    return tick_request(watch.decisions(), evaluated_ms, f"{EVALUATION_JOB} {from_ms(evaluated_ms).isoformat()}")


@dg.schedule(
    name=HOURLY_JOB,
    job=hourly_metrics,
    cron_schedule=HOURLY_CRON,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Metrics, reconciliation with the exchange's own hours, and parity with the journal.",
)
def every_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The month of the newest closed bar, and for a day the one before it: its last pages may still be answered."""
    evaluated_at = from_ms(floor_to_evaluation(context.scheduled_execution_time))
    run_key = f"{HOURLY_JOB} {evaluated_at.isoformat()}"
    tags = {EVALUATED_AT_TAG: evaluated_at.isoformat(), PRIORITY_TAG: HOURLY_PRIORITY}
    return _request(run_key, month_start(evaluated_at - _DAY), month_start(evaluated_at - _BAR), tags)


def _request(run_key: str, first: datetime, last: datetime, tags: dict[str, str]) -> dg.RunRequest:
    """A run over the months from the first to the last."""
    if first == last:
        return dg.RunRequest(run_key=run_key, partition_key=_key(last), tags=tags)
    return dg.RunRequest(run_key=run_key, tags=tags | {RANGE_START_TAG: _key(first), RANGE_END_TAG: _key(last)})


@dg.sensor(
    name="grid_files",
    job=exit_evaluation,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A grid file was added, changed or removed: one evaluation, and what is wrong with any.",
)
def grid_files(context: dg.SensorEvaluationContext, watch: Watch) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run where the content of the folder is another than last time."""
    content = folder_hash(watch.deployment.grids_folder)
    problems = [str(problem.error) for problem in watch.grid_folder().problems]
    if content == context.cursor:
        return dg.SkipReason(f"Cannot be read: {' '.join(problems)}" if problems else "No grid file has changed.")
    for problem in problems:
        context.log.error(problem)
    now = watch.now()
    # The moment is part of the key: what is edited to and fro within one bar counts each time.
    request = tick_request(watch.decisions(), floor_to_evaluation(now), f"grid_files {content} {now.isoformat()}")
    return dg.SensorResult(run_requests=[request], cursor=content)


def folder_hash(folder: Path) -> str:
    """First 16 hex digits of the SHA-256 of the names and contents of a folder's YAML files."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.glob("*") if file.suffix.lower() in GRID_SUFFIXES):
        try:
            content = file.read_bytes()
        except OSError as error:
            content = str(error.strerror).encode()
        digest.update(f"{file.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


@dg.run_failure_sensor(
    name="watch_is_blind",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A run failed as a whole: journalled, so that the operator is told that nobody was watching.",
)
def watch_is_blind(context: dg.RunFailureSensorContext, watch: Watch) -> None:
    """Journal the failure, and log it as an error."""
    run = context.dagster_run
    named = run.tags.get(EVALUATED_AT_TAG)
    tick_at = from_ms(floor_to_evaluation(datetime.fromisoformat(named) if named else watch.now()))
    is_live = run.tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in run.tags
    what = "the watch was blind: no grid was evaluated" if is_live else "a run that is not an evaluation"
    message = f"{run.job_name} {run.run_id} failed ({what}): {context.failure_event.message}"
    context.log.error(message)
    code = RUN_FAILED if is_live else OTHER_RUN_FAILED
    watch.decisions().record_notices([MarketNotice(market=PIPELINE, tick_at=tick_at, code=code, message=message)])
    if is_live:
        delivery = watch.delivery()
        delivery.alarms.raise_about(
            f"{RUN_FAILED} since {blind_since(watch.decisions(), tick_at).isoformat()}",
            "BLIND: an evaluation run failed, no grid was judged",
            f"Look at your grids yourself until evaluations come again.\n\n{message}"[:TEXT_LIMIT],
            every=watch.settings.notify.unknown.second_after,
        )
        delivery.relay.run()


def blind_since(journal: Journal, tick_at: datetime) -> datetime:
    """First of the evaluations in a row, up to this one, whose runs failed as a whole."""
    began, looked_back_to = tick_at, tick_at
    while True:
        since = looked_back_to - _LOOK_BACK
        notices = journal.notices(PIPELINE, since=since, until=looked_back_to)
        failed = {notice.tick_at for notice in notices if notice.code == RUN_FAILED}
        while began - _BAR in failed:
            began -= _BAR
        if began > since:
            return began
        looked_back_to = since


@dg.sensor(
    name="due_deliveries",
    minimum_interval_seconds=DELIVERY_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Pages that are still due: those of a run that died, and those that a channel did not take yet.",
)
def due_deliveries(context: dg.SensorEvaluationContext, watch: Watch) -> dg.SkipReason:
    """Deliver them here: no run need be started for it."""
    try:
        sent = watch.delivery().relay.run()
    except StorageError as error:  # this process lives on between ticks: it sees how long the outage lasts
        watch.storage_guard().report(error)
        raise
    for one in sent:
        context.log.info(f"page {one.page} on {one.channel}, attempt {one.attempt}: {one.outcome} {one.detail}")
    waiting = len(watch.decisions().outbox.waiting())
    return dg.SkipReason(f"{len(sent)} attempts made, {waiting} pages waiting.")


@dg.sensor(
    name="receipts",
    minimum_interval_seconds=RECEIPT_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Acknowledgements at the provider, emergencies to end, and windows that passed unanswered.",
)
def receipts(context: dg.SensorEvaluationContext, watch: Watch) -> dg.SkipReason:
    """Ask about every open emergency, and journal what came back."""
    heard = watch.delivery().answers.follow()
    for answer in heard.answers:
        context.log.info(f"{answer.response.grid}: page {answer.response.page} {answer.response.kind}")
    for problem in heard.problems:
        context.log.warning(problem)
    return dg.SkipReason(f"{len(heard.answers)} new answers, {len(heard.problems)} questions failed.")


@dg.sensor(
    name="run_queue",
    minimum_interval_seconds=QUEUE_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="An evaluation that waits too long to begin, or a pool that lets none or too many run: an alarm.",
)
def run_queue(context: dg.SensorEvaluationContext, watch: Watch) -> dg.SkipReason:
    """Look at the queue from outside of it; `mm up` does too, where the daemon cannot."""
    limit = watch.settings.supervision.queued_for
    waiting = [tick for tick in waiting_ticks(context.instance) if watch.now() - tick.since > limit]
    problem = pool_problem(pool_limit(context.instance))
    alarms = []
    if waiting:
        alarms.append((QUEUED_SUBJECT, *queued_alarm([tick.run_id for tick in waiting], limit)))
    if problem is not None:
        alarms.append((POOL_SUBJECT, *pool_alarm(problem)))
    if alarms:
        delivery = watch.delivery()
        for subject, title, text in alarms:
            context.log.error(text)
            delivery.alarms.raise_about(subject, title, text, every=watch.settings.notify.unknown.second_after)
        delivery.relay.run()
    return dg.SkipReason(f"{len(waiting)} evaluations wait too long, the pool is {'wrong' if problem else 'right'}.")


CHECKS: Final = (replay_parity, hourly_reconciliation)
JOBS: Final = (exit_evaluation, hourly_metrics)
SCHEDULES: Final = (every_15_minutes, every_hour)
SENSORS: Final = (grid_files, watch_is_blind, due_deliveries, receipts, run_queue, dead_runs)
