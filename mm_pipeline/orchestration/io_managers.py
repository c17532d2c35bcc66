"""How assets exchange frames: by dataset, key (market or grid) and month in the frame store."""

from collections.abc import Mapping
from datetime import datetime

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.rows import up_to
from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.installation import Installation
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.orchestration.run_moment import evaluated_ms_of

TIMEFRAMES = "timeframes"
"""Asset metadata: the timeframes of which it has a frame per key, each its own dataset."""

FROM_JOURNAL = "from_journal"
"""Asset metadata: its frames list what the journal holds, so that any run knows all of it and replaces the month."""

SNAPSHOT = "snapshot"
"""Asset metadata: a month holds the rows of one evaluation alone, and the newest stays."""

Parts = Mapping[Timeframe, pl.DataFrame]


class FramesIOManager(dg.IOManager):
    """Writes and reads ``dict[key, frame]``, or ``dict[key, {timeframe: frame}]`` where the asset declares timeframes.

    Rows before the first month are kept as its look-back context and read again with it, so that a month depends on
    no other.

    A run knows nothing later than its own evaluation: it reads no later row, and leaves those that are stored as they
    are. So a backfill, or an old tick that is executed again, takes nothing from the ticks that came after it.

    Parameters
    ----------
    installation
        Whose frames these are; its storage guard tells of a disk that takes none.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._store: FrameStore | None = None

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
                    metadata=self._installation.written_by,
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
        return from_ms(evaluated_ms_of(run.run_id, run.tags, self._installation.clock.now))

    def _read(self, dataset: str, window: dg.TimeWindow, newest: datetime | None) -> dict[str, pl.DataFrame]:
        frames = {}
        for key in self.store().keys(dataset):
            try:
                frame = self.store().read_with_context(dataset, key, start=window.start, end=window.end)
            except FrameMissing:
                continue  # another month's market or grid
            frames[key] = frame if newest is None else up_to(frame, newest)
        return frames


def frames_io_manager(installation: Installation) -> dg.IOManagerDefinition:
    """The installation's frames, opened anew in each run."""
    return dg.IOManagerDefinition(lambda _context: FramesIOManager(installation), description="Frames by month.")


def _parts(name: str, content: pl.DataFrame | Parts) -> list[tuple[str, pl.DataFrame]]:
    if isinstance(content, pl.DataFrame):
        return [(name, content)]
    return [(f"{name}_{timeframe}", frame) for timeframe, frame in content.items()]
