"""What ``mm doctor`` looks at: each check asks the real part and answers ok, warn or fail with a hint; none writes.

A missing journal or frame store is not a fault: the first run makes it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.config.grid_files import GridFolder, load_grids
from mm_pipeline.adapters.config.home import (
    HOME_VARIABLE,
    data_home,
    frames_dir,
    journal_file,
    mm_home,
    open_to_others,
    studies_dir,
)
from mm_pipeline.adapters.config.price_ticks import without_too_fine
from mm_pipeline.adapters.config.study_files import load_studies
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.cli.doctor.account import account
from mm_pipeline.cli.doctor.channels import channels
from mm_pipeline.cli.doctor.findings import Finding, Findings, Status
from mm_pipeline.cli.doctor.watch import watch
from mm_pipeline.cli.grids import known_ticks
from mm_pipeline.domain.candles import CandleSource, ExchangePolicy, epoch_ms
from mm_pipeline.domain.errors import ExchangeError, ExchangeUnavailable, PipelineError
from mm_pipeline.domain.grid import unprofitable
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.settings import Deployment, Settings, policy_names

WAIT: Final = timedelta(seconds=10)
"""How long an exchange is waited for; a doctor asks once and does not repeat."""
_SECRET = re.compile(r"MM_\w*(KEY|SECRET|PASSPHRASE|TOKEN|PASSWORD)")


def checks(deployment: Deployment, clock: Clock) -> list[tuple[str, Callable[[], Findings]]]:
    """Every check by the name of what it looks at, in the order in which one fault explains the next."""
    settings, ticks = deployment.settings, known_ticks(deployment)
    folder = without_too_fine(load_grids(deployment.grids_folder), ticks)
    asked = [
        (f"exchange {exchange}", partial(_exchange, exchange, markets, settings, clock))
        for exchange, markets in _markets(folder, settings).items()
    ]
    return [
        ("home", partial(_home, settings)),
        ("settings", partial(_settings, deployment, clock)),
        ("calibration", _calibration),
        ("grids", partial(_grids, deployment, folder)),
        ("studies", _studies),
        ("journal", partial(_journal, settings)),
        ("frames", partial(_frames, settings)),
        ("watch", partial(watch, settings.supervision, clock)),
        *asked,
        ("account", partial(account, settings, folder.grids)),
        ("channels", partial(channels, settings)),
        ("secrets", _secrets),
    ]


def run(name: str, check: Callable[[], Findings]) -> list[Finding]:
    """Findings of a check; an error of the pipeline is a finding too."""
    try:
        return list(check())
    except PipelineError as error:
        return [Finding(name, Status.FAIL, error.problem, error.hint)]


def _home(settings: Settings) -> Findings:
    home = mm_home()
    source = f"from {HOME_VARIABLE}" if os.environ.get(HOME_VARIABLE) else "the default"
    there = "" if home.is_dir() else ", made at the first run"
    yield _writable("home", home, f"{home} ({source}{there})")
    free_mb, limits = shutil.disk_usage(_nearest(home)).free / 1e6, settings.last_resort
    is_low = free_mb < limits.warn_free_mb
    status = Status.FAIL if free_mb < limits.fail_free_mb else Status.WARN if is_low else Status.OK
    hint = "" if status is Status.OK else f"Free some space, or point {HOME_VARIABLE} to another disk."
    yield Finding("disk", status, f"{free_mb / 1000:.1f} GB free", hint)
    yield from _privacy(home)


def _privacy(home: Path) -> Findings:
    """What other users of this machine can read: it holds positions, results and the journal."""
    found = open_to_others(home)
    if found:
        shown, more = ", ".join(str(path) for path in found[:3]), len(found) - 3
        told = f"{shown}{f' and {more} more' if more > 0 else ''} can be read by every user of this machine"
        yield Finding("privacy", Status.WARN, told, "Run any other mm command: it closes them.")


def _settings(deployment: Deployment, clock: Clock) -> Findings:
    settings = deployment.settings
    deployment.check_first_month(clock.now())
    file = deployment.file or "packaged defaults"
    yield Finding("settings", Status.OK, f"{file}, hash {settings.hash}")
    venue = f"paper exchange at {settings.paper_url}" if settings.is_paper else f"real, {settings.exchange}"
    yield Finding("policy", Status.OK, f"{settings.policy}; markets are {venue}")


def _calibration() -> Findings:
    from mm_pipeline.adapters.config.calibration_files import load_model_file, shipped_calibration

    folder = shipped_calibration()
    for model in ("p_transition", "confidence"):
        content = load_model_file(folder, model)
        newest = content.tables[-1].valid_from
        yield Finding(model, Status.OK, f"{len(content.tables)} tables, newest valid from {newest:%Y-%m-%d}")


def _grids(deployment: Deployment, folder: GridFolder) -> Findings:
    for problem in folder.problems:
        yield Finding("grids", Status.FAIL, problem.error.problem, problem.error.hint)
    for grid in folder.grids:
        if (loss := unprofitable(grid)) is not None:
            hint = "Declare fewer levels or wider bounds: each trade loses."
            yield Finding("grids", Status.WARN, f"{grid.id}: {loss}", hint)
    enabled = sum(grid.enabled for grid in folder.grids)
    if folder.grids:
        disabled = len(folder.grids) - enabled
        seen = f"{deployment.grids_folder}: {enabled} enabled, {disabled} disabled"
        hint = "" if enabled else "No grid is watched for its exit: set enabled: true in one."
        yield Finding("grids", Status.OK if enabled else Status.WARN, seen, hint)


def _studies() -> Findings:
    """Study files that cannot be used: nothing that is watched depends on them."""
    found = load_studies(studies_dir(mm_home()), policy_names())
    for problem in found.problems:
        yield Finding("studies", Status.WARN, problem.error.problem, problem.error.hint)
    if found.studies:
        yield Finding("studies", Status.OK, ", ".join(study.name for study in found.studies))


def _journal(settings: Settings) -> Findings:
    import sqlalchemy as sa

    from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
    from mm_pipeline.adapters.journal import Journal, sqlite_url
    from mm_pipeline.adapters.journal.migrations import MIGRATIONS

    named, file = os.environ.get(JOURNAL_VARIABLE), journal_file(data_home(is_paper=settings.is_paper))
    if not named and not file.exists():
        yield Finding("journal", Status.OK, f"{file}, made at the first run")
        return
    url = named or sqlite_url(file)
    with Journal(url) as journal:
        known = len(journal.known_grids())
    place = sa.make_url(url).render_as_string(hide_password=True) if named else file
    yield Finding("journal", Status.OK, f"{place}, schema {MIGRATIONS[-1].version}, {known} grids")


def _frames(settings: Settings) -> Findings:
    folder = frames_dir(data_home(is_paper=settings.is_paper))
    yield _writable("frames", folder, str(folder))


def _exchange(exchange: str, markets: list[Market], settings: Settings, clock: Clock) -> Findings:
    from mm_pipeline.application.opening.candle_sources import ExchangeSources

    name = f"exchange {exchange}"
    where = settings.paper_url if settings.is_paper else "its public address"
    patient_once = settings.model_copy(update={"exchange_access": _once(settings.exchange_access)})
    # Asked as a run asks it, so that what works here works there.
    sources = ExchangeSources().open([exchange], settings=patient_once, clock=clock, circuits=MemoryCircuits())
    source = sources[exchange]
    try:
        offset_ms = source.clock_offset_ms()
    except ExchangeError as error:
        is_down = settings.is_paper and isinstance(error, ExchangeUnavailable)
        hint = "Start it: mm paper-exchange, or mm up." if is_down else error.hint
        yield Finding(name, Status.FAIL, f"{where}: {error.problem}", hint)
        return
    yield Finding(name, Status.OK, f"reachable at {where}")
    yield _clock(exchange, offset_ms, settings.exchange_access)
    for market in markets:
        yield _market(source, market, settings, clock)


def _clock(exchange: str, offset_ms: int | None, policy: ExchangePolicy) -> Finding:
    if offset_ms is None:
        return Finding("clock", Status.WARN, f"{exchange} tells no time", "Compare this machine's clock by hand.")
    limit_s = policy.max_clock_offset.total_seconds()
    is_within = abs(offset_ms) / 1000 <= limit_s
    seen = f"{round(offset_ms / 1000, 1) + 0.0:+.1f} s against {exchange}, limit {limit_s:g} s"
    hint = "" if is_within else "Let this machine's clock follow a time server."
    return Finding("clock", Status.OK if is_within else Status.FAIL, seen, hint)


def _market(source: CandleSource, market: Market, settings: Settings, clock: Clock) -> Finding:
    """Whether the market is listed and its newest candle fresh enough to be judged."""
    now_ms = clock.now_ms()
    end_ms = now_ms // Timeframe.M15.ms * Timeframe.M15.ms
    try:
        rows = source.fetch(market, start_ms=end_ms - Timeframe.H4.ms, end_ms=end_ms)
    except ExchangeError as error:
        return Finding(str(market), Status.FAIL, error.problem, error.hint)
    if rows.is_empty():
        return Finding(str(market), Status.FAIL, "listed, but no candle in the last 4 h", "Check that it still trades.")
    closed_ms = int(epoch_ms(rows["open_time"]).max()) + Timeframe.M15.ms
    age_min = (now_ms - closed_ms) / 60_000
    is_fresh = timedelta(minutes=age_min) <= settings.data.max_age
    seen = f"listed, newest candle closed {from_ms(closed_ms):%H:%M} UTC, {age_min:.0f} min ago"
    limit = settings.data.model_dump(mode="json")["max_age"]
    hint = "" if is_fresh else f"Older than data.max_age ({limit}): its grids are UNKNOWN now."
    return Finding(str(market), Status.OK if is_fresh else Status.WARN, seen, hint)


def _secrets() -> Findings:
    """Names of secrets that are set; their values are not read into any text."""
    names = sorted(name for name, value in os.environ.items() if _SECRET.fullmatch(name) and value)
    seen = f"{', '.join(names)} set, not shown" if names else "none set; public candles need none"
    yield Finding("secrets", Status.OK, seen)


def _markets(folder: GridFolder, settings: Settings) -> dict[str, list[Market]]:
    named = {grid.market for grid in folder.grids} | {Market.parse(text) for text in settings.extra_markets}
    markets: dict[str, list[Market]] = {}
    for market in sorted(named):
        markets.setdefault(market.exchange, []).append(market)
    return markets


def _once(policy: ExchangePolicy) -> ExchangePolicy:
    return policy.model_copy(update={"attempts": 1, "deadline": WAIT, "request_timeout": WAIT})


def _writable(check: str, folder: Path, seen: str) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            return Finding(check, Status.OK, f"{seen}, writable")
    except OSError as error:
        return Finding(check, Status.FAIL, f"{seen}: {error.strerror or error}", "Check the path and its permissions.")


def _nearest(folder: Path) -> Path:
    """The folder, or what is there of the path to it: a file, if one is in its way."""
    return next(path for path in (folder, *folder.parents) if path.exists())
