"""How assets exchange frames: by dataset, key (market or grid) and month in the frame store."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.rows import up_to
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.frames_status import changed_in
from mm_pipeline.application.installation import Installation
from mm_pipeline.application.market_frames import StoredFrames
from mm_pipeline.application.month_stamp import MIXED, STALE_INPUTS
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.planned_keys import planned_keys
from mm_pipeline.application.stamps import month_plan, stamp_of
from mm_pipeline.application.storage_alarms import warn_of_unreadable
from mm_pipeline.application.stored_states import EXIT_STATES, RISK_FRAMES, as_made, as_stored, months_without_risk
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import NOT_READ, FrameDamaged, FrameUnreadable, StorageError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.months import months_between, next_month
from mm_pipeline.orchestration.run_moment import evaluated_ms_of
from mm_pipeline.orchestration.run_plan import run_plan

TIMEFRAMES = "timeframes"
"""Asset metadata: the timeframes of which it has a frame per key, each its own dataset."""

FROM_JOURNAL = "from_journal"
"""Asset metadata: its frames list what the journal holds, so that a live run knows all of it and replaces the month."""

SNAPSHOT = "snapshot"
"""Asset metadata: a month holds the rows of one evaluation alone, and the newest stays."""

REMOVED = "removed"
"""Metadata: keys and months that a run took out, since nothing declares them."""

NOT_STORED = "not_stored"
"""Metadata: keys whose rows could not be stored, since what is stored of them cannot be read."""

TOLD = frozenset({"exit_states", "entry_states"})
"""Datasets of which a tick keeps what it has decided: what cannot be stored is told all the same."""

ADDED_TO_BY_TICKS = frozenset({"positions", "risk"})
"""Datasets of which a tick keeps the rows that are stored."""

Parts = Mapping[Timeframe, pl.DataFrame]


class FramesIOManager(dg.IOManager):
    """Writes and reads ``dict[key, frame]``, or ``dict[key, {timeframe: frame}]`` where the asset declares timeframes.

    Rows before the first month are kept as its look-back context and read again with it, so that a month depends on
    no other.

    A run over whole months owns them: keys that its plan has no more are taken out. A tick takes out none.

    A run knows nothing later than its own evaluation: it reads no later row, and leaves those that are stored as they
    are. So a backfill, or an old tick that is executed again, takes nothing from the ticks that came after it.

    A key of which a file is there and cannot be read is left as it is, and stops no other.

    Parameters
    ----------
    installation
        Whose frames these are; its storage guard tells of a disk that takes none.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._store: FrameStore | None = None
        self._stale: dict[tuple[str, str, datetime], set[str]] = defaultdict(set)
        self._decided: dict[tuple[str, str, str], pl.DataFrame] = {}

    def store(self) -> FrameStore:
        """The frame store."""
        if self._store is None:
            self._store = FrameStore(self._installation.frames_root)
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, pl.DataFrame | Parts]) -> None:
        """Replace the run's months of every key, up to the run's evaluation."""
        try:
            self._write(context, obj)
        except StorageError as error:
            self._installation.storage_guard().failed(error)
            raise

    def _write(self, context: dg.OutputContext, obj: Mapping[str, pl.DataFrame | Parts]) -> None:
        window, plan = context.asset_partitions_time_window, _plan(context)
        declared = context.definition_metadata or {}
        # A live run lists all that the journal holds; one over months began before ticks that may have ended since.
        is_whole = plan.is_live and declared.get(FROM_JOURNAL)
        newest = None if is_whole else self._evaluated_at(context)
        not_stored = {}
        for key, content in obj.items():
            for dataset, frame in _parts(context.asset_key.path[-1], content):
                if plan.is_live and dataset in TOLD:
                    self._decided[context.step_context.run_id, dataset, key] = frame
                try:
                    self.store().write(
                        dataset,
                        key,
                        as_stored(dataset, frame),
                        start=window.start,
                        end=window.end,
                        metadata=self._installation.written_by,
                        by_month=self._provenance(context, plan, dataset, key),
                        newest=newest,
                        is_snapshot=bool(declared.get(SNAPSHOT)),
                    )
                except FrameUnreadable as error:
                    not_stored[f"{dataset} of {key}"] = error
        self._tell_not_stored(context, plan, not_stored)
        if not plan.is_live:
            self._remove_undeclared(context, plan, set(obj))

    def _tell_not_stored(
        self, context: dg.OutputContext, plan: Plan, not_stored: Mapping[str, FrameUnreadable]
    ) -> None:
        """Say which rows could not be stored; of a run about the past that is a failure, a tick goes on."""
        for name, error in not_stored.items():
            context.log.error(f"{name} are not stored: {error}")
            if not plan.is_live:
                raise error
            warn_of_unreadable(context.resources.watch, name, error)
        if not_stored:
            context.add_output_metadata({NOT_STORED: ", ".join(not_stored)})

    def _provenance(
        self, context: dg.OutputContext, plan: Plan, dataset: str, key: str
    ) -> dict[datetime, dict[str, str]]:
        """What the file of each month says of how it was made.

        A tick may keep rows of other settings or code: they are named too.
        """
        watch: Watch = context.resources.watch
        return {
            month: stamp_of(watch, month_plan(watch, plan, month), dataset, key)
            | self._stale_inputs(context, month)
            | (self._kept_of_others(dataset, key, month) if plan.is_live and dataset in ADDED_TO_BY_TICKS else {})
            for month in months_between(plan.start, plan.end)
        }

    def _stale_inputs(self, context: dg.OutputContext, month: datetime) -> dict[str, str]:
        """Datasets that the step has read of the month although they are stale."""
        found = self._stale[(*_step(context), month)]
        return {STALE_INPUTS: " ".join(sorted(found))} if found else {}

    def _kept_of_others(self, dataset: str, key: str, month: datetime) -> dict[str, str]:
        """Other settings or code that made rows which are stored already."""
        made_by = self._installation.written_by
        try:
            before = self.store().metadata(dataset, key, month)
        except (FrameMissing, FrameDamaged):
            return {}
        other = {name: before.get(name, "unknown") for name in made_by}
        mixed = before.get(MIXED) if other == made_by else " ".join(other.values())
        return {MIXED: mixed} if mixed else {}

    def _remove_undeclared(self, context: dg.OutputContext, plan: Plan, made: Collection[str]) -> None:
        """Take keys out of the plan's months that it does not have, and say so; what failed in this run it has.

        A grid file that cannot be read may be any grid's: until it is put right, nothing is taken out.
        """
        asset = context.asset_key.path[-1]
        keys = planned_keys(asset, plan)
        if keys is None or context.resources.watch.grid_folder().problems:
            return
        told = set()
        for dataset in _datasets(asset, context.definition_metadata or {}):
            for key in set(self.store().keys(dataset)) - keys - set(made):
                months = self.store().remove(dataset, key, start=plan.start, end=plan.end, newest=plan.evaluated_at)
                told |= {f"{key} {month:%Y-%m}" for month in months}
        if told:
            context.add_output_metadata({REMOVED: ", ".join(sorted(told))})

    def load_input(self, context: dg.InputContext) -> Mapping[str, pl.DataFrame | Parts]:
        """Every key of the run's plan, with the look-back context of the first month, in the present columns.

        Keys that lack a month in which they are declared, or have one that cannot be read, are left out by name
        (:class:`StoredFrames`): rows that are made of a part of the months would replace better ones.
        """
        asset = context.asset_key.path[-1]
        upstream = context.upstream_output
        metadata = (upstream.definition_metadata or {}) if upstream else {}
        parts = {dataset: self._read(context, asset, dataset, metadata) for dataset in _datasets(asset, metadata)}
        if TIMEFRAMES not in metadata:
            return parts[asset]
        found: StoredFrames[Parts] = StoredFrames()
        for frames in parts.values():
            found.missing |= frames.missing
        for key in sorted(set.intersection(*(set(frames) for frames in parts.values()))):
            timeframes = (Timeframe(timeframe) for timeframe in metadata[TIMEFRAMES])
            found[key] = dict(zip(timeframes, (frames[key] for frames in parts.values()), strict=True))
        return found

    def _evaluated_at(self, context: dg.OutputContext | dg.InputContext) -> datetime:
        run = context.step_context.dagster_run
        return from_ms(evaluated_ms_of(run.run_id, run.tags, self._installation.clock.now))

    def _read(
        self, context: dg.InputContext, asset: str, dataset: str, declared: Mapping[str, Any]
    ) -> StoredFrames[pl.DataFrame]:
        window, wanted = context.asset_partitions_time_window, planned_keys(asset, _plan(context))
        found: StoredFrames[pl.DataFrame] = StoredFrames()
        stored = self.store().keys(dataset)
        for key in stored if wanted is None else sorted(wanted):
            months = set(self.store().months(dataset, key)) if key in stored else set()
            lacking = [] if wanted is None else [m for m in self._due(context, asset, key) if m not in months]
            try:
                if lacking:
                    raise _lacking(dataset, key, lacking)
                stored_rows = self.store().read_with_context(dataset, key, start=window.start, end=window.end)
                frame = self._as_made(context, dataset, key, stored_rows)
                self._note_stale(context, dataset, key)
            except NOT_READ as error:
                decided = self._decided.get((context.step_context.run_id, dataset, key))
                if isinstance(error, FrameUnreadable) and decided is not None:
                    found[key] = decided
                    continue
                found.missing[key] = error
                self._note_missing(context, dataset)
                continue
            found[key] = frame if declared.get(FROM_JOURNAL) else up_to(frame, self._evaluated_at(context))
        return found

    def _as_made(self, context: dg.InputContext, dataset: str, key: str, stored: pl.DataFrame) -> pl.DataFrame:
        """The frame as its stage made it; a run about the past needs all of what exit states tell.

        A tick goes on without: what it lacks of a position must not keep back the state.
        """
        if dataset == EXIT_STATES and not _plan(context).is_live:
            for beside, months in months_without_risk(self.store(), key, stored).items():
                if lacking := [month for month in self._due(context, beside, key) if month in months]:
                    raise _lacking(beside, key, lacking)
        return as_made(self.store(), dataset, key, stored)

    def _note_missing(self, context: dg.InputContext, dataset: str) -> None:
        """Remember the same of an input that is not there: what is made without it is no better."""
        plan = _plan(context)
        for month in () if plan.is_live else months_between(plan.start, plan.end):
            self._stale[(*_step(context), month)].add(dataset)

    def _note_stale(self, context: dg.InputContext, dataset: str, key: str) -> None:
        """Remember for the step's outputs which of its inputs were stale; a tick has made all of them itself."""
        plan, watch = _plan(context), context.resources.watch
        for of in () if plan.is_live else (dataset, *(RISK_FRAMES if dataset == EXIT_STATES else ())):
            for month in months_between(plan.start, plan.end):
                if month in self.store().months(of, key):
                    metadata = self.store().metadata(of, key, month)
                    if MIXED in metadata or changed_in(watch, month_plan(watch, plan, month), of, key, metadata):
                        self._stale[(*_step(context), month)].add(of)

    def _due(self, context: dg.InputContext, asset: str, key: str) -> list[datetime]:
        """The run's months in which the key is declared."""
        plan = _plan(context)
        months = months_between(plan.start, plan.end)
        if len(months) == 1:
            return months
        watch: Watch = context.resources.watch
        newest_ms = plan.evaluated_ms
        plans = [watch.plan(start=m, end=next_month(m), evaluated_ms=newest_ms, is_live=False) for m in months]
        return [each.start for each in plans if key in (planned_keys(asset, each) or ())]


