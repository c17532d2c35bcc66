"""A whole watch in one process without Dagster's runs: real assets, journal, files and delivery; a made-up world.

The world is one market, its exchange, this machine's clock, two channels and a grid file. Everything between them is
the program's own: what a run's steps call is called here in their order, with what they are given.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import dagster as dg
import polars as pl
import pytest
import yaml

from mm_pipeline.adapters.candles.memory_candles import within
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application import notify as telling
from mm_pipeline.application import watch as watch_module
from mm_pipeline.application.installation import Installation
from mm_pipeline.application.plan import floor_to_evaluation
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.candles import CandleSource, CircuitStore, resample
from mm_pipeline.domain.errors import ClockSkewed, ExchangeUnavailable
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.months import next_month, parse_month
from mm_pipeline.domain.pipeline import Frames, metrics_of, regime_of
from mm_pipeline.orchestration import metadata as summaries
from mm_pipeline.orchestration.assets import candles, notifications, states
from mm_pipeline.orchestration.assets import grid_analysis as grids
from mm_pipeline.orchestration.assets.declaration import plan_of
from mm_pipeline.orchestration.jobs import RANGE_END_TAG, RANGE_START_TAG, tick_request
from mm_pipeline.settings import Deployment, Settings
from mm_pipeline_tests.dagster_samples import ETH, ranging_candles
from mm_pipeline_tests.notification_watch import ScriptedProvider

BAR: Final = timedelta(minutes=15)
MINUTE: Final = timedelta(minutes=1)
BEGIN: Final = datetime(2024, 3, 2, tzinfo=UTC)
GRID: Final[Mapping[str, Any]] = {
    "id": "eth",
    "exchange": "kucoin",
    "symbol": "ETH/USDT",
    "enabled": True,
    "lower": 2900.0,
    "upper": 3100.0,
    "levels": 6,
    "spacing": "arithmetic",
    "stop_loss": 2800.0,
    "capital": 1000.0,
    "fee": 0.001,
    "started_at": datetime(2024, 3, 1, tzinfo=UTC),
}
HISTORY: Final = ranging_candles(datetime(2023, 12, 28, tzinfo=UTC), 65, seed=3).filter(
    pl.col("open_time") < BEGIN - BAR
)
"""Calm candles up to a bar before ``BEGIN``; what comes after them is told bar by bar."""
_RUN_LOG: Final = logging.getLogger("mm_pipeline_tests.machine")
_MEASURED: dict[tuple[int, int], tuple[Frames, Frames]] = {}


@dataclass
class World:
    """What is true, and how it looks from this machine.

    Attributes
    ----------
    now
        The true time, which is the exchange's.
    skew
        How far this machine's clock is ahead of it.
    is_away
        Whether the exchange does not answer.
    missing
        Open times of bars that the exchange's answers lack.
    """

    now: datetime = BEGIN + MINUTE
    skew: timedelta = timedelta(0)
    is_away: bool = False
    prices: dict[datetime, float] = field(default_factory=dict)
    missing: set[datetime] = field(default_factory=set)

    def candles(self) -> pl.DataFrame:
        """What the exchange has, bars that are not closed left out."""
        told = [
            (at, price, price + 1.0, price - 1.0, price, 10.0)
            for at, price in sorted(self.prices.items())
            if at + BAR <= self.now and at not in self.missing
        ]
        return pl.concat([HISTORY, pl.DataFrame(told, schema=HISTORY.schema, orient="row")])


@dataclass(frozen=True)
class MachineClock:
    """This machine's clock, right or wrong."""

    world: World

    def now(self) -> datetime:
        """What it shows."""
        return self.world.now + self.world.skew

    def now_ms(self) -> int:
        """The same in epoch milliseconds."""
        return to_ms(self.now())


@dataclass
class WorldSource:
    """The exchange's candles, with its own time; see ``CandleSource``."""

    world: World
    limit: timedelta
    requests_made: int = 0
    leaves_nothing_out: bool = False

    def clock_offset_ms(self) -> int | None:
        """The exchange's clock minus this machine's."""
        self._ask()
        return -int(self.world.skew.total_seconds() * 1000)

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        """Candles, unless the exchange is away or the clocks are too far apart."""
        self._ask()
        if abs(self.world.skew) > self.limit:
            raise ClockSkewed(f"the clock is {self.world.skew} off.", "Set it.")
        return within(self.world.candles(), start_ms=start_ms, end_ms=end_ms)

    def _ask(self) -> None:
        self.requests_made += 1
        if self.world.is_away:
            raise ExchangeUnavailable("the exchange is away.", "Wait.")


