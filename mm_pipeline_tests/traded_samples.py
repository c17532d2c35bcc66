"""A paper exchange whose account trades a grid that falls, a paper phone, and an installation that watches both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import dagster as dg
import polars as pl

from mm_pipeline.application.opening.candle_sources import ExchangeSources
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.rate_limit import RateLimit
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.paper.markets.regimes import RegimeParameters, Segment, TrueRegime
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline.paper.trading.account import PaperAccount
from mm_pipeline_tests.account_samples import READING, TRADING
from mm_pipeline_tests.dagster_samples import FixedSources, Installation

START = datetime(2025, 1, 1, tzinfo=UTC)
AT = datetime(2025, 3, 20, 12, tzinfo=UTC)
STARTED = AT - timedelta(days=8)
SOL = Market("kucoin", "SOL/USDT")
CALM = RegimeParameters(half_life_h=4.0, volatility_pct_per_h=0.4)
FALL = RegimeParameters(volatility_pct_per_h=0.4, drift_pct_per_h=-0.7)
KEYS = {"MM_KUCOIN_KEY": READING.key, "MM_KUCOIN_SECRET": READING.secret, "MM_KUCOIN_PASSPHRASE": READING.passphrase}
UNLIMITED = RateLimit(limit=10**9, window_s=30.0)
PUSHOVER = {"MM_TEST_TOKEN": "a" * 30, "MM_TEST_USER": "u" * 30}


@lru_cache(maxsize=1)
def falling() -> SimulatedMarket:
    hours = (AT - START).total_seconds() / 3600
    scenario = (
        Segment(regime=TrueRegime.RANGE, hours=hours, parameters=CALM),
        Segment(regime=TrueRegime.TREND, hours=60, parameters=FALL),
    )
    return SimulatedMarket(seed=5, start=START, bars=96 * 81, scenario=scenario, start_price=150.0)


@lru_cache(maxsize=1)
def sol_candles() -> pl.DataFrame:
    columns = ("open_time", "open", "high", "low", "close", "volume")
    return falling().load(price_increment=0.01).select(columns)


def sol_grid() -> Grid:
    price = float(sol_candles().filter(pl.col("open_time") == STARTED)["open"][0])
    return Grid.model_validate(
        {
            "id": "sol",
            "exchange": "kucoin",
            "symbol": "SOL/USDT",
            "enabled": True,
            "lower": round(price * 0.967, 2),
            "upper": round(price * 1.03, 2),
            "levels": 7,
            "spacing": "arithmetic",
            "stop_loss": round(price * 0.93, 2),
            "capital": 1000.0,
            "fee": 0.001,
            "started_at": STARTED,
        }
    )


def first_bar_after(condition: pl.Expr) -> datetime:
    """Close of the first bar since the fall began at which something holds."""
    found = sol_candles().filter((pl.col("open_time") >= AT) & condition)["open_time"][0]
    return found + timedelta(minutes=15)


@dataclass
class Traded:
    """The paper exchange with an account whose bot trades the grid, a paper Pushover, and the installation."""

    paper: PaperExchange
    pushover: PaperPushover
    installation: Installation
    instance: dg.DagsterInstance

    def tick(self, at: datetime) -> dg.ExecuteInProcessResult:
        self.paper.clock.stand_at(at + timedelta(minutes=1))
        self.pushover.clock.stand_at(at + timedelta(minutes=1))
        return self.installation.tick(at, self.instance)


def newest(installation: Installation, dataset: str, grid: str, at: datetime) -> dict[str, object]:
    rows = installation.read(dataset, grid, start=datetime(2025, 3, 1, tzinfo=UTC), end=at)
    return rows.filter(pl.col("evaluated_at") == at).row(0, named=True)


@contextmanager
def traded_grids(folder: Path, *grids: Grid) -> Iterator[Traded]:
    """Everything, started; the keys of :data:`KEYS` and :data:`PUSHOVER` are to be in the environment."""
    account = PaperAccount(keys=(READING, TRADING), balances={"USDT": Decimal(1000)}, grids=grids)
    limits = dict.fromkeys(("kucoin_public_limit", "kucoin_spot_limit", "kucoin_management_limit"), UNLIMITED)
    markets = [PaperMarket(market=SOL, source=falling(), price_increment=0.01, base_increment=1e-4)]
    with (
        PaperExchange(markets=markets, clock=PaperClock.standing(AT), accounts=[account], **limits) as paper,
        PaperPushover(clock=PaperClock.standing(AT)) as pushover,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        phone = {
            "name": "phone",
            "kind": "pushover",
            "token_env": "MM_TEST_TOKEN",
            "user_env": "MM_TEST_USER",
            "api_url": pushover.url,
        }
        settings = {"exchange": "paper", "paper_url": paper.url, "channels": [phone]}
        installation = Installation(folder, FixedSources({}), settings=settings)
        installation.sources = ExchangeSources()  # type: ignore[assignment] # real HTTP in place of memory
        for grid in grids:
            declared = grid.model_dump(mode="json")
            installation.grid(grid.id, **{name: value for name, value in declared.items() if name != "id"})
        yield Traded(paper, pushover, installation, instance)
