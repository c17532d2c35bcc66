"""A grid traded on the paper exchange and read back through ccxt over HTTP is the grid that the simulator tells."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.account import AccountReading, ExchangeAccount, FrameFills, MemoryFills
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.domain.account import (
    AccountPosition,
    OrderApi,
    account_summary,
    fills_of_grid,
    position_of,
    reconcile,
)
from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline.domain.columns import TIME
from mm_pipeline.domain.errors import (
    ClockSkewed,
    ConfigError,
    ExchangeUnavailable,
    KeyRefused,
    MalformedAnswer,
    MarketNotFound,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.position import GridSimulation, simulate_grid
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import (
    ClockOffset,
    Delayed,
    Fault,
    HtmlPage,
    NullData,
    TruncatedJson,
    kucoin_internal_error,
    kucoin_too_many_requests,
)
from mm_pipeline.paper.markets.markets import PaperMarket, RecordedCandles, SimulatedMarket
from mm_pipeline.paper.trading.account import FeeIn, PaperKey, PartFills
from mm_pipeline_tests.account_samples import (
    CAPITAL,
    LOT,
    MARKET,
    NOW,
    NOW_MS,
    OPENED,
    READING,
    TICK,
    UNLIMITED,
    account_policy,
    credentials,
    modelled,
    paper_key,
    paper_with,
    reader,
    signing_client,
    traded_grid,
    trading_account,
)
from mm_pipeline_tests.candle_samples import exchange_policy
from mm_pipeline_tests.markets import grid_around

SEED = 3
STOPPED_SEED = 2
FILLS = "/fills"
DAY_MS = 86_400_000


def read(paper: PaperExchange, grid: Grid, store: Any = None, **options: Any) -> AccountReading:
    account = reader(paper, store or MemoryFills(), **options)
    return account.read(MARKET, start_ms=grid.started_at_ms)


def position(grid: Grid, reading: AccountReading, bid: float | None = None) -> AccountPosition:
    return position_of(
        grid,
        reading.fills,
        reading.orders,
        reading.balances,
        reading.bid if bid is None else bid,
        policy=account_policy(),
        increments=reading.increments,
        rates=reading.prices,
    )


def assert_same_fills(reading: AccountReading, model: GridSimulation) -> None:
    """Equal in number, order, side and bar; price and quantity within one step of the symbol."""
    expected = model.fills.rows(named=True)
    assert len(expected) > 20
    assert len(reading.fills) == len(expected)
    for told, wanted in zip(reading.fills, expected, strict=True):
        opened_ms = int(wanted["time"].timestamp() * 1000)
        assert told.side.value == wanted["side"]
        assert abs(told.price - wanted["price"]) <= TICK * 1.0001
        assert abs(told.quantity_base - wanted["quantity_base"]) <= LOT * 1.0001
        assert opened_ms <= told.time_ms <= opened_ms + 900_000


def assert_same_position(grid: Grid, reading: AccountReading, model: GridSimulation) -> None:
    """Inventory within a lot an interval; money within a tick and a lot for every fill."""
    summary = model.summary
    close = model.bars["close"][-1]
    told = position(grid, reading, bid=close)
    fills = len(reading.fills)
    largest = float(model.quantity_base.max())
    rounding = fills * (TICK * largest + LOT * grid.upper) * 1.01
    assert told.inventory_base == pytest.approx(summary.inventory, abs=LOT * grid.interval_count * 1.01)
    for name, wanted in (
        ("cash_quote", summary.cash),
        ("equity_quote", summary.equity),
        ("total_pnl_quote", summary.total_pnl),
        ("grid_profit_quote", summary.grid_profit),
        ("unrealised_quote", summary.unrealised),
        ("unmatched_fees_quote", summary.unmatched_fees),
        ("fees_quote", summary.fees),
    ):
        assert getattr(told, name) == pytest.approx(wanted, abs=rounding), name
    assert abs(told.residual_quote) < 1e-8
    assert told.foreign_fills == 0
    assert told.uncovered_base == 0.0
    assert all(drift.is_within for drift in reconcile(told, model, account_policy()))


@pytest.fixture(scope="module")
def traded() -> Iterator[tuple[PaperExchange, Grid, GridSimulation]]:
    grid = traded_grid(SEED)
    with paper_with(trading_account(grid), seed=SEED) as paper:
        yield paper, grid, modelled(grid, SEED)


@pytest.fixture
def paper(traded: tuple[PaperExchange, Grid, GridSimulation]) -> PaperExchange:
    traded[0].faults.clear()
    traded[0].calls.clear()
    return traded[0]


@pytest.fixture
def grid(traded: tuple[PaperExchange, Grid, GridSimulation]) -> Grid:
    return traded[1]


@pytest.fixture
def model(traded: tuple[PaperExchange, Grid, GridSimulation]) -> GridSimulation:
    return traded[2]


def test_thirty_days_read_back_equal_the_simulated_grid(
    paper: PaperExchange, grid: Grid, model: GridSimulation
) -> None:
    reading = read(paper, grid)

    assert model.summary.inventory > 0
    assert reading.read_at_ms == NOW_MS
    assert_same_fills(reading, model)
    assert_same_position(grid, reading, model)


def test_open_orders_are_the_rungs_that_the_simulated_grid_has_left(
    paper: PaperExchange, grid: Grid, model: GridSimulation
) -> None:
    reading = read(paper, grid)
    told = position(grid, reading)

    buys = sorted(order.price for order in reading.orders if order.side.value == "buy")
    sells = sorted(order.price for order in reading.orders if order.side.value == "sell")
    assert buys == pytest.approx(model.ladder.levels[: model.trades.rung].tolist(), abs=TICK * 1.01)
    assert sells == pytest.approx(model.ladder.levels[model.trades.rung + 1 :].tolist(), abs=TICK * 1.01)
    assert told.open_orders == grid.interval_count
    assert told.locked_base == pytest.approx(told.inventory_base)
    summary = account_summary(reading.balances, {"ETH": reading.bid}, currency="USDT")
    assert summary.total == pytest.approx(told.equity_quote)
    assert summary.locked == pytest.approx(told.locked_quote + told.locked_base * reading.bid)
    assert told.capital_utilization == pytest.approx(summary.locked / CAPITAL)


@pytest.mark.parametrize("api", list(OrderApi))
def test_stopped_grid_read_through_either_order_api_is_flat_and_equal(api: OrderApi) -> None:
    grid = traded_grid(STOPPED_SEED)
    model = modelled(grid, STOPPED_SEED)
    policy = account_policy(order_api=api.value, page_rows=10)
    with paper_with(trading_account(grid, api=api), seed=STOPPED_SEED) as paper:
        reading = read(paper, grid, policy=policy)

    assert model.summary.stopped_at is not None
    assert_same_fills(reading, model)
    assert_same_position(grid, reading, model)
    assert reading.orders == ()
    assert position(grid, reading).inventory_base == 0.0


@pytest.mark.parametrize("spacing", ["arithmetic", "geometric"])
@pytest.mark.parametrize("seed", [1, 4, 5])
def test_other_markets_and_spacings_give_equal_grids_too(seed: int, spacing: str) -> None:
    grid = traded_grid(seed, spacing=spacing, levels=14, width=0.05)
    with paper_with(trading_account(grid), seed=seed) as paper:
        reading = read(paper, grid)

    assert_same_fills(reading, modelled(grid, seed))
    assert_same_position(grid, reading, modelled(grid, seed))


def test_thirty_days_of_recorded_candles_give_equal_grids(recorded_data: Path) -> None:
    path = recorded_data / "kucoin_ETH-USDT_15m_2025-01-01_2025-09-30.parquet"
    candles = pl.read_parquet(path)
    started = datetime(2025, 3, 1, 12, tzinfo=UTC)
    now = started + timedelta(days=30)
    price = candles.filter(pl.col("open_time") == started)["open"][0]
    grid = grid_around(price, started, exchange="kucoin", width=0.3, levels=31, spacing="geometric", capital=CAPITAL)
    market = PaperMarket(market=MARKET, source=RecordedCandles(path=path), base_increment=LOT)
    limits = {"kucoin_spot_limit": UNLIMITED, "kucoin_management_limit": UNLIMITED}
    with PaperExchange(
        markets=[market], clock=PaperClock.standing(now), accounts=[trading_account(grid)], **limits
    ) as paper:
        reading = read(paper, grid)

    bars = fill_gaps(candles.with_columns(pl.col("open_time").cast(TIME)), quarantined_ms=None)
    model = simulate_grid(grid, bars, end_ms=int(now.timestamp() * 1000))
    assert len(model.fills) > 100
    assert_same_fills(reading, model)
    assert_same_position(grid, reading, model)


def test_partial_fills_add_up_to_the_same_position(grid: Grid, model: GridSimulation) -> None:
    account = trading_account(grid, part_fills=PartFills(parts=3))
    with paper_with(account, seed=SEED) as paper:
        reading = read(paper, grid, policy=account_policy(page_rows=10))

    assert len(reading.fills) > 2 * len(model.fills)
    assert_same_position(grid, reading, model)


def test_order_filled_in_part_rests_with_what_is_left(grid: Grid) -> None:
    account = trading_account(grid, part_fills=PartFills(parts=2, is_at_once=False))
    with paper_with(account, seed=SEED, at=OPENED + timedelta(days=2, minutes=1)) as paper:
        partly: list[AccountReading] = []
        while not partly:
            paper.clock.advance(timedelta(minutes=5))
            paper.desks[0].advance()
            if any(0 < order.filled < order.ticket.size for order in paper.desks[0].orders):
                partly.append(read(paper, grid))

    reading = partly[0]
    order = next(order for order in reading.orders if order.filled_base > 0)
    parts = [fill for fill in reading.fills if fill.order_id == order.order_id]
    assert sum(fill.quantity_base for fill in parts) == pytest.approx(order.filled_base)
    assert order.remaining_base == pytest.approx(order.quantity_base - order.filled_base)
    told = position(grid, reading)
    assert told.uncovered_base == 0.0
    assert told.ladder_buys + told.ladder_sells == len(
        {fill.order_id for fill in reading.fills if fill.order_id != order.order_id}
        - {fill.order_id for fill in fills_of_start(grid, reading)}
    )


def fills_of_start(grid: Grid, reading: AccountReading) -> list[Any]:
    told = fills_of_grid(grid, reading.fills, policy=account_policy(), increments=reading.increments)
    return [fill for fill, role in zip(told.fills, told.roles, strict=True) if role.value == "start"]


def test_fees_in_base_leave_less_inventory_and_the_identity_whole(grid: Grid, model: GridSimulation) -> None:
    with paper_with(trading_account(grid, fee_in=FeeIn.RECEIVED), seed=SEED) as paper:
        reading = read(paper, grid)
    told = position(grid, reading)

    assert {fill.fee_currency for fill in reading.fills} == {"ETH", "USDT"}
    assert told.inventory_base < model.summary.inventory
    held = next(balance.total for balance in reading.balances if balance.currency == "ETH")
    assert told.inventory_base == pytest.approx(held, abs=1e-12)
    cash = next(balance.total for balance in reading.balances if balance.currency == "USDT")
    assert told.cash_quote == pytest.approx(cash, abs=1e-8)
    assert abs(told.residual_quote) < 1e-8


def test_fees_in_a_third_currency_are_valued_at_its_price(grid: Grid, model: GridSimulation) -> None:
    kcs = PaperMarket(
        market=Market("kucoin", "KCS/USDT"),
        source=SimulatedMarket(seed=8, start=OPENED, bars=96 * 40, start_price=10.0),
        price_increment=0.001,
    )
    account = trading_account(grid, fee_in=FeeIn.THIRD, balances={"USDT": "1000", "KCS": "0.5"})
    with paper_with(account, seed=SEED, extra=[kcs]) as paper:
        reading = read(paper, grid)
    told = position(grid, reading)

    assert {fill.fee_currency for fill in reading.fills} == {"KCS", "USDT"}, "quote once no KCS is left"
    paid = {
        currency: sum(fill.fee for fill in reading.fills if fill.fee_currency == currency)
        for currency in ("KCS", "USDT")
    }
    assert told.fees_quote == pytest.approx(paid["KCS"] * reading.prices["KCS"] + paid["USDT"])
    assert told.grid_profit_quote + told.unrealised_quote - told.unmatched_fees_quote == pytest.approx(
        told.total_pnl_quote, abs=1e-8
    )
    assert told.fees_quote != pytest.approx(model.summary.fees, abs=0.01), "the paper fee used another price"


def test_reading_again_asks_for_the_overlap_alone(paper: PaperExchange, grid: Grid) -> None:
    store = MemoryFills()
    account = reader(paper, store)
    first = account.read(MARKET, start_ms=grid.started_at_ms)
    paper.calls.clear()

    second = account.read(MARKET, start_ms=grid.started_at_ms)

    asked = paper.calls.matching(FILLS)
    assert len(asked) == 1
    assert f"startAt={NOW_MS + 1 - 900_000}" in asked[0].target
    assert second.fills == first.fills
    assert (first.new_fills, second.new_fills) == (len(first.fills), 0)


def test_earlier_start_reads_what_lies_before_and_nothing_twice(paper: PaperExchange, grid: Grid) -> None:
    store = MemoryFills()
    read(paper, grid, store)
    late = read(paper, grid, MemoryFills())
    early = reader(paper, store).read(MARKET, start_ms=grid.started_at_ms - 10 * DAY_MS)
    half = MemoryFills()
    reader(paper, half).read(MARKET, start_ms=NOW_MS - 10 * DAY_MS)
    paper.calls.clear()

    both = reader(paper, half).read(MARKET, start_ms=grid.started_at_ms)

    assert early.fills == late.fills
    assert both.fills == late.fills
    assert paper.calls.count(FILLS) == 4, "twenty days in weeks, and the overlap"


def test_grid_that_trades_on_is_read_on(grid: Grid) -> None:
    store = MemoryFills()
    with paper_with(trading_account(grid), seed=SEED, at=NOW - timedelta(days=20)) as paper:
        account = reader(paper, store)
        counts = []
        for _ in range(5):
            counts.append(len(account.read(MARKET, start_ms=grid.started_at_ms).fills))
            paper.clock.advance(timedelta(days=4))
        reading = account.read(MARKET, start_ms=grid.started_at_ms)

    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    assert_same_fills(reading, modelled(grid, SEED))


CHILD = """
import sys
from pathlib import Path
from mm_pipeline.adapters.account import Credentials, ExchangeAccount, FrameFills
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import Market
from mm_pipeline_tests.account_samples import account_policy
from mm_pipeline_tests.candle_samples import exchange_policy

