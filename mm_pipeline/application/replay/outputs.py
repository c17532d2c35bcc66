"""What ``mm replay`` writes: frames as Parquet, then ``summary.json``, so that a summary is never of other frames."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from mm_pipeline.domain.advice import AdvicePolicy
from mm_pipeline.domain.entry_state import ENTRY_STATES
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.exit_state import STATES, TRIGGERS
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.market_view import MarketView
from mm_pipeline.domain.notifications import ENTRY, EXIT, Notice, NotifyPolicy, Response
from mm_pipeline.domain.pipeline import evaluate
from mm_pipeline.domain.position import simulate_grid
from mm_pipeline.domain.risk import RiskHistory, RiskPolicy, risk_rows
from mm_pipeline.reporting.notification_frame import GridStates, replayed_notifications

FRAMES: Final = (
    "metrics_1h",
    "metrics_4h",
    "exit_states",
    "entry_states",
    "notifications",
    "risk",
    "fills",
    "equity",
    "quarantine",
)
SUMMARY: Final = "summary.json"

_KEYS = ("market", "open_time", "close_time", "known_at")
_VERDICT = (
    "range_score",
    "p_range_ok",
    "p_range_weak",
    "p_transition",
    "p_trend",
    "verdict_raw",
    "verdict",
    "confidence",
    "primary_regime",
    "secondary_signal",
)
_EXTRAS = (
    "high",
    "low",
    "close",
    "is_synthetic",
    "direction",
    "confirmations",
    "is_in_sample",
    "variance_ratio_10_z",
    "ou_rho",
    "ou_t",
    "swing_high_confirmed_at",
    "swing_low_confirmed_at",
)


def metrics_frame(view: MarketView, timeframe: Timeframe, market: Market, span_ms: tuple[int, int]) -> pl.DataFrame:
    """Metrics and verdicts of the bars that open and close within ``span_ms``, one row a bar."""
    frame = view.timeline(timeframe).frame.with_columns(market=pl.lit(str(market)))
    first, end = span_ms
    inside = (pl.col("open_time").dt.epoch("ms") >= first) & (pl.col("close_time").dt.epoch("ms") <= end)
    metrics = [name for name in frame.columns if name not in (*_KEYS, *_VERDICT, *_EXTRAS)]
    return frame.filter(inside).select(*_KEYS, *metrics, *_VERDICT, *_EXTRAS)


def advice_rows(
    grid: Grid, view: MarketView, policy: AdvicePolicy, span_ms: tuple[int, int]
) -> tuple[str, pl.DataFrame]:
    """Name and rows of the one advice that a grid gets at the closes of bars within ``span_ms`` (epoch ms).

    A grid that its stop has sold out holds nothing that could be exited: it is judged once more, and no further.
    """
    first_ms, last_ms = span_ms
    versions = [GridVersion(grid, grid.started_at)]
    advice = evaluate(versions, view, policy, first_ms=first_ms + 1, last_ms=last_ms)
    if not grid.enabled:
        return "entry_states", advice.entry_states
    rows, stopped_at = advice.exit_states, stopped_out_at(grid, view.bars.frame, last_ms)
    return "exit_states", rows if stopped_at is None else rows.filter(pl.col("evaluated_at") <= stopped_at)


def risk_frame(grid: Grid, bars: pl.DataFrame, rows: pl.DataFrame, policy: RiskPolicy) -> pl.DataFrame:
    """Modelled position and risk at the evaluations of exit states, a row each."""
    evaluated_ms = rows["evaluated_at"].dt.epoch("ms").to_numpy()
    return risk_rows([GridVersion(grid, grid.started_at)], RiskHistory.of(bars, policy), evaluated_ms, policy)


def notifications_frame(
    rows: pl.DataFrame, grid: Grid, responses: Sequence[Response], policy: NotifyPolicy
) -> pl.DataFrame:
    """Notifications that live ticks over these states would have decided."""
    kind = EXIT if grid.enabled else ENTRY
    states = GridStates(rows=rows, grids={grid.version_hash: grid}, kind=kind)
    return replayed_notifications([states], responses, policy)


def notices_told(notifications: pl.DataFrame) -> dict[str, int]:
    """How many pages told each notice, every notice named."""
    told = notifications.filter(pl.col("held_back").is_null())
    counts = dict(told["notice"].value_counts().rows())
    return {notice.value: counts.get(notice.value, 0) for notice in Notice}


def position_frames(grid: Grid, bars: pl.DataFrame, span_ms: tuple[int, int]) -> dict[str, pl.DataFrame]:
    """Fills and equity of an enabled grid, simulated since its start, of the bars that lie within ``span_ms``.

    A disabled grid holds nothing.
    """
    if not grid.enabled:
        return {}
    first, end = span_ms
    simulation = simulate_grid(grid, bars, end_ms=end)
    inside = pl.col("time").dt.epoch("ms") >= first
    return {"fills": simulation.fills.filter(inside), "equity": simulation.equity.filter(inside)}


def stopped_out_at(grid: Grid, bars: pl.DataFrame, end_ms: int) -> datetime | None:
    """Evaluation from which the stop of an enabled grid is known to have sold everything; None where it has not."""
    if not grid.enabled:
        return None
    simulation = simulate_grid(grid, bars, end_ms=end_ms)
    stopped = simulation.trades.stopped_bar
    known_at: datetime | None = simulation.bars["known_at"][stopped] if stopped >= 0 else None
    return known_at


def bars_per_state(states: pl.Series, *, is_enabled: bool) -> dict[str, int]:
    """How many evaluations ended in each state, every state named."""
    counts = dict(states.value_counts().rows())
    return {state: counts.get(state, 0) for state in (STATES if is_enabled else ENTRY_STATES)}


def fired_per_trigger(rows: pl.DataFrame) -> dict[str, int]:
    """At how many evaluations each trigger fired; empty for entry advice, which has none."""
    return {name: int(rows[name].struct.field("fired").sum()) for name in TRIGGERS if name in rows.columns}


def write_frames(folder: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Write each frame whole; what an earlier replay left here under another name goes.

    Raises
    ------
    StorageError
        When the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SUMMARY).unlink(missing_ok=True)
        for name in FRAMES:
            path = _path(folder, name)
            if name not in frames:
                path.unlink(missing_ok=True)
                continue
            staged = path.with_name(f".{path.name}.tmp")
            frames[name].write_parquet(staged, compression="zstd")
            os.replace(staged, path)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``summary.json``. Raises :class:`StorageError`."""
    staged = folder / f".{SUMMARY}.tmp"
    try:
        staged.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        os.replace(staged, folder / SUMMARY)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(f"{folder} cannot be written: {error}.", "Mend its permissions or choose another --out.")
