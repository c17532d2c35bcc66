"""What runs between ticks: changed grid files, failed runs, due pages, receipts, the queue of runs."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from mm_pipeline.adapters.config.grid_files import GRID_SUFFIXES
from mm_pipeline.adapters.journal import Incident, Journal
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.subjects import PIPELINE
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import TEXT_LIMIT
from mm_pipeline.orchestration.jobs import exit_evaluation, tick_request
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG
from mm_pipeline.orchestration.run_queue import (
    POOL_SUBJECT,
    QUEUED_SUBJECT,
    pool_alarm,
    pool_limit,
    pool_problem,
    queued_alarm,
    waiting_ticks,
)
from mm_pipeline.orchestration.studies import is_study_run
from mm_pipeline.orchestration.turns import BACKFILL_TAG, LIVE_TAG

RUN_FAILED: Final = "run_failed"
"""Code of a notice that a live evaluation failed as a whole."""
OTHER_RUN_FAILED: Final = "other_run_failed"

DELIVERY_INTERVAL_S: Final = 15
RECEIPT_INTERVAL_S: Final = 30
"""Pushover asks for at least 5 s between two questions about a receipt."""

QUEUE_INTERVAL_S: Final = 30
_BAR = timedelta(milliseconds=Timeframe.M15.ms)
_LOOK_BACK = timedelta(days=1)


@dg.sensor(
    name="grid_files",
    job=exit_evaluation,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A grid file was added, changed or removed: one evaluation, and what is wrong with any.",
)
def grid_files(context: dg.SensorEvaluationContext, watch: WatchResource) -> dg.SensorResult | dg.SkipReason:
    """Ask for a run where the content of the folder is another than last time."""
    content = folder_hash(watch.deployment.grids_folder)
    problems = [str(problem.error) for problem in watch.grid_folder().problems]
    if content == context.cursor:
        return dg.SkipReason(f"Cannot be read: {' '.join(problems)}" if problems else "No grid file has changed.")
    for problem in problems:
        context.log.error(problem)
    now = watch.now()
    # The moment is part of the key: what is edited to and fro within one bar counts each time.
    run_key = f"grid_files {content} {now.isoformat()}"
    first_month = watch.settings.first_month
    request = tick_request(watch.decisions(), floor_to_evaluation(now), run_key, first_month=first_month)
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
def watch_is_blind(context: dg.RunFailureSensorContext, watch: WatchResource) -> None:
    """Journal the failure, and log it as an error."""
    run = context.dagster_run
    if is_study_run(run):
        return
    named = run.tags.get(EVALUATED_AT_TAG)
    tick_at = from_ms(floor_to_evaluation(datetime.fromisoformat(named) if named else watch.now()))
    is_live = run.tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in run.tags
    what = "the watch was blind: no grid was evaluated" if is_live else "a run that is not an evaluation"
    message = f"{run.job_name} {run.run_id} failed ({what}): {context.failure_event.message}"
    context.log.error(message)
    code = RUN_FAILED if is_live else OTHER_RUN_FAILED
    watch.decisions().record_notices([Incident(market=PIPELINE, tick_at=tick_at, code=code, message=message)])
    if is_live:
        delivery, rules = watch.delivery(), watch.settings.notify.unknown
        began = blind_since(watch.decisions(), tick_at, good=rules.flapping_of)
        delivery.alarms.raise_about(
            f"{RUN_FAILED} since {began.isoformat()}",
            "BLIND: an evaluation run failed, no grid was judged",
            f"Look at your grids yourself until evaluations come again.\n\n{message}"[:TEXT_LIMIT],
            every=rules.second_after,
        )
        delivery.relay.run()


def blind_since(journal: Journal, tick_at: datetime, *, good: int) -> datetime:
    """When the outage began that this evaluation belongs to: the first whose run failed as a whole.

    It is over after ``good`` evaluations in a row whose runs did not fail; what fails again before that is no news.
    """
    began, looked_back_to = tick_at, tick_at
    while True:
        since = looked_back_to - _LOOK_BACK
        notices = journal.notices(PIPELINE, since=since, until=looked_back_to)
        for failed_at in sorted((one.tick_at for one in notices if one.code == RUN_FAILED), reverse=True):
            if began - failed_at > good * _BAR:
                return began
            began = failed_at
        if began - good * _BAR >= since:
            return began
        looked_back_to = since


@dg.sensor(
    name="due_deliveries",
    minimum_interval_seconds=DELIVERY_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Pages that are still due: those of a run that died, and those that a channel did not take yet.",
)
def due_deliveries(context: dg.SensorEvaluationContext, watch: WatchResource) -> dg.SkipReason:
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
def receipts(context: dg.SensorEvaluationContext, watch: WatchResource) -> dg.SkipReason:
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
def run_queue(context: dg.SensorEvaluationContext, watch: WatchResource) -> dg.SkipReason:
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
