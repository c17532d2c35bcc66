"""Which stored months were made by other settings, code or candles than those of today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.candles_hash import CANDLES_HASH, MIXED
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.months import next_month

CURRENT: Final = "current"
STALE: Final = "stale"
MIXED_STATE: Final = "mixed"

DATASETS: Final = (
    *("regime_metrics_1h", "regime_metrics_4h", "regime_1h", "regime_4h", "grid_analysis"),
    *("positions", "risk", "exit_states", "entry_states", "replayed_notifications"),
)
"""What is computed from candles; frames that list the journal are never stale."""

_DECIDING: Final = {"settings_hash": "settings", "code_version": "code"}


@dataclass(frozen=True)
class MonthStatus:
    """A stored month of a dataset, over all its markets or grids.

    Attributes
    ----------
    state
        ``current``; ``stale``, where something that decides it is another today; ``mixed``, where its rows or its
        files were made by several settings or codes.
    changed
        What is another today: ``settings``, ``code``, ``candles``.
    """

    dataset: str
    month: str
    frames: int
    state: str
    changed: tuple[str, ...]


def frames_status(watch: Watch) -> list[MonthStatus]:
    """Every stored month, oldest first. Candles are compared in months that are over."""
    store, written_by = FrameStore(watch.frames_root), watch.written_by
    stored: dict[tuple[datetime, str], list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
    for dataset in DATASETS:
        for key in store.keys(dataset):
            for month in store.months(dataset, key):
                stored[month, dataset].append((key, store.metadata(dataset, key, month)))
    hashes = {month: _hashes(watch, month) for month in sorted({month for month, _ in stored})}
    return [
        _status(dataset, month, files, written_by, hashes[month]) for (month, dataset), files in sorted(stored.items())
    ]


def _hashes(watch: Watch, month: datetime) -> Mapping[str, str]:
    """Hash of today's candles by key; nothing of a month that goes on."""
    newest_ms = floor_to_evaluation(watch.now())
    if next_month(month) > from_ms(newest_ms):
        return {}
    return watch.candle_hashes(watch.plan(start=month, end=next_month(month), evaluated_ms=newest_ms, is_live=False))


def _status(
    dataset: str,
    month: datetime,
    files: list[tuple[str, Mapping[str, str]]],
    written_by: Mapping[str, str],
    hashes: Mapping[str, str],
) -> MonthStatus:
    changed = {
        what for name, what in _DECIDING.items() for _, metadata in files if metadata.get(name) != written_by[name]
    }
    if any(CANDLES_HASH in metadata and metadata[CANDLES_HASH] != hashes.get(key, metadata[CANDLES_HASH])
           for key, metadata in files):  # fmt: skip
        changed.add("candles")
    several = {tuple(metadata.get(name) for name in _DECIDING) for _, metadata in files}
    is_mixed = len(several) > 1 or any(MIXED in metadata for _, metadata in files)
    state = MIXED_STATE if is_mixed else STALE if changed else CURRENT
    return MonthStatus(dataset, f"{month:%Y-%m}", len(files), state, tuple(sorted(changed)))
