"""A small installation in a temporary folder, and its jobs run in process: for the tests of the Dagster side."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from mm_pipeline.adapters.candles.memory_candles import MemoryCandles
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.config.home import frames_dir, journal_file
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.stored_states import as_made
from mm_pipeline.application.watch import Watch
from mm_pipeline.bootstrap import Overrides, installation
from mm_pipeline.domain.candles import RAW_SCHEMA, CandleSource, CircuitStore
from mm_pipeline.domain.errors import ExchangeError
from mm_pipeline.domain.market import Market
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import EVALUATION_JOB, HISTORY_JOB, RANGE_END_TAG, RANGE_START_TAG
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG
from mm_pipeline.orchestration.turns import LIVE_TAG
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime
from mm_pipeline.paper.markets.simulation import simulate_market
from mm_pipeline.reporting import charts
from mm_pipeline.reporting.pages import chart as page_chart
from mm_pipeline.settings import Deployment, Settings, load_settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

NO_PICTURE = b"no picture"

DAGSTER_WARNINGS = [
    pytest.mark.filterwarnings(text)
    for text in (
        # Dagster 1.13 reads a deprecated attribute of pydantic 2 whenever a configurable resource is made,
        "ignore:The `__fields__` attribute:pydantic.warnings.PydanticDeprecatedSince20",
        # and a deprecated one of its own whenever resources are nested.
        "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning",
    )
]

ETH, BTC, XRP = Market("kucoin", "ETH/USDT"), Market("kucoin", "BTC/USDT"), Market("kucoin", "XRP/USDT")


@dataclass
class FixedSources:
    """Candles from memory for every exchange; ``problems`` and ``candles`` may change between runs."""

    candles: dict[Market, pl.DataFrame]
    problems: dict[Market, ExchangeError] = field(default_factory=dict)
    own_hours: dict[Market, pl.DataFrame] = field(default_factory=dict)

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        closed = clock.now() - timedelta(minutes=15)
        seen = {market: frame.filter(pl.col("open_time") <= closed) for market, frame in self.candles.items()}
        return dict.fromkeys(exchanges, MemoryCandles(seen, self.problems))

    def hourly(self, market: Market, *, start_ms: int, end_ms: int, settings: Settings) -> pl.DataFrame | None:
        own = self.own_hours.get(market)
        if own is None:
            return None
        return own.filter(pl.col("open_time").to_physical().is_between(start_ms, end_ms, closed="left"))


@contextmanager
def quick_run() -> Iterator[None]:
    """A run with stand-ins for its pictures, a third of what a run at a full hour costs, and for syncs of the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _file: None)
        patch.setattr(charts, "state_chart_png", lambda *_, **__: NO_PICTURE)
        patch.setattr(page_chart, "page_chart_png", lambda *_, **__: NO_PICTURE)
        yield


