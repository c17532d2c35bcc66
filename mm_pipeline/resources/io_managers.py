"""How assets exchange frames: by dataset, key (market or grid) and month in the frame store."""

from collections.abc import Mapping

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from mm_pipeline.adapters.frame_store import FrameMissing, FrameStore
from mm_pipeline.domain.market import Timeframe

TIMEFRAMES = "timeframes"
"""Asset metadata: the timeframes of which it has a frame per key, each its own dataset."""

Parts = Mapping[Timeframe, pl.DataFrame]


class FramesIOManager(dg.ConfigurableIOManager):
    """Writes and reads ``dict[key, frame]``, or ``dict[key, {timeframe: frame}]`` where the asset declares timeframes.

    Rows before the first month are kept as its look-back context and read again with it, so that a month depends on
    no other.

    Parameters
    ----------
    root
        Path or URL of the frame store.
    written_by
        Metadata of every file: settings hash and code version.
    """

    root: str
    written_by: dict[str, str]
    _store: FrameStore | None = PrivateAttr(default=None)

    def store(self) -> FrameStore:
        """The frame store."""
        if self._store is None:
            self._store = FrameStore(self.root)
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, pl.DataFrame | Parts]) -> None:
        """Replace the run's months of every key."""
        window = context.asset_partitions_time_window
        for key, content in obj.items():
            for dataset, frame in _parts(context.asset_key.path[-1], content):
                self.store().write(dataset, key, frame, start=window.start, end=window.end, metadata=self.written_by)

    def load_input(self, context: dg.InputContext) -> Mapping[str, pl.DataFrame | Parts]:
        """Every key that has one of the run's months, with the look-back context of the first."""
        name, window = context.asset_key.path[-1], context.asset_partitions_time_window
        upstream = context.upstream_output
        declared = (upstream.definition_metadata or {}).get(TIMEFRAMES) if upstream else None
        if not declared:
            return self._read(name, window)
        parts = {Timeframe(timeframe): self._read(f"{name}_{timeframe}", window) for timeframe in declared}
        keys = set.intersection(*(set(frames) for frames in parts.values()))
        return {key: {timeframe: frames[key] for timeframe, frames in parts.items()} for key in sorted(keys)}

    def _read(self, dataset: str, window: dg.TimeWindow) -> dict[str, pl.DataFrame]:
        frames = {}
        for key in self.store().keys(dataset):
            try:
                frames[key] = self.store().read_with_context(dataset, key, start=window.start, end=window.end)
            except FrameMissing:
                continue  # another month's market or grid
        return frames


def _parts(name: str, content: pl.DataFrame | Parts) -> list[tuple[str, pl.DataFrame]]:
    if isinstance(content, pl.DataFrame):
        return [(name, content)]
    return [(f"{name}_{timeframe}", frame) for timeframe, frame in content.items()]
