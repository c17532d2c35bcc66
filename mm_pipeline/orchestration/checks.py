"""Asset checks of what frames mean: parity with the journal, declared grids, and the exchange's own hours."""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.parity import Frames, Parity, compare
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.reconciliation import hourly_differences
from mm_pipeline.application.undeclared import undeclared_frames
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.candles import resample
from mm_pipeline.domain.errors import ExchangeError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.months import previous_month
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.orchestration.run_plan import months_asked

PARITY: Final = "replay_parity"
DECLARED: Final = "frames_declared"
RECONCILIATION: Final = "hourly_reconciliation"
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
            except FrameMissing:
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
    rows = []
    markets = watched_markets(watch)
    for market in markets:
        try:
            rows += _differences(watch, market, end_ms)
        except ExchangeError as error:
            context.log.warning(f"{market}: {error}")
            rows.append({"market": str(market), "hour": "", "problem": str(error)})
    return dg.AssetCheckResult(
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"markets": len(markets), "differences": len(rows), "hours": metadata.table(rows[:MAX_SHOWN])},
    )


def watched_markets(watch: Watch) -> list[Market]:
    """Markets of the grids in force now, and those that are watched besides."""
    journal, now = watch.decisions(), watch.now()
    versions = [journal.grid_in_force(grid, now) for grid in journal.known_grids()]
    named = {Market.parse(text) for text in watch.settings.extra_markets}
    return sorted(named | {version.grid.market for version in versions if version is not None})


def _differences(watch: Watch, market: Market, end_ms: int) -> list[dict[str, str]]:
    start_ms = end_ms - _DAY_MS
    own = watch.installation.sources.hourly(market, start_ms=start_ms, end_ms=end_ms, settings=watch.settings)
    if own is None:
        return []
    bars = watch.shelf().bars(market, start_ms=start_ms, end_ms=end_ms).bars
    differences = hourly_differences(resample(bars, Timeframe.H1), own)
    return [
        {"market": str(market), "hour": f"{at:%Y-%m-%d %H:%M}", "problem": problem}
        for at, problem in differences.iter_rows()
    ]
