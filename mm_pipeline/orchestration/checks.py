"""Asset checks of what frames mean: parity with the journal, declared grids, and the exchange's own hours."""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.frames_status import plan_of_month
from mm_pipeline.application.own_hours import HoursCompared, compare_hours
from mm_pipeline.application.parity import Frames, Parity, compare
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.undeclared import undeclared_frames
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import NOT_READ
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.months import months_between, previous_month
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.orchestration.run_plan import months_asked

PARITY: Final = "replay_parity"
DECLARED: Final = "frames_declared"
RECONCILIATION: Final = "hourly_reconciliation"
HOURS: Final = "hours_agree"
HOURS_COMPARED: Final = "hours_compared"
HOURS_TOLD: Final = "told"
"""Metadata: ``differing`` hours and markets ``not_compared``, as a command reads them."""
NOT_EVALUATED: Final = "not evaluated: the journal has nothing of these months that today's settings and code decided"
MAX_SHOWN: Final = 50
"""Most differences that a check lists; it counts them all."""

_DATASETS = {EvaluationKind.EXIT: "exit_states", EvaluationKind.ENTRY: "entry_states"}
_DAY_MS = 24 * Timeframe.H1.ms
_BAR = timedelta(milliseconds=Timeframe.M15.ms)


@dg.asset_check(
    asset="exit_states",
    name=PARITY,
    description="What the journal says was decided in the run's months is what the frames say now.",
)
def replay_parity(context: dg.AssetCheckExecutionContext, watch: WatchResource) -> dg.AssetCheckResult:
    """Journal against frames, where grid version, settings and code are the same.

    A run of the present month looks at the one before too.
    """
    parity = parity_of(watch, *months_asked(context.run, watch.now()))
    return dg.AssetCheckResult(
        passed=parity.holds,
        severity=dg.AssetCheckSeverity.ERROR if parity.differences else dg.AssetCheckSeverity.WARN,
        description=None if parity.is_evaluated else NOT_EVALUATED,
        metadata={
            "result": parity.verdict,
            **{name: getattr(parity, name) for name in ("equal", "revised", "incomparable", "missing")},
            "different": len(parity.differences),
            "differences": metadata.table(
                [{name: str(value) for name, value in vars(each).items()} for each in parity.differences[:MAX_SHOWN]]
            ),
        },
    )


def parity_of(watch: Watch, start: datetime, end: datetime) -> Parity:
    """Compare the journal of the months ``[start, end)`` with the stored states; of the present one, the last too."""
    now = from_ms(floor_to_evaluation(watch.now()))
    newest = min(end, now)
    start = previous_month(start) if now < end else start
    store, journal = FrameStore(watch.frames_root), watch.decisions()
    frames: dict[tuple[str, EvaluationKind], pl.DataFrame] = {}
    for grid in journal.known_grids():
        for kind, dataset in _DATASETS.items():
            try:
                frames[grid, kind] = store.read(dataset, grid, start=start, end=newest)
            except NOT_READ:
                continue
    journalled = journal.evaluations(since=start + _BAR, until=newest + _BAR)
    recomputed: Frames = frames
    written_by = watch.written_by
    return compare(
        journalled,
        recomputed,
        settings_hash=written_by["settings_hash"],
        code_version=written_by["code_version"],
    )


@dg.asset_check(
    asset="exit_states",
    name=DECLARED,
    additional_deps=["replayed_notifications"],  # a run that takes frames out takes those of pages out last
    description="Every stored month of a grid is one in which a grid of that name is declared.",
)
def frames_declared(watch: WatchResource) -> dg.AssetCheckResult:
    """Stored months against what the journal and the grid files declare."""
    found = undeclared_frames(watch)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "undeclared": len(found),
            "frames": metadata.table([frame._asdict() for frame in found[:MAX_SHOWN]]),
            "hint": "mm backfill over these months takes them out.",
        },
    )


@dg.asset_check(
    asset="candles",
    name=RECONCILIATION,
    description="The exchange's own 1h candles of the last day are those that its 15m candles make.",
)
def hourly_reconciliation(context: dg.AssetCheckExecutionContext, watch: WatchResource) -> dg.AssetCheckResult:
    """One request a market; a market that cannot be asked warns, and stops no other."""
    end_ms = to_ms(watch.now()) // Timeframe.H1.ms * Timeframe.H1.ms
    markets = watched_markets(watch)
    found = [compare_hours(watch, market, start_ms=end_ms - _DAY_MS, end_ms=end_ms) for market in markets]
    return _hours_result(context, found)


@dg.asset_check(
    asset="candles",
    name=HOURS,
    description="The stored 15m candles of the run's months make the exchange's own 1h candles, to the price step.",
)
def hours_agree(context: dg.AssetCheckExecutionContext, watch: WatchResource) -> dg.AssetCheckResult:
    """Every market that a month needs, a page of hours at a time; where nothing could be compared it warns."""
    steps = watch.price_ticks().known()
    found = []
    for month in months_between(*months_asked(context.run, watch.now())):
        plan = plan_of_month(watch, month)
        end_ms = plan.bars_until_ms // Timeframe.H1.ms * Timeframe.H1.ms
        found += [
            compare_hours(watch, market, start_ms=to_ms(month), end_ms=end_ms, price_step=steps.get(market, 0.0))
            for market in plan.markets
        ]
    return _hours_result(context, found)


def watched_markets(watch: Watch) -> list[Market]:
    """Markets of the grids in force now, and those that are watched besides."""
    journal, now = watch.decisions(), watch.now()
    versions = [journal.grid_in_force(grid, now) for grid in journal.known_grids()]
    named = {Market.parse(text) for text in watch.settings.extra_markets}
    return sorted(named | {version.grid.market for version in versions if version is not None})


def _hours_result(context: dg.AssetCheckExecutionContext, found: list[HoursCompared]) -> dg.AssetCheckResult:
    """Every hour that differs with both values, and every market of which none could be compared."""
    rows = [
        {"market": str(one.market), "hour": f"{at:%Y-%m-%d %H:%M}", "problem": problem}
        for one in found
        for at, problem in one.differences.iter_rows()
    ]
    silent = [{"market": str(one.market), "why": one.not_compared} for one in found if one.not_compared is not None]
    for one in silent:
        context.log.warning(f"{one['market']}: not compared: {one['why']}")
    return dg.AssetCheckResult(
        passed=not rows and not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"not compared: {', '.join(str(one['market']) for one in silent)}" if silent else None,
        metadata={
            "markets": len(found),
            HOURS_COMPARED: sum(one.hours for one in found),
            "differences": len(rows),
            "hours": metadata.table(rows[:MAX_SHOWN]),
            "not compared": metadata.table(silent),
            HOURS_TOLD: dg.MetadataValue.json({"differing": rows[:MAX_SHOWN], "not_compared": silent}),
        },
    )
