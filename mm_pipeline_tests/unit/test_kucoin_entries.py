"""Which entries of a ledger, as ccxt reads them, came from outside of trading."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ccxt
import pytest

from mm_pipeline.adapters.account.kucoin_client import KucoinAccountClient
from mm_pipeline.adapters.account.kucoin_entries import fill_of, flow_of, is_execution
from mm_pipeline.domain.account import AccountFlow, FeeBounds, OrderApi

TRADE = '{"symbol":"KCS-USDT","orderId":"6705f6350dc7210007d6a36d","tradeId":"10046097631627265"}'


def parsed(**changes: Any) -> dict[str, Any]:
    """An entry in KuCoin's words after ccxt."""
    told = {
        "id": "254062248624417",
        "currency": "USDT",
        "amount": "26.5",
        "fee": "0",
        "balance": "30",
        "accountType": "TRADE_HF",
        "bizType": "TRANSFER",
        "direction": "in",
        "createdAt": "1728443957539",
        "context": "",
    }
    entry: dict[str, Any] = ccxt.kucoin().parse_ledger_entry(told | changes)
    return entry


def test_transfer_in_is_a_flow() -> None:
    expected = AccountFlow(ledger_id="254062248624417", time_ms=1_728_443_957_539, currency="USDT", amount=26.5)
    assert flow_of(parsed()) == expected


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "DEPOSIT",
            "WITHDRAW",
            "SUB_TRANSFER",
            "Deposit",
            "Withdrawal",
            "Transfer",
            "Sub-account transfer",
            "Rewards",
        ),
        # ccxt calls them trades, and no fill on the spot market stands behind them.
        *("Instant Exchange", "Buy Crypto", "AUTO_EXCHANGE_USER", "Public Offering Purchase", "CONVERT"),
    ],
)
def test_what_leaves_by_other_ways_than_trading_is_a_negative_flow(kind: str) -> None:
    flow = flow_of(parsed(bizType=kind, direction="out", accountType="TRADE", createdAt=1))
    assert flow is not None
    assert flow.amount == -26.5


@pytest.mark.parametrize(
    "changes",
    [
        {"bizType": "TRADE_EXCHANGE", "context": TRADE},
        {"bizType": "Trade_Exchange"},
        {"bizType": "SPOT_EXCHANGE"},
        {"bizType": "A new kind of trade", "context": TRADE},
        {"bizType": "DEDUCTION_FEES"},
        {"bizType": "KCS Pay Fees"},
        {"bizType": "Refunded Fees"},
        {"bizType": "Fee Rebate"},
        {"bizType": "SPOT_EXCHANGE_REBATE"},
        {"accountType": "MAIN"},
        {"accountType": "MARGIN"},
        {"amount": "0"},
    ],
)
def test_trades_fees_rebates_other_accounts_and_nothing_are_no_flows(changes: dict[str, str]) -> None:
    assert flow_of(parsed(**changes)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"bizType": None},
        {"accountType": None},
        {"id": None},
        {"currency": None},
        {"amount": None},
        {"amount": "NaN"},
        {"direction": None},
        {"direction": "sideways"},
        {"createdAt": None},
    ],
)
def test_entry_without_a_part_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"missing|went|NaN|invalid"):
        flow_of(parsed(**changes))


END_MS = 1_735_900_000_000
BOUNDS = FeeBounds(-0.001, 0.05)


def trade(**changes: Any) -> dict[str, Any]:
    """A fill as ccxt tells it."""
    told: dict[str, Any] = {
        "id": "7",
        "order": "o7",
        "symbol": "ETH/USDT",
        "timestamp": 1_735_862_400_000,
        "side": "buy",
        "price": 3000.0,
        "amount": 1.0,
        "fee": {"cost": 3.0, "currency": "USDT"},
    }
    return told | changes


def test_fill_with_a_rebate_is_taken() -> None:
    assert fill_of(trade(fee={"cost": -3.0, "currency": "USDT"}), end_ms=END_MS, fees=BOUNDS).fee == -3.0
    assert fill_of(trade(fee={"cost": -3.0, "currency": "KCS"}), end_ms=END_MS, fees=BOUNDS).fee_currency == "KCS"


def test_tax_is_paid_like_a_fee() -> None:
    made = fill_of(trade(info={"tax": "30.0", "taxRate": "0.01"}), end_ms=END_MS, fees=BOUNDS)
    assert made.fee == 33.0


@pytest.mark.parametrize(
    ("changes", "is_it"), [({}, True), ({"price": 0.0}, False), ({"price": 0.0, "amount": 0.0}, False)]
)
def test_cancelled_order_among_fills_is_no_execution(changes: dict[str, float], *, is_it: bool) -> None:
    assert is_execution(trade(**changes)) is is_it


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timestamp": 1_735_862_400_000_000_000}, "the time of fill 7"),  # nanoseconds
        ({"timestamp": 4_070_908_800_000}, "the time of fill 7"),  # 2099
        ({"timestamp": 1_735_862_400}, "the time of fill 7"),  # seconds
        ({"fee": {"cost": 99_999.0, "currency": "USDT"}}, "of what was traded"),
        ({"fee": {"cost": -3.1, "currency": "USDT"}}, "of what was traded"),
        ({"fee": {"cost": float("nan"), "currency": "USDT"}}, "of what was traded"),
        ({"id": "a\x00b"}, "id is"),
        ({"order": "\x1b[2J"}, "order is"),
    ],
)
def test_fill_out_of_this_world_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        fill_of(trade(**changes), end_ms=END_MS, fees=BOUNDS)
    assert str(refused.value).isprintable()


def test_market_order_on_its_way_rests_nowhere_and_breaks_no_reading() -> None:
    """The exchange tells it among open orders, without a price."""
    told = {
        "id": "67f1",
        "symbol": "SOL-USDT",
        "type": "market",
        "side": "sell",
        "price": "0",
        "size": "6.6627",
        "dealSize": "0",
        "isActive": True,
        "createdAt": 1_728_443_957_539,
    }
    limit = told | {"id": "67f2", "type": "limit", "price": "131.5"}
    orders = [ccxt.kucoin().parse_order(order) for order in (told, limit)]
    assert (orders[0]["price"], orders[0]["filled"]) == (None, 0.0)
    client = object.__new__(KucoinAccountClient)
    client._ccxt = SimpleNamespace(fetch_open_orders=lambda *_: orders)
    client._items = lambda: orders  # type: ignore[method-assign]
    (resting,) = client.open_orders("SOL/USDT", rows=50, api=OrderApi.HF)
    assert (resting.order_id, resting.price) == ("67f2", 131.5)
