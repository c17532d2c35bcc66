"""Accounts for tests: a grid traded on the paper exchange for thirty days, and who reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import ccxt
import polars as pl

from mm_pipeline.adapters.account import Credentials, ExchangeAccount
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.domain.account import AccountFill, AccountFlow, AccountPolicy, FillStore, OrderApi, Side
from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import GridSimulation, simulate_grid
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.rate_limit import RateLimit
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline.paper.trading.account import FeeIn, FeeSchedule, PaperAccount, PaperKey, PartFills
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.candle_samples import exchange_policy
from mm_pipeline_tests.markets import grid_around

MARKET = Market("kucoin", "ETH/USDT")
OPENED = datetime(2025, 1, 1, tzinfo=UTC)
STARTED = OPENED + timedelta(days=2)
DAYS = 30
NOW = STARTED + timedelta(days=DAYS)
NOW_MS = int(NOW.timestamp() * 1000)
TICK, LOT = 0.01, 1e-7
CAPITAL = 1000.0


def paper_key(name: str, *permissions: str) -> PaperKey:
    """A key whose parts bear its name."""
    return PaperKey(
        key=f"{name}-key", secret=f"{name}-secret", passphrase=f"{name}-passphrase", permissions=permissions
    )


READING = paper_key("reading", "General")
TRADING = paper_key("trading", "General", "Spot")
UNLIMITED = RateLimit(limit=10**9, window_s=30.0)


def credentials(key: PaperKey) -> Credentials:
    """The same key as a reader has it."""
    return Credentials(key=key.key, secret=key.secret, passphrase=key.passphrase)


def account_policy(**changes: Any) -> AccountPolicy:
    """The shipped policy with changes."""
    shipped = load_settings().account.model_dump(mode="json")
    return AccountPolicy.model_validate(shipped | changes)


@lru_cache(maxsize=8)
def candles(seed: int) -> pl.DataFrame:
    """The market's candles as the paper exchange plays them."""
    columns = ("open_time", "open", "high", "low", "close", "volume")
    return source(seed).load(price_increment=TICK).select(columns)


def source(seed: int) -> SimulatedMarket:
    """A market of forty days."""
    return SimulatedMarket(seed=seed, start=OPENED, bars=96 * 40)


def traded_grid(seed: int, **changes: Any) -> Grid:
    """A grid about the price at its start: it begins with some intervals in base and some in cash."""
    price = candles(seed).filter(pl.col("open_time") == STARTED)["open"][0]
    declared = {"exchange": "kucoin", "levels": 9, "spacing": "geometric", "capital": CAPITAL, "width": 0.08}
    return grid_around(price, STARTED, **(declared | changes))


def modelled(grid: Grid, seed: int, *, until_ms: int = NOW_MS) -> GridSimulation:
    """The same grid by the simulator."""
    return simulate_grid(grid, fill_gaps(candles(seed), quarantined_ms=None), end_ms=until_ms)


def trading_account(
    *grids: Grid,
    api: OrderApi = OrderApi.HF,
    fee_in: FeeIn = FeeIn.QUOTE,
    keys: Sequence[PaperKey] = (READING, TRADING),
    part_fills: PartFills | None = None,
    balances: dict[str, str] | None = None,
) -> PaperAccount:
    """An account with the grid's capital and fee."""
    return PaperAccount(
        keys=keys,
        balances={name: Decimal(text) for name, text in (balances or {"USDT": "1000"}).items()},
        order_api=api,
        fees=FeeSchedule(fee_in=fee_in),
        part_fills=part_fills or PartFills(),
        grids=grids,
    )


def paper_with(
    account: PaperAccount, *, seed: int, at: datetime = NOW, extra: Sequence[PaperMarket] = (), **options: Any
) -> PaperExchange:
    """A paper exchange, not yet started, whose clock stands."""
    markets = [PaperMarket(market=MARKET, source=source(seed), price_increment=TICK, base_increment=LOT), *extra]
    limits = dict.fromkeys(("kucoin_public_limit", "kucoin_spot_limit", "kucoin_management_limit"), UNLIMITED)
    return PaperExchange(markets=markets, clock=PaperClock.standing(at), accounts=[account], **(limits | options))


def reader(
    paper: PaperExchange,
    fills: FillStore,
    *,
    key: PaperKey = READING,
    policy: AccountPolicy | None = None,
    circuits: MemoryCircuits | None = None,
    **limits: Any,
) -> ExchangeAccount:
    """Who reads the paper account."""
    return ExchangeAccount(
        "kucoin",
        credentials(key),
        policy=policy or account_policy(),
        exchange_policy=exchange_policy(**limits),
        clock=paper.clock,
        circuits=circuits or MemoryCircuits(),
        fills=fills,
        base_url=paper.base_url("kucoin"),
    )


def signing_client(paper: PaperExchange, key: PaperKey = TRADING, *, is_hf: bool = True) -> Any:
    """ccxt's own kucoin class with a key, its time the paper exchange's."""
    options = {"uta": False, "hf": is_hf, "fetchMarkets": {"types": ["spot"], "fetchTickersFees": False}}
    client = ccxt.kucoin({"timeout": 5000, "enableRateLimit": False, "options": options})
    client.session.trust_env = False
    client.urls["api"] = dict.fromkeys(client.urls["api"], paper.base_url("kucoin"))
    client.apiKey, client.secret, client.password = key.key, key.secret, key.passphrase
    client.nonce = paper.clock.now_ms
    return client


def fill(number: int, side: str, price: float, quantity: float = 1.0, **changes: Any) -> AccountFill:
    """One fill of ETH/USDT, a second after the one before, without fee."""
    told: dict[str, Any] = {
        "trade_id": str(number),
        "order_id": f"order-{number}",
        "symbol": "ETH/USDT",
        "time_ms": int(STARTED.timestamp() * 1000) + 1000 * number,
        "side": Side(side),
        "price": price,
        "quantity_base": quantity,
        "fee": 0.0,
        "fee_currency": "USDT",
    }
    return AccountFill(**(told | changes))


def flow(number: int, amount: float, **changes: Any) -> AccountFlow:
    """One flow of USDT, a second after the one before."""
    told: dict[str, Any] = {
        "ledger_id": str(number),
        "time_ms": int(STARTED.timestamp() * 1000) + 1000 * number,
        "currency": "USDT",
        "amount": amount,
    }
    return AccountFlow(**(told | changes))
