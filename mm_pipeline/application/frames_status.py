"""Which stored months were made by other settings, code, candles or declarations than those of today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mm_pipeline.adapters.frames.store import FrameMissing, FrameStore
from mm_pipeline.application.month_stamp import CANDLES_HASH, GRID_HASH, MADE_TO, MIXED, PAST_HASH, STALE_INPUTS
from mm_pipeline.application.plan import Plan, floor_to_evaluation
from mm_pipeline.application.planned_keys import WATCH_KEY, planned_keys
from mm_pipeline.application.stamps import stamp_of
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import FrameDamaged, StorageError
from mm_pipeline.domain.months import next_month

CURRENT: Final = "current"
STALE: Final = "stale"
MIXED_STATE: Final = "mixed"

DATASETS: Final = {
    **{f"{asset}_{timeframe}": asset for asset in ("regime_metrics", "regime") for timeframe in ("1h", "4h")},
    **{asset: asset for asset in ("grid_analysis", "positions", "risk")},
    **{asset: asset for asset in ("exit_states", "entry_states", "replayed_notifications")},
}
"""What is computed from candles, with its asset; those that list the journal are never made of other settings."""

LISTS: Final = dict.fromkeys(("notifications", "deliveries"), "replayed_notifications")
"""What lists the journal, with the asset whose keys they have: of them only lost files are named."""

_MADE_BY: Final = {"settings_hash": "settings", "code_version": "code"}
_MADE_OF: Final = {CANDLES_HASH: "candles", PAST_HASH: "candles", MADE_TO: "unfinished", GRID_HASH: "grids"}
_IN_MONTHS_OVER: Final = frozenset({CANDLES_HASH, PAST_HASH, MADE_TO})


@dataclass(frozen=True)
class MonthStatus:
    """A stored month of a dataset, over all its markets or grids.

    Attributes
    ----------
    state
        ``current``; ``stale``, where something that decides it is another today; ``mixed``, where its rows or its
        files were made by several settings or codes.
    changed
        What is another today: ``settings``, ``code``, ``candles``, ``grids``; ``unfinished``, where the month went on
        after it was made; ``inputs``, where it was made of stale frames; ``files``, where one is damaged or lost.
    """

    dataset: str
    month: str
    frames: int
    state: str
    changed: tuple[str, ...]


def frames_status(watch: Watch, months: Collection[datetime] | None = None) -> list[MonthStatus]:
    """Every stored month, or those of ``months``, oldest first.

    What goes on with a month is compared where it is over.
    """
    store = FrameStore(watch.frames_root)
    stored: dict[tuple[datetime, str], list[str]] = defaultdict(list)
    for dataset in DATASETS:
        for key in store.keys(dataset):
            for month in store.months(dataset, key):
                if months is None or month in months:
                    stored[month, dataset].append(key)
    lost = _lost(store, months)
    found = []
    for month in sorted({month for month, _ in (*stored, *lost)}):
        plan = plan_of_month(watch, month)
        for name in (*DATASETS, *LISTS):
            gone = lost.get((month, name), set()) & _remade(name, plan)
            if name in LISTS and gone:
                found.append(MonthStatus(name, f"{month:%Y-%m}", len(gone), STALE, ("files",)))
            elif (month, name) in stored or gone:
                found.append(_status(watch, store, name, plan, stored[month, name], gone=gone))
        watch.let_go()
    return found


def _lost(store: FrameStore, months: Collection[datetime] | None) -> dict[tuple[datetime, str], set[str]]:
    """Keys of files that cannot be had, by month and dataset; what is there of computed ones is looked at by itself."""
    found: dict[tuple[datetime, str], set[str]] = defaultdict(set)
    files = [(name, *of) for name in (*DATASETS, *LISTS) for of in store.lost(name)]
    there = [(name, key, month) for name in LISTS for key in store.keys(name) for month in store.months(name, key)]
    for name, key, month in files + [of for of in there if metadata_of(store, *of) is None]:
        if months is None or month in months:
            found[month, name].add(key)
    return found


def _remade(dataset: str, plan: Plan) -> frozenset[str]:
    """Keys that a run over the month would make again; what nothing declares any more is not missed."""
    keys = planned_keys((DATASETS | LISTS)[dataset], plan) or frozenset()
    return keys | {WATCH_KEY} if dataset == "deliveries" else keys


def plan_of_month(watch: Watch, month: datetime) -> Plan:
    """What a backfill of the month would do now."""
    newest_ms = floor_to_evaluation(watch.now())
    return watch.plan(start=month, end=next_month(month), evaluated_ms=newest_ms, is_live=False)


def _status(
    watch: Watch, store: FrameStore, dataset: str, plan: Plan, keys: list[str], *, gone: Collection[str]
) -> MonthStatus:
    found = {key: metadata_of(store, dataset, key, plan.start) for key in keys}
    readable = {key: metadata for key, metadata in found.items() if metadata is not None}
    changed = {"files"} if gone or len(readable) < len(found) else set()
    for key, metadata in readable.items():
        changed |= changed_in(watch, plan, dataset, key, metadata)
    if _undeclared(watch, store, dataset, plan, keys):
        changed.add("grids")
    several = {tuple(metadata.get(name) for name in _MADE_BY) for metadata in readable.values()}
    is_mixed = len(several) > 1 or any(MIXED in metadata for metadata in readable.values())
    state = MIXED_STATE if is_mixed else STALE if changed else CURRENT
    return MonthStatus(dataset, f"{plan.start:%Y-%m}", len({*keys, *gone}), state, tuple(sorted(changed)))


def metadata_of(store: FrameStore, dataset: str, key: str, month: datetime) -> Mapping[str, str] | None:
    """What the file names; None where it cannot be read: damaged, behind a lock, or taken away meanwhile."""
    try:
        return store.metadata(dataset, key, month)
    except StorageError:
        return None


def changed_in(watch: Watch, plan: Plan, dataset: str, key: str, metadata: Mapping[str, str]) -> set[str]:
    """What decides a month's file and is another in a plan; files of earlier versions do not name all of it."""
    today = stamp_of(watch, plan, dataset, key)
    changed = {word for name, word in _MADE_BY.items() if metadata.get(name) != today[name]}
    changed |= {"inputs"} if STALE_INPUTS in metadata else set()
    compared = {name: word for name, word in _MADE_OF.items() if name in metadata and name in today}
    if plan.end > plan.evaluated_at:
        compared = {name: word for name, word in compared.items() if name not in _IN_MONTHS_OVER}
    return changed | {word for name, word in compared.items() if metadata[name] != today[name]}


def _undeclared(watch: Watch, store: FrameStore, dataset: str, plan: Plan, keys: list[str]) -> bool:
    """Whether rows are stored of a market or grid that nothing asks for; a grid file that cannot be read may do so."""
    wanted = planned_keys(DATASETS[dataset], plan) or frozenset()
    unread = {problem.grid_id for problem in watch.grid_folder().problems}
    rest = set(keys) - wanted - unread
    return any(_has_rows(store, dataset, key, plan) for key in rest)


def _has_rows(store: FrameStore, dataset: str, key: str, plan: Plan) -> bool:
    """Whether rows of the month are stored; a file that is there and cannot be read may hold some."""
    try:
        return store.read(dataset, key, start=plan.start, end=plan.end).height > 0
    except StorageError as error:
        return isinstance(error, FrameDamaged) or not isinstance(error, FrameMissing)
