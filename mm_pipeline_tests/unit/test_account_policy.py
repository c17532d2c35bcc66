"""Every setting of ``account`` changes what is read, from where, or how it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from mm_pipeline.adapters.account import Credentials, MemoryFills
from mm_pipeline.domain.account import (
    Drift,
    FillRole,
    Increments,
    OpenOrder,
    PositionSource,
    Side,
    Telling,
    fills_of_grid,
    is_closed,
    position_of,
    reconcile,
    settled,
    steps_told,
)
from mm_pipeline.domain.errors import ConfigError, ConflictingFills
from mm_pipeline.domain.position.trading import GridLadder
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import Delayed
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.account_samples import (
    MARKET,
    NOW_MS,
    STARTED,
    TRADING,
    account_policy,
    fill,
    modelled,
    paper_with,
    reader,
    signing_client,
    traded_grid,
    trading_account,
)
from mm_pipeline_tests.grid_samples import hundreds_grid

SEED = 3
FILLS = "hf/fills"


@pytest.fixture(scope="module")
def server() -> Iterator[PaperExchange]:
    with paper_with(trading_account(traded_grid(SEED)), seed=SEED) as running:
        yield running


@pytest.fixture
def paper(server: PaperExchange) -> PaperExchange:
    server.calls.clear()
    return server


def requests_for_fills(paper: PaperExchange, **changes: Any) -> int:
    grid = traded_grid(SEED)
    reader(paper, MemoryFills(), policy=account_policy(**changes)).read(MARKET, start_ms=grid.started_at_ms)
    return paper.calls.count(FILLS)


@pytest.mark.parametrize(("coarsest_step_share", "is_it"), [(0.0001, False), (0.001, True)])
def test_coarsest_step_share_bounds_what_round_fills_tell(coarsest_step_share: float, *, is_it: bool) -> None:
    grid, policy = hundreds_grid(started_at=STARTED), account_policy(coarsest_step_share=coarsest_step_share)
    made = fill(1, "sell", 109.9)  # one place: a step of 0.1, which is 9 bps
    steps = steps_told([made], policy)
    assert bool(fills_of_grid(grid, [made], policy=policy, increments=steps).fills) is is_it


@pytest.mark.parametrize(("order_price_spread", "fits"), [(0.01, False), (0.05, True)])
def test_order_price_spread_says_how_far_apart_parts_of_an_order_trade(
    order_price_spread: float, *, fits: bool
) -> None:
    policy = account_policy(order_price_spread=order_price_spread)
    tellings = [
        Telling(fill=fill(1, "buy", price, quantity), source=number, place=f"row {number}", is_order=True)
        for number, (price, quantity) in enumerate([(100.0, 1.0), (101.5, 2.0)])
    ]  # the second unit traded at 103
    with nullcontext() if fits else pytest.raises(ConflictingFills, match="would have been traded at 103"):
        assert [one.fill.quantity_base for one in settled(tellings, policy)] == [2.0]


@pytest.mark.parametrize(("quantity_tolerance", "is_mine"), [(0.02, False), (0.06, True)])
def test_quantity_tolerance_says_what_an_interval_trades(quantity_tolerance: float, *, is_mine: bool) -> None:
    grid, policy = hundreds_grid(started_at=STARTED), account_policy(quantity_tolerance=quantity_tolerance)
    assert bool(fills_of_grid(grid, [fill(1, "sell", 110.0, 1.05)], policy=policy).fills) is is_mine


@pytest.mark.parametrize(("share", "is_it"), [(0.01, False), (0.1, True)])
def test_dust_share_says_what_is_nothing(share: float, is_it: bool) -> None:
    grid, policy = hundreds_grid(started_at=STARTED), account_policy(dust_share=share)
    fills = [fill(1, "buy", 100.0), fill(2, "sell", 110.0, 0.97)]
    position = position_of(grid, fills, (), (), 105.0, policy=policy)
    assert is_closed(grid, position, (), policy) is is_it


@pytest.mark.parametrize(("flow_time_share", "is_known"), [(0.05, False), (1.0, True)])
def test_flow_time_share_is_what_a_slow_ledger_is_waited_for(
    paper: PaperExchange, flow_time_share: float, *, is_known: bool
) -> None:
    paper.faults.add(Delayed(delay_s=1.0), path_contains="accounts/ledgers", times=1)
    policy = account_policy(flow_time_share=flow_time_share)
    account = reader(paper, MemoryFills(), policy=policy, deadline="10s", attempts=1)
    reading = account.read(MARKET, start_ms=NOW_MS - 3_600_000)
    assert (reading.flows_until_ms is not None) is is_known


@pytest.mark.parametrize(("window", "requests"), [("7d", 5), ("4d", 8)])
def test_window_parts_the_past(paper: PaperExchange, window: str, requests: int) -> None:
    assert requests_for_fills(paper, window=window) == requests


def test_page_rows_part_a_window(paper: PaperExchange) -> None:
    assert requests_for_fills(paper, page_rows=10) > 5


@pytest.mark.parametrize("overlap", ["15min", "2h"])
def test_overlap_is_asked_for_again(paper: PaperExchange, overlap: str) -> None:
    account = reader(paper, MemoryFills(), policy=account_policy(overlap=overlap))
    account.read(MARKET, start_ms=NOW_MS - 86_400_000)
    paper.calls.clear()
    account.read(MARKET, start_ms=NOW_MS - 86_400_000)
    length_ms = account_policy(overlap=overlap).overlap / timedelta(milliseconds=1)
    assert f"startAt={NOW_MS + 1 - int(length_ms)}" in paper.calls.matching(FILLS)[0].target


def test_order_api_chooses_the_endpoints(paper: PaperExchange) -> None:
    assert requests_for_fills(paper, order_api="classic") == 0
    assert paper.calls.count("/api/v1/fills") == 5


@pytest.mark.parametrize("allow_trading_key", [False, True])
def test_allow_trading_key_decides_over_a_key_that_trades(paper: PaperExchange, allow_trading_key: bool) -> None:
    account = reader(paper, MemoryFills(), key=TRADING, policy=account_policy(allow_trading_key=allow_trading_key))
    if allow_trading_key:
        assert account.check_key().permissions == {"General", "Spot"}
        return
    with pytest.raises(ConfigError, match="may do more than read: Spot"):
        account.check_key()


def test_api_key_env_names_where_the_key_is_looked_for() -> None:
    names = ("api_key_env", "api_secret_env", "api_passphrase_env")
    policy = account_policy(**dict(zip(names, "ABC", strict=True)))
    found = Credentials.from_environment(policy, {"A": "1", "B": "2", "C": "3"})
    assert found is not None
    assert (found.key, found.secret, found.passphrase) == ("1", "2", "3")
    assert Credentials.from_environment(policy, {"MM_KUCOIN_KEY": "1"}) is None
    with pytest.raises(ConfigError, match="B, C are not set"):
        Credentials.from_environment(policy, {"A": "1"})
    with pytest.raises(ValueError, match="api_key_env"):
        account_policy(api_key_env="a key that was pasted")


def test_sources_are_in_the_order_of_the_settings() -> None:
    assert account_policy().sources == (PositionSource.EXCHANGE, PositionSource.IMPORT, PositionSource.MODELLED)
    assert account_policy(sources=["modelled"]).sources == (PositionSource.MODELLED,)
    for bad in ([], ["import", "import"], ["broker"]):
        with pytest.raises(ValueError, match="sources"):
            account_policy(sources=bad)


@pytest.mark.parametrize(("start_window", "role"), [("30min", FillRole.START), ("1min", None)])
def test_start_window_bounds_purchases_off_the_ladder(start_window: str, role: FillRole | None) -> None:
    grid = traded_grid(SEED)
    between = float(grid.level_prices()[-3:-1].mean())
    bought = fill(100, "buy", between, 0.01)
    found = fills_of_grid(grid, [bought], policy=account_policy(start_window=start_window))
    assert found.roles == (() if role is None else (role,))


@pytest.mark.parametrize(("start_slippage", "role"), [(0.002, FillRole.START), (0.0, None)])
def test_start_slippage_bounds_what_a_start_at_a_level_may_have_paid(
    start_slippage: float, role: FillRole | None
) -> None:
    grid = traded_grid(SEED)
    ladder = GridLadder.of(grid)
    level, wanted = float(ladder.levels[-3]), float(ladder.quantity_base[-2:].sum())
    bought = fill(100, "buy", level * 1.0005, wanted)
    found = fills_of_grid(grid, [bought], policy=account_policy(start_slippage=start_slippage))
    assert (found.roles[0] if found.roles else None, found.held_base == pytest.approx(wanted)) == (
        role,
        role is not None,
    )


@pytest.mark.parametrize(("ladder_tolerance_bps", "is_mine"), [(0.5, False), (5.0, True)])
def test_ladder_tolerance_bps_widens_the_levels(ladder_tolerance_bps: float, is_mine: bool) -> None:
    grid = traded_grid(SEED)
    sold = fill(1, "sell", float(grid.level_prices()[3]) * 1.0003, 0.01)
    policy = account_policy(ladder_tolerance_bps=ladder_tolerance_bps)
    assert bool(fills_of_grid(grid, [sold], policy=policy).fills) is is_mine


def drifts(paper: PaperExchange, drop: int, **limits: Any) -> dict[str, Drift]:
    """An account whose last fills were not told, against the model."""
    grid = traded_grid(SEED)
    reading = reader(paper, MemoryFills()).read(MARKET, start_ms=grid.started_at_ms)
    policy = account_policy(**limits)
    told = reading.fills[: len(reading.fills) - drop]
    position = position_of(
        grid, told, reading.orders, reading.balances, reading.bid, policy=policy, increments=reading.increments
    )
    return {drift.name: drift for drift in reconcile(position, modelled(grid, SEED), policy)}


@pytest.mark.parametrize(
    ("name", "limit"),
    [("inventory", "max_inventory_drift"), ("fills", "max_fill_drift"), ("pnl", "max_pnl_drift")],
)
def test_drift_beyond_its_limit_is_told(paper: PaperExchange, name: str, limit: str) -> None:
    whole = drifts(paper, 0)
    assert all(drift.is_within for drift in whole.values())
    drift = drifts(paper, 1)[name]
    assert drift.drift > whole[name].drift
    assert drift.limit == getattr(load_settings().account, limit)
    value = int(drift.drift) if name == "fills" else drift.drift
    assert drifts(paper, 1, **{limit: value})[name].is_within
    smaller = value - 1 if name == "fills" else value * 0.999
    assert not drifts(paper, 1, **{limit: smaller})[name].is_within


def test_position_of_a_stranger_who_trades_elsewhere_drifts_in_nothing() -> None:
    account = trading_account(traded_grid(SEED), balances={"USDT": "2000"})
    with paper_with(account, seed=SEED) as paper:
        client = signing_client(paper)
        client.create_order("ETH/USDT", "limit", "buy", 0.01, 1000.0)
        client.session.close()
        assert all(drift.is_within for drift in drifts(paper, 0).values())


@pytest.mark.parametrize(
    ("fee", "changes", "is_it"),
    [
        (-0.15, {}, False),
        (-0.15, {"max_rebate_share": 0.002}, True),
        (6.0, {}, False),
        (6.0, {"max_fee_share": 0.1}, True),
    ],
)
def test_fee_bounds_say_what_a_fee_may_be(fee: float, changes: dict[str, float], *, is_it: bool) -> None:
    made = fill(1, "buy", 100.0, fee=fee)
    assert account_policy(**changes).fees.holds(made, fee) is is_it


@pytest.mark.parametrize(("ladder_strays", "says_nothing"), [(2, False), (3, True), (4, True)])
def test_stray_orders_of_an_interval_make_a_position_not_known_from_a_number_on(
    ladder_strays: int, *, says_nothing: bool
) -> None:
    grid, policy = hundreds_grid(started_at=STARTED), account_policy(ladder_strays=ladder_strays)
    own = tuple(
        OpenOrder(
            order_id=f"beside-{price}",
            symbol=grid.symbol,
            time_ms=grid.started_at_ms,
            side=Side.BUY,
            price=price,
            quantity_base=1.0,
            filled_base=0.0,
        )
        for price in (103.0, 104.0)
    )
    steps = Increments(price=0.01, base=1e-7)
    doubts = position_of(grid, [], own, None, 105.0, policy=policy, increments=steps).doubts
    assert (doubts == ()) is says_nothing
