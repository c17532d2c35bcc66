"""What each partition of a run shows of its own month: rows without look-back, and how often each state was held."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from mm_pipeline.adapters.frames.rows import by_bar
from mm_pipeline.application.month_stamp import CANDLES_HASH, joined_hash
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.months import months_between, next_month
from mm_pipeline.orchestration.run_plan import run_plan

ROW_COUNT: Final = "dagster/row_count"
Stage = Callable[..., Iterator[Any]]


def by_partition(stage: Stage) -> Stage:
    """The stage, whose results say of each of their months what it holds."""

    @functools.wraps(stage)
    def run(context: dg.AssetExecutionContext, watch: Watch, **frames: Any) -> Iterator[Any]:
        for result in stage(context, watch, **frames):
            if isinstance(result.value, Mapping):
                show_rows(context, _frames(result.value), result.asset_key)
            made_by = provenance(watch, run_plan(context.run, context.partition_time_window, watch))
            yield result._replace(
                metadata={**(result.metadata or {}), **made_by},
                data_version=dg.DataVersion(joined_hash(made_by.values())),
            )

    return run


def provenance(watch: Watch, plan: Plan) -> dict[str, str]:
    """What decides the rows of a run: settings, code, and the candles that it looked at."""
    hashes = watch.candle_hashes(plan)
    markets = [hashes[market.path_key] for market in plan.markets if market.path_key in hashes]
    return {**watch.written_by, CANDLES_HASH: joined_hash(markets)}


def show_rows(
    context: dg.AssetExecutionContext, frames: Iterable[pl.DataFrame], asset_key: dg.AssetKey | None = None
) -> None:
    """Add the rows of each month of the run to its partition."""
    ordered = [by_bar(frame, "this asset") for frame in frames]
    for month in months_of(context):
        rows = [one.between(month, next_month(month)) for one in ordered]
        shown: dict[str, Any] = {ROW_COUNT: sum(frame.height for frame in rows)}
        states = [frame["state"] for frame in rows if "state" in frame.columns and "input_hash" in frame.columns]
        if states:
            shown["rows_per_state"] = dict(pl.concat(states).value_counts().sort("state").rows())
        context.add_asset_metadata(shown, asset_key or context.asset_key, f"{month:%Y-%m}")


def months_of(context: dg.AssetExecutionContext) -> list[datetime]:
    """First instants of the run's months."""
    window = context.partition_time_window
    return months_between(window.start, window.end)


def _frames(value: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
    for content in value.values():
        yield from [content] if isinstance(content, pl.DataFrame) else content.values()
