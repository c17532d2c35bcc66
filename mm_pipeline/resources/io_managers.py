"""How assets exchange frames: by dataset, key (market or grid) and month in the frame store."""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from mm_pipeline.adapters.clock import from_ms
from mm_pipeline.adapters.frame_store import FrameMissing, FrameStore, up_to
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.resources.clock import ClockResource
from mm_pipeline.resources.run_moment import evaluated_ms_of
from mm_pipeline.resources.watch import Watch

TIMEFRAMES = "timeframes"
"""Asset metadata: the timeframes of which it has a frame per key, each its own dataset."""

FROM_JOURNAL = "from_journal"
"""Asset metadata: its frames list what the journal holds, so that any run knows all of it and replaces the month."""

SNAPSHOT = "snapshot"
"""Asset metadata: a month holds the rows of one evaluation alone, and the newest stays."""

Parts = Mapping[Timeframe, pl.DataFrame]


class FramesIOManager(dg.ConfigurableIOManager):
    """Writes and reads ``dict[key, frame]``, or ``dict[key, {timeframe: frame}]`` where the asset declares timeframes.

    Rows before the first month are kept as its look-back context and read again with it, so that a month depends on
    no other.

    A run knows nothing later than its own evaluation: it reads no later row, and leaves those that are stored as they
    are. So a backfill, or an old tick that is executed again, takes nothing from the ticks that came after it.

    Parameters
    ----------
    root
        Path or URL of the frame store.
    written_by
        Metadata of every file: settings hash and code version.
    clock
        What time it is, for a run whose tags name no evaluation.
    watch
        Whose storage guard tells of a disk that takes no frame.
    """

    root: str
    written_by: dict[str, str]
    clock: dg.ResourceDependency[ClockResource]
    watch: dg.ResourceDependency[Watch]
    _store: FrameStore | None = PrivateAttr(default=None)

    def store(self) -> FrameStore:
        """The frame store."""
        if self._store is None:
            self._store = FrameStore(self.root)
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, pl.DataFrame | Parts]) -> None:
        """Replace the run's months of every key, up to the run's evaluation."""
        try:
            self._write(context, obj)
        except StorageError as error:
            self.watch.storage_guard().failed(error)
            raise

    def _write(self, context: dg.OutputContext, obj: Mapping[str, pl.DataFrame | Parts]) -> None:
        window = context.asset_partitions_time_window
        declared = context.definition_metadata or {}
        newest = None if declared.get(FROM_JOURNAL) else self._evaluated_at(context)
        for key, content in obj.items():
            for dataset, frame in _parts(context.asset_key.path[-1], content):
                self.store().write(
                    dataset,
                    key,
                    frame,
                    start=window.start,
                    end=window.end,
                    metadata=self.written_by,
                    newest=newest,
                    is_snapshot=bool(declared.get(SNAPSHOT)),
                )

    def load_input(self, context: dg.InputContext) -> Mapping[str, pl.DataFrame | Parts]:
        """Every key that has one of the run's months, with the look-back context of the first."""
        name, window = context.asset_key.path[-1], context.asset_partitions_time_window
        upstream = context.upstream_output
        metadata = (upstream.definition_metadata or {}) if upstream else {}
        newest = None if metadata.get(FROM_JOURNAL) else self._evaluated_at(context)
        declared = metadata.get(TIMEFRAMES)
        if not declared:
            return self._read(name, window, newest)
        parts = {Timeframe(timeframe): self._read(f"{name}_{timeframe}", window, newest) for timeframe in declared}
        keys = set.intersection(*(set(frames) for frames in parts.values()))
        return {key: {timeframe: frames[key] for timeframe, frames in parts.items()} for key in sorted(keys)}

    def _evaluated_at(self, context: dg.OutputContext | dg.InputContext) -> datetime:
        run = context.step_context.dagster_run
        return from_ms(evaluated_ms_of(run.run_id, run.tags, lambda: self.clock.clock().now()))

    def _read(self, dataset: str, window: dg.TimeWindow, newest: datetime | None) -> dict[str, pl.DataFrame]:
        frames = {}
        for key in self.store().keys(dataset):
            try:
                frame = self.store().read_with_context(dataset, key, start=window.start, end=window.end)
            except FrameMissing:
                continue  # another month's market or grid
            frames[key] = frame if newest is None else up_to(frame, newest)
        return frames


def _parts(name: str, content: pl.DataFrame | Parts) -> list[tuple[str, pl.DataFrame]]:
    if isinstance(content, pl.DataFrame):
        return [(name, content)]
    return [(f"{name}_{timeframe}", frame) for timeframe, frame in content.items()]