url, folder, now_ms, start_ms = sys.argv[1:]
account = ExchangeAccount(
    "kucoin",
    Credentials.from_environment(account_policy()),
    policy=account_policy(page_rows=10),
    exchange_policy=exchange_policy(deadline="60s", request_timeout="60s"),
    clock=FixedClock(from_ms(int(now_ms))),
    circuits=MemoryCircuits(),
    fills=FrameFills(folder),
    base_url=url,
)
account.read(Market("kucoin", "ETH/USDT"), start_ms=int(start_ms))
"""


def start_child(paper: PaperExchange, grid: Grid, folder: Path) -> subprocess.Popen[bytes]:
    policy = account_policy()
    environment = {
        **os.environ,
        policy.api_key_env: READING.key,
        policy.api_secret_env: READING.secret,
        policy.api_passphrase_env: READING.passphrase,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    arguments = (paper.base_url("kucoin"), str(folder), str(NOW_MS), str(grid.started_at_ms))
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)


def wait_until(condition: Any, limit_s: float = 30.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def test_reader_killed_midway_goes_on_where_it_was(
    paper: PaperExchange, grid: Grid, model: GridSimulation, tmp_path: Path
) -> None:
    third_week_ms = grid.started_at_ms + 14 * DAY_MS
    paper.faults.add(Delayed(delay_s=60.0), path_contains=f"startAt={third_week_ms}")
    store = FrameFills(str(tmp_path))
    child = start_child(paper, grid, tmp_path)
    try:
        wait_until(lambda: (store.span("kucoin-165111215", MARKET) or (0, 0))[1] >= third_week_ms)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    finally:
        child.kill()
    kept = store.fills("kucoin-165111215", MARKET)
    paper.faults.clear()
    paper.calls.clear()

    reading = read(paper, grid, store)

    assert 0 < len(kept) < len(model.fills)
    assert reading.new_fills == len(model.fills) - len(kept)
    starts = [int(call.target.split("startAt=")[1].split("&")[0]) for call in paper.calls.matching(FILLS)]
    assert min(starts) == third_week_ms - 900_000, "two weeks were not asked for again"
    assert_same_fills(reading, model)
    assert_same_position(grid, reading, model)
    assert read(paper, grid, FrameFills(str(tmp_path))).fills == reading.fills, "also for another process"


@pytest.mark.parametrize(
    "fault",
    [
        kucoin_too_many_requests(reset_ms=30),
        kucoin_internal_error(),
        HtmlPage(status=502),
        HtmlPage(),
        TruncatedJson(),
        NullData(),
    ],
    ids=["429", "500", "502", "html", "truncated", "null"],
)
@pytest.mark.parametrize("path", ["hf/fills", "orders/active", "v1/accounts", "user/api-key", "allTickers"])
def test_exchange_that_fails_for_a_while_changes_nothing(
    paper: PaperExchange, grid: Grid, fault: Fault, path: str
) -> None:
    expected = read(paper, grid)
    paper.faults.add(fault, path_contains=path, times=2)

    reading = read(paper, grid)

    assert reading == expected
    assert paper.faults.names() == []


def test_exchange_that_fails_for_long_is_named_and_what_was_read_is_kept(
    paper: PaperExchange, grid: Grid, model: GridSimulation
) -> None:
    store, circuits = MemoryFills(), MemoryCircuits()
    third_week_ms = grid.started_at_ms + 14 * DAY_MS
    paper.faults.add(kucoin_internal_error(), path_contains=f"startAt={third_week_ms}")
    account = reader(paper, store, circuits=circuits)
    with pytest.raises(ExchangeUnavailable, match=r"fills of ETH/USDT"):
        account.read(MARKET, start_ms=grid.started_at_ms)
    assert store.span("kucoin-165111215", MARKET) == (grid.started_at_ms, third_week_ms)
    assert circuits.load("account:kucoin").failures == 1
    paper.faults.clear()

    reading = account.read(MARKET, start_ms=grid.started_at_ms)

    assert circuits.load("account:kucoin").failures == 0
    assert_same_fills(reading, model)


@pytest.mark.parametrize("fault", [NullData(), HtmlPage()])
@pytest.mark.parametrize("path", ["hf/fills", "orders/active", "v1/accounts"])
def test_answer_without_a_list_is_never_an_empty_account(
    paper: PaperExchange, grid: Grid, fault: Fault, path: str
) -> None:
    paper.faults.add(fault, path_contains=path)

    with pytest.raises(MalformedAnswer):
        read(paper, grid)


@pytest.mark.parametrize("permissions", [("General", "Spot"), ("General", "Transfer"), ("General", "Withdrawal")])
def test_key_that_can_do_more_than_read_is_refused(grid: Grid, permissions: tuple[str, ...]) -> None:
    key = paper_key("strong", *permissions)
    with paper_with(trading_account(grid, keys=[key]), seed=SEED) as paper:
        with pytest.raises(ConfigError, match=rf"{permissions[1]}.*account\.allow_trading_key"):
            read(paper, grid, key=key)
        assert paper.calls.count(FILLS) == 0
        allowed = read(paper, grid, key=key, policy=account_policy(allow_trading_key=True))

    assert len(allowed.fills) > 0


@pytest.mark.parametrize("part", ["secret", "passphrase", "key"])
def test_key_that_the_exchange_does_not_take_is_named_and_never_shown(
    paper: PaperExchange, grid: Grid, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    values = {"key": READING.key, "secret": READING.secret, "passphrase": READING.passphrase} | {part: "not-it"}
    wrong = PaperKey(**values)

    with pytest.raises(KeyRefused, match=r"400003|400004|400005") as refused:
        read(paper, grid, key=wrong)

    assert paper.calls.count("user/api-key") == 1, "a refused key is not tried again"
    told = f"{refused.value} {refused.value.__cause__!r} {caplog.text}"
    assert not [value for value in values.values() if value in told]


def test_secrets_are_in_no_log_and_no_text(paper: PaperExchange, grid: Grid, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    read(paper, grid)

    told = f"{caplog.text} {credentials(READING)!r} {credentials(READING)}"
    assert not [value for value in (READING.key, READING.secret, READING.passphrase) if value in told]
    assert not [call for call in paper.calls if READING.secret in call.target or READING.key in call.target]


def test_clock_that_is_off_a_little_signs_with_the_exchanges_time(paper: PaperExchange, grid: Grid) -> None:
    paper.faults.add(ClockOffset(offset_ms=10_000), path_contains="/api")

    reading = read(paper, grid)

    assert reading.read_at_ms == NOW_MS + 10_000
    paper.faults.clear()
    paper.faults.add(ClockOffset(offset_ms=60_000), path_contains="/api")
    with pytest.raises(ClockSkewed, match=r"max_clock_offset"):
        read(paper, grid)


def test_time_refused_by_the_exchange_is_a_matter_of_the_clock(paper: PaperExchange, grid: Grid) -> None:
    paper.faults.add(ClockOffset(offset_ms=20_000), path_contains="user/api-key")

    with pytest.raises(ClockSkewed, match="400002"):
        read(paper, grid)


def test_symbol_that_is_not_listed_is_named(paper: PaperExchange) -> None:
    with pytest.raises(MarketNotFound, match="XRP/USDT"):
        reader(paper, MemoryFills()).read(Market("kucoin", "XRP/USDT"), start_ms=NOW_MS - DAY_MS)


def test_other_exchange_is_refused_with_the_mend(paper: PaperExchange) -> None:
    with pytest.raises(ConfigError, match="import-fills"):
        ExchangeAccount(
            "binance",
            credentials(READING),
            policy=account_policy(),
            exchange_policy=exchange_policy(),
            clock=paper.clock,
            circuits=MemoryCircuits(),
            fills=MemoryFills(),
        )


def test_strangers_orders_are_foreign_to_the_grid(grid: Grid, model: GridSimulation) -> None:
    account = trading_account(grid, balances={"USDT": "5000", "ETH": "2"})
    with paper_with(account, seed=SEED) as paper:
        client = signing_client(paper)
        paper.clock.advance(timedelta(minutes=1))
        client.create_order("ETH/USDT", "market", "buy", 0.31)
        client.create_order("ETH/USDT", "limit", "sell", 0.1, round(grid.upper * 1.5, 2))
        reading = read(paper, grid)
        client.session.close()
    told = position(grid, reading)

    assert told.foreign_fills == 1
    assert told.open_orders == grid.interval_count
    assert len(reading.orders) == grid.interval_count + 1
    assert told.inventory_base == pytest.approx(model.summary.inventory, abs=LOT * grid.interval_count)


def test_operator_who_sells_all_at_market_is_seen_as_flat(grid: Grid) -> None:
    with paper_with(trading_account(grid), seed=SEED) as paper:
        client = signing_client(paper)
        client.cancel_all_orders("ETH/USDT")
        held = client.fetch_balance()["ETH"]["free"]
        client.create_order("ETH/USDT", "market", "sell", held)
        paper.clock.advance(timedelta(seconds=1))
        reading = read(paper, grid)
        client.session.close()
    told = position(grid, reading)

    assert held > 0
    assert (told.inventory_base, told.open_orders, told.foreign_fills) == (0.0, 0, 0)
    assert from_ms(reading.fills[-1].time_ms) == NOW
