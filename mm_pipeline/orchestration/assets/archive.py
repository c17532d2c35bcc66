"""Asset ``archive``: every live evaluation and every hour's metrics as YAML in Git, after the pages have gone out."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import yaml

from mm_pipeline.adapters.archive import (
    OWN_KEYS,
    RECORDED,
    ArchiveRepository,
    as_yaml,
    entry_path,
    exit_path,
    grid_path,
    metrics_path,
)
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.market_frames import ByGrid, ByMarket
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.stored_states import as_made
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import ArchiveError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import month_start
from mm_pipeline.orchestration.assets.declaration import monthly_asset, plan_of
from mm_pipeline.orchestration.resources import WatchResource

PUSHED = "pushed"
_BAR, _HOUR = (timedelta(milliseconds=frame.ms) for frame in (Timeframe.M15, Timeframe.H1))


@monthly_asset(
    group="operator",
    deps=["deliveries"],
    kinds=("git",),
    description="Every live evaluation and every hour's metrics as YAML in a Git repository, pushed to its remote.",
    checks=[dg.AssetCheckSpec(PUSHED, asset="archive", description="What is archived has reached the remote.")],
    writes=False,
)
def archive(  # noqa: PLR0917 - the assets that it archives
    context: dg.AssetExecutionContext,
    watch: WatchResource,
    exit_states: ByGrid,
    entry_states: ByGrid,
    regime_metrics: ByMarket,
    regime: ByMarket,
) -> Iterator[dg.MaterializeResult[None]]:
    """Write what is new since the last run, commit it, and push all that waits; no other asset depends on it."""
    plan = plan_of(context, watch)
    watch.turns().end()  # it writes no frames, and a push may take minutes
    remote = watch.installation.variable(watch.settings.archive.remote_env)
    told: dict[str, Any] = {"remote": "configured" if remote else f"{watch.settings.archive.remote_env} is not set"}
    problem = None
    if plan.is_live and remote:
        repository = ArchiveRepository(watch.archive_folder, remote, watch.settings.archive_policy)
        collected = _Collected(watch, plan, repository)
        try:
            repository.open()
            collected.collect(exit_states, entry_states, regime_metrics, regime)
            repository.commit(collected.files, _message(plan), collected.marks)
            told |= {"files": len(collected.files), "pushed": repository.push()}
        except ArchiveError as error:
            problem = str(error)
        except Exception as error:  # the pages of this run are out: nothing here may call it failed
            context.log.exception("archive")
            problem = f"{type(error).__name__} while archiving: {error}"
    yield dg.MaterializeResult(metadata=told, check_results=[_pushed(context, problem)])


def _pushed(context: dg.AssetExecutionContext, problem: str | None) -> dg.AssetCheckResult:
    if problem is not None:
        context.log.warning(problem)
    return dg.AssetCheckResult(
        asset_key="archive",
        check_name=PUSHED,
        passed=problem is None,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={} if problem is None else {"problem": problem},
    )


def _message(plan: Plan) -> str:
    return f"Evaluations to {plan.evaluated_at:%Y-%m-%d %H:%M} UTC"


class _Collected:
    """Files of what is not archived yet, and up to when each series is with them."""

    def __init__(self, watch: Watch, plan: Plan, repository: ArchiveRepository) -> None:
        self.files: dict[str, str] = {}
        self.marks: dict[str, datetime] = {}
        self._watch = watch
        self._plan = plan
        self._repository = repository
        self._written_by = dict(watch.written_by)
        self._grids = {version.grid.version_hash: version.grid for grid in plan.grids for version in grid.versions}

    def collect(self, exits: ByGrid, entries: ByGrid, metrics: ByMarket, verdicts: ByMarket) -> None:
        """Everything that was journalled since the marks, and the hours that closed since."""
        # A mark of a time that has not come was made by a clock that was ahead: it counts as lost.
        self.marks = {series: at for series, at in self._repository.marks().items() if at <= self._watch.now()}
        sorts = ((EvaluationKind.EXIT, exits, exit_path), (EvaluationKind.ENTRY, entries, entry_path))
        for kind, frames, path_of in sorts:
            for grid_id, frame in frames.items():
                for row in self._journalled(grid_id, kind, frame):
                    self.files[path_of(grid_id, row["evaluated_at"])] = as_yaml(row | self._written_by)
                    self._declare(row["grid_version"])
        hours: dict[str, dict[str, Any]] = {}
        for market in self._plan.markets:
            for row in self._closed(f"metrics {market}", _hours(metrics, verdicts, market.path_key)):
                path = metrics_path(market.symbol, row["close_time"])
                known = hours.get(path) or self._archived_hours(path)
                hours[path] = known | {str(market): row | {"market": str(market)} | self._written_by}
        self.files |= {path: as_yaml(content) for path, content in hours.items()}

    def _archived_hours(self, path: str) -> dict[str, Any]:
        """What is archived of an hour already, of other markets too; nothing where it cannot be read."""
        content = yaml.safe_load(self._repository.text(path) or "{}")
        return {name: value for name, value in content.items() if name not in OWN_KEYS}

    def _journalled(self, grid_id: str, kind: EvaluationKind, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """Evaluations later than the newest that is archived, and those that were journalled anew since."""
        series, recorded = f"{kind} {grid_id}", f"{kind} {grid_id}{RECORDED}"
        newest, asked_again = self._plan.evaluated_at, self._watch.settings.exchange_access.reask_bars * _BAR
        # Where the marks are lost, the last day is archived again: what is there already changes nothing.
        mark = self.marks.get(series, newest - (asked_again if self._repository.has_commits() else _BAR))
        known = self.marks.get(recorded)
        rows = self._watch.decisions().evaluations(grid_id, kind=kind, since=min(mark, newest) - asked_again)
        due = {
            one.evaluated_at: one.recorded_at
            for one in rows
            if one.evaluated_at > mark or (known is not None and one.recorded_at > known)
        }
        found = self._rows(grid_id, kind, frame, list(due))
        if found.height:
            times = found["evaluated_at"].to_list()
            self.marks |= {
                series: max(mark, *times),
                recorded: max([due[at] for at in times] + ([] if known is None else [known])),
            }
        return found.rows(named=True)

    def _rows(self, grid_id: str, kind: EvaluationKind, frame: pl.DataFrame, due: list[datetime]) -> pl.DataFrame:
        """Rows of these evaluations, those before the run's months from where they are stored."""
        earlier = [at for at in due if at - _BAR < self._plan.start]
        wanted = pl.col("evaluated_at").is_in(due)
        if not earlier:
            return frame.filter(wanted)
        store = FrameStore(self._watch.frames_root)
        try:
            stored = store.read(f"{kind}_states", grid_id, start=month_start(min(earlier) - _BAR), end=self._plan.start)
        except FrameMissing:
            return frame.filter(wanted)
        made = as_made(store, f"{kind}_states", grid_id, stored)
        return pl.concat([made, frame]).unique("evaluated_at", keep="last", maintain_order=True).filter(wanted)

    def _closed(self, series: str, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """Hours that closed since the newest that is archived; of a market that has none the newest."""
        newest = self._plan.evaluated_at
        since = self.marks.get(series, newest - _HOUR)
        found = frame.filter((pl.col("close_time") > since) & (pl.col("close_time") <= newest))
        if found.height:
            self.marks[series] = found["close_time"][-1]
        return found.rows(named=True)

    def _declare(self, version: str | None) -> None:
        grid = self._grids.get(version or "")
        if grid is not None:
            self.files[grid_path(grid.id, grid.version_hash)] = as_yaml(grid.model_dump(mode="json"))


def _hours(metrics: ByMarket, verdicts: ByMarket, market: str) -> pl.DataFrame:
    """Metrics and verdict of each closed hour of a market."""
    measured, judged = (frames.get(market, {}).get(Timeframe.H1) for frames in (metrics, verdicts))
    if measured is None or judged is None:
        return pl.DataFrame(schema={"close_time": pl.Datetime("ms", "UTC")})
    added = [name for name in judged.columns if name not in measured.columns]
    return measured.join(judged.select("close_time", *added), on="close_time", how="left", maintain_order="left")