def frames_io_manager(current: Callable[[], Installation]) -> dg.IOManagerDefinition:
    """The installation's frames, opened anew in each run."""
    return dg.IOManagerDefinition(
        lambda _context: FramesIOManager(current()),
        description="Frames by month.",
        required_resource_keys={"watch"},
    )


def _step(context: dg.OutputContext | dg.InputContext) -> tuple[str, str]:
    """Run and step, of which inputs and outputs belong together."""
    return context.step_context.run_id, context.step_context.step.key


def _plan(context: dg.OutputContext | dg.InputContext) -> Plan:
    return run_plan(context.step_context.dagster_run, context.asset_partitions_time_window, context.resources.watch)


def _datasets(asset: str, declared: Mapping[str, Any]) -> list[str]:
    """Datasets in which an asset's frames lie."""
    return [f"{asset}_{timeframe}" for timeframe in declared.get(TIMEFRAMES, ())] or [asset]


def _parts(name: str, content: pl.DataFrame | Parts) -> list[tuple[str, pl.DataFrame]]:
    if isinstance(content, pl.DataFrame):
        return [(name, content)]
    return [(f"{name}_{timeframe}", frame) for timeframe, frame in content.items()]


def _lacking(dataset: str, key: str, months: list[datetime]) -> FrameMissing:
    named = ", ".join(f"{month:%Y-%m}" for month in months)
    return FrameMissing(
        f"there is no {dataset} of {key} of {named}.", "Materialize it first; what is stored of it stays as it is."
    )