@dataclass
class Installation:
    """Settings, grids and home in one folder, and candles from memory.

    Attributes
    ----------
    draws
        Whether its runs draw the pictures of the UI and of pages.
    """

    folder: Path
    sources: FixedSources
    settings: dict[str, Any] = field(default_factory=dict)
    draws: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        (self.folder / "grids").mkdir(parents=True, exist_ok=True)
        self.settings_file.write_text(yaml.safe_dump({"grids": "grids"} | self.settings))

    @property
    def settings_file(self) -> Path:
        return self.folder / "settings.yaml"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def deployment(self) -> Deployment:
        return Deployment(load_settings(self.settings_file), self.settings_file)

    @property
    def store(self) -> FrameStore:
        return FrameStore(str(frames_dir(self.home)))

    def read(self, dataset: str, key: str, *, start: datetime, end: datetime) -> pl.DataFrame:
        """Stored rows as their stage made them."""
        return as_made(self.store, dataset, key, self.store.read(dataset, key, start=start, end=end))

    def grid(self, grid_id: str, **changes: Any) -> None:
        """Write a grid file."""
        values = {
            "id": grid_id,
            "exchange": "kucoin",
            "symbol": "ETH/USDT",
            "enabled": True,
            "lower": 2900,
            "upper": 3100,
            "levels": 6,
            "spacing": "arithmetic",
            "stop_loss": 2800,
            "capital": 1000,
            "fee": 0.001,
            "started_at": "2025-03-01T00:00:00Z",
        }
        text = yaml.safe_dump(values | changes, sort_keys=False).replace("'", "")
        (self.folder / "grids" / f"{grid_id}.yaml").write_text(text)

    def overrides(self, now: datetime) -> Overrides:
        return Overrides(deployment=self.deployment, home=self.home, sources=self.sources, clock_at=now.isoformat())

    @contextmanager
    def watch(self, now: datetime) -> Iterator[Watch]:
        opened = Watch(installation(self.overrides(now)))
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        with Journal(sqlite_url(journal_file(self.home))) as journal:
            yield journal

    def run(
        self,
        now: datetime,
        instance: dg.DagsterInstance,
        *,
        job: str | None = None,
        months: tuple[str, str] | None = None,
        month: str | None = None,
        tags: Mapping[str, str] | None = None,
        raises: bool = True,
        assets: Collection[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run of a job with the clock standing at ``now``; a range of months is a backfill."""
        given = dict(tags or {})
        job = job or (EVALUATION_JOB if months is None else HISTORY_JOB)
        asked = None if assets is None else [dg.AssetKey(asset) for asset in assets]
        if months is not None:
            given |= {RANGE_START_TAG: months[0], RANGE_END_TAG: months[1], LIVE_TAG: "false"}
        made = build_definitions(self.overrides(now)).resolve_job_def(job)
        with nullcontext() if self.draws else quick_run():
            return made.execute_in_process(
                instance=instance,
                partition_key=month,
                tags=given,
                run_config=QUIET,
                raise_on_error=raises,
                asset_selection=asked,
            )

    def tick(self, evaluated_at: datetime, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
        """The live run a minute after a close."""
        month = (evaluated_at - timedelta(minutes=15)).strftime("%Y-%m")
        return self.run(
            evaluated_at + timedelta(minutes=1),
            instance,
            month=month,
            tags={EVALUATED_AT_TAG: evaluated_at.isoformat()},
            **options,
        )

    def tick_once(self, *closes: datetime) -> None:
        """As after the first ticks, made once of the same files and candles; an instance knows nothing of them."""
        self._once(("tick", *closes), lambda instance: [self.tick(close, instance) for close in closes])

    def backfill_once(self, now: datetime, months: tuple[str, str]) -> None:
        """As after a first :meth:`run` of these months, likewise."""
        self._once(("backfill", now, months), lambda instance: self.run(now, instance, months=months))

    def _once(self, what: tuple[Any, ...], run: Callable[[dg.DagsterInstance], object]) -> None:
        assert not self.home.exists()
        assert not self.sources.problems
        written = [self.settings_file, *(self.folder / "grids").iterdir()]
        files = {file.name: file.read_bytes() for file in written}
        frames = [*self.sources.candles.items(), *self.sources.own_hours.items()]
        key = (type(self), *what, *sorted(files.items()), *((market, id(frame)) for market, frame in frames))
        if key in _kept():
            shutil.copytree(_kept()[key][0], self.home)
            return
        with dg.DagsterInstance.ephemeral() as instance:
            run(instance)
        copy = _folder_of_homes() / str(len(_kept()))
        shutil.copytree(self.home, copy)
        _kept()[key] = (copy, frames)


@cache
def _kept() -> dict[tuple[Any, ...], tuple[Path, object]]:
    """Copies of homes by what made them; with the frames, so that no other frame takes their identity."""
    return {}


@cache
def _folder_of_homes() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mm-homes-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Metadata of the asset's materialization in its own partitions."""
    (event, *_) = [
        event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(asset)
    ][-1:]
    metadata = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in metadata.items()}


def check_of(result: dg.ExecuteInProcessResult, asset: str, name: str) -> Any:
    """A check's evaluation in a run."""
    (found,) = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if (evaluation.asset_key, evaluation.check_name) == (dg.AssetKey(asset), name)
    ]
    return found


@cache
def ranging_candles(
    start: datetime, days: int, *, seed: int = 3, price: float = 3000.0, quiet_share: float = 0.0
) -> pl.DataFrame:
    """Raw candles of a simulated market that keeps to a level; quiet bars are left out, as an exchange does."""
    calm = RegimeParameters(half_life_h=4.0, volatility_pct_per_h=0.3)
    scenario = [Segment(regime=TrueRegime.RANGE, hours=days * 24.0, parameters=calm)]
    bars = simulate_market(
        seed=seed, start=start, bars=days * 96, scenario=scenario, start_price=price, quiet_share=quiet_share
    )
    return bars.filter(pl.col("volume") > 0).select(list(RAW_SCHEMA))
