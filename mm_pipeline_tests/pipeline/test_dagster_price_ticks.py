"""A run hears its exchange's price steps: ladders follow them; one that cannot be traded is UNKNOWN by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from mm_pipeline.adapters.candles.memory_candles import MemoryCandles
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.domain.candles import CandleSource, CircuitStore
from mm_pipeline.domain.market import Market
from mm_pipeline.settings import Settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = DAGSTER_WARNINGS
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)


class _Stepping(MemoryCandles):
    price_ticks: dict[Market, float]


@dataclass
class SteppingSources(FixedSources):
    """Candles from memory, and the price steps of their markets."""

    ticks: dict[Market, float] = field(default_factory=dict)

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        source = _Stepping(self.candles, self.problems)
        source.price_ticks = self.ticks
        return dict.fromkeys(exchanges, source)


def test_grid_too_fine_for_its_exchange_is_unknown_from_the_first_tick_and_others_are_rounded(tmp_path: Path) -> None:
    candles = ranging_candles(AT - timedelta(days=60), 61)
    sources = SteppingSources({ETH: candles}, ticks={ETH: 15.0})
    installation = Installation(tmp_path, sources)
    installation.grid("fine", levels=11)
    installation.grid("wide", levels=6)
    with dg.DagsterInstance.ephemeral() as instance:
        installation.tick(AT, instance)
        with installation.journal() as journal:
            states = {one.grid: one for one in journal.evaluations(since=AT) if one.kind == "exit"}
    assert states["fine"].state == "UNKNOWN"
    assert "levels: its narrowest interval is 20" in str(states["fine"].reasons)
    assert states["wide"].state != "UNKNOWN"
    with installation.watch(AT + BAR) as watch:
        plan = watch.plan(
            start=datetime(2025, 3, 1, tzinfo=UTC),
            end=datetime(2025, 4, 1, tzinfo=UTC),
            evaluated_ms=int(AT.timestamp() * 1000),
            is_live=False,
        )
    (wide,) = [grid.versions[-1].grid for grid in plan.grids if grid.grid_id == "wide"]
    assert wide.level_prices().tolist() == [2895.0, 2940.0, 2985.0, 3015.0, 3060.0, 3105.0]