@dataclass
class MachineWatch:
    """Runs ticks of an installation in a folder."""

    folder: Path
    world: World
    settings: Settings
    channels: Mapping[str, ScriptedProvider]
    runs: int = 0

    def __post_init__(self) -> None:
        (self.folder / "grids").mkdir()
        self.url = sqlite_url(self.folder / "journal.db")
        self.journal = Journal(self.url)
        self.declare(GRID)

    @property
    def grid_file(self) -> Path:
        """The grid's declaration."""
        return self.folder / "grids" / "eth.yaml"

    def declare(self, values: Mapping[str, Any]) -> None:
        """Write the grid's file."""
        told = {**values, "started_at": values["started_at"].strftime("%Y-%m-%dT%H:%M:%SZ")}
        self.grid_file.write_text(yaml.safe_dump(told, sort_keys=False).replace("'", ""))

    def watch(self) -> Watch:
        """What the steps of one run ask."""
        return Watch(
            Installation(
                deployment=Deployment(self.settings, self.folder / "settings.yaml"),
                clock=MachineClock(self.world),
                journal_url=self.url,
                sources=_Sources(self.world),
                channels=cast("Any", SimpleNamespace(open=lambda _settings: self.channels)),
                accounts=cast("Any", None),
                frames_root=str(self.folder / "frames"),
                archive_folder=self.folder,
                home=self.folder,
                studies_folder=self.folder / "studies",
                studies_root=self.folder / "studies",
                environment=os.environ,
            )
        )

    def tick(self) -> str:
        """The run a minute after the newest close by this machine's clock; what came of the heartbeat."""
        watch = self.watch()
        try:
            return self._ticked(watch)
        finally:
            watch.close()

    def _ticked(self, watch: Watch) -> str:
        evaluated_ms = floor_to_evaluation(watch.now())
        request = tick_request(watch.decisions(), evaluated_ms, run_key="", first_month=watch.settings.first_month)
        self.runs += 1
        context = _context(request.partition_key, dict(request.tags), f"{self.folder} {self.runs}")
        _value(_body(candles.candles)(context, watch))
        metrics, verdicts = self._measured(context, watch)
        analysis = _value(_body(grids.grid_analysis)(context, watch, metrics, verdicts))
        exits, entries = (
            one.value
            for one in _body(states.exit_and_entry_states)(context, watch, metrics, verdicts, analysis, {}, {})
        )
        notified = _value(_body(notifications.notifications)(context, watch, exits, entries))
        (delivered,) = _body(notifications.deliveries)(context, watch, notified)
        return str((delivered.metadata or {})["heartbeat"])

    def _measured(self, context: Any, watch: Watch) -> tuple[dict[str, Frames], dict[str, Frames]]:
        """Metrics and verdicts, computed once for the same closed hours."""
        plan = plan_of(context, watch)
        bars = watch.bars(plan).get(ETH)
        if bars is None:
            return {}, {}
        hours = resample(bars.bars, Timeframe.H1)
        key = (hours.height, int(hours.hash_rows().sum()))
        if key not in _MEASURED:
            metrics = metrics_of(bars.bars, watch.market_policy)
            _MEASURED[key] = (metrics, regime_of(metrics, watch.market_policy))
        metrics, verdicts = _MEASURED[key]
        return {ETH.path_key: metrics}, {ETH.path_key: verdicts}

    def run_sensors(self) -> None:
        """What runs between ticks: pages that are due, and what came back."""
        watch = self.watch()
        delivery = watch.delivery()
        delivery.relay.run()
        delivery.answers.follow()
        watch.close()

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()


@dataclass(frozen=True)
class _Sources:
    world: World

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        source = WorldSource(self.world, settings.exchange_access.max_clock_offset)
        return dict.fromkeys(exchanges, source)


def _body(asset: dg.AssetsDefinition) -> Callable[..., Any]:
    """The function of an asset, without the lock and the guard around it."""
    return cast("Callable[..., Any]", inspect.unwrap(cast("Any", asset.op.compute_fn).decorated_fn))


def _context(partition: str | None, tags: dict[str, str], run_id: str) -> Any:
    first, last = (parse_month(tags.get(tag) or str(partition)) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    window = SimpleNamespace(start=first, end=next_month(last))
    run = SimpleNamespace(tags=tags | {"mm/live": "true"}, run_id=run_id)
    return SimpleNamespace(
        partition_time_window=window,
        run=run,
        log=_RUN_LOG,
        log_event=lambda _event: None,
        asset_key=None,
        add_asset_metadata=lambda *_shown, **_of: None,
    )


def _value(results: Iterator[Any]) -> Any:
    (result,) = results
    return result.value


@contextmanager
def without_pictures(beat: Callable[[str], bool]) -> Iterator[None]:
    """Pages without charts, which take longest; a heartbeat that goes nowhere; one writer, and a disk with room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling._Decisions, "_chart", lambda *_: None)
        patch.setattr(summaries, "_charts", lambda *_, **__: {})
        patch.setattr(watch_module, "send_heartbeat", beat)
        patch.setattr(candles, "turn", lambda *_: nullcontext())
        patch.setattr(candles, "warn_of_low_disk", lambda _watch: None)
        yield
