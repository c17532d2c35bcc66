"""The paper exchange's ledgers tell every change of a balance, trades and flows, as KuCoin's two order APIs do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from mm_pipeline.domain.account import OrderApi
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.trading.account import BalanceInsufficient, FeeIn
from mm_pipeline_tests.account_samples import (
    NOW,
    NOW_MS,
    READING,
    TRADING,
    paper_with,
    signing_client,
    traded_grid,
    trading_account,
)

SEED = 3
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture(params=list(OrderApi))
def api(request: pytest.FixtureRequest) -> OrderApi:
    api: OrderApi = request.param
    return api


@pytest.fixture
def paper(api: OrderApi) -> Iterator[PaperExchange]:
    account = trading_account(traded_grid(SEED), api=api, balances={"USDT": "1500"})
    with paper_with(account, seed=SEED) as running:
        yield running


@pytest.fixture
def client(paper: PaperExchange, api: OrderApi) -> Iterator[Any]:
    made = signing_client(paper, TRADING, is_hf=api is OrderApi.HF)
    yield made
    made.session.close()


def ledger(client: Any, **query: Any) -> list[dict[str, Any]]:
    """One page of the client's own ledger."""
    if client.options["hf"]:
        found: list[dict[str, Any]] = client.privateGetHfAccountsLedgers({"limit": 200} | query)["data"]
    else:
        found = client.privateGetAccountsLedgers({"pageSize": 500} | query)["data"]["items"]
    return found


def of_trading_account(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["accountType"] != "MAIN"]


def test_transfers_deposits_and_withdrawals_are_told_with_what_is_left(
    paper: PaperExchange, client: Any, api: OrderApi
) -> None:
    desk = paper.desks[0]
    desk.move("KCS", Decimal("2.5"), at_ms=NOW_MS - 3 * HOUR_MS)
    desk.move("KCS", Decimal("-0.75"), at_ms=NOW_MS - 2 * HOUR_MS)
    desk.move("KCS", Decimal(1), at_ms=NOW_MS - HOUR_MS, is_external=True)
    desk.move("KCS", Decimal("-2.75"), is_external=True)

    told = of_trading_account(ledger(client, currency="KCS"))

    kind = "TRADE_HF" if api is OrderApi.HF else "TRADE"
    names = ("bizType", "direction", "amount", "balance", "accountType", "context")
    assert [tuple(entry[name] for name in names) for entry in told] == [
        ("WITHDRAW", "out", "2.75", "0", kind, ""),
        ("DEPOSIT", "in", "1", "2.75", kind, ""),
        ("TRANSFER", "out", "0.75", "1.75", kind, ""),
        ("TRANSFER", "in", "2.5", "2.5", kind, ""),
    ]
    times = [NOW_MS, NOW_MS - HOUR_MS, NOW_MS - 2 * HOUR_MS, NOW_MS - 3 * HOUR_MS]
    assert [entry["createdAt"] for entry in told] == ([str(at) for at in times] if api is OrderApi.HF else times)


def test_funding_accounts_side_of_a_transfer_is_in_the_classic_ledger_alone(paper: PaperExchange) -> None:
    paper.desks[0].move("KCS", Decimal(2))
    hf, classic = signing_client(paper, READING), signing_client(paper, READING, is_hf=False)
    sides = [(entry["accountType"], entry["direction"]) for entry in ledger(classic, currency="KCS")]
    assert ("MAIN", "out") in sides
    assert all(entry["accountType"] == "TRADE_HF" for entry in ledger(hf))
    hf.session.close()
    classic.session.close()


def test_trades_are_told_in_both_currencies_with_their_fee(paper: PaperExchange, client: Any) -> None:
    client.create_order("ETH/USDT", "market", "buy", 0.05)
    trade = paper.desks[0].trades[-1]

    paid, got = ledger(client, bizType="TRADE_EXCHANGE")[1::-1]

    assert (paid["currency"], paid["direction"], got["currency"], got["direction"]) == ("USDT", "out", "ETH", "in")
    assert (Decimal(paid["amount"]), Decimal(paid["fee"])) == (trade.funds + trade.fee, trade.fee)
    assert (got["amount"], got["fee"]) == ("0.05", "0")
    entry = client.fetch_ledger("USDT", None, 1 if client.options["hf"] else None)[-1]
    assert (entry["type"], entry["fee"]["cost"]) == ("trade", float(trade.fee))
    fill = client.fetch_my_trades("ETH/USDT")[-1]
    assert entry["referenceId"] == fill["id"]


@pytest.mark.parametrize("fee_in", list(FeeIn))
def test_ledger_adds_up_to_the_balances_whatever_fees_are_paid_in(api: OrderApi, fee_in: FeeIn) -> None:
    opened = {"USDT": "1500", "KCS": "0.5"}
    with paper_with(trading_account(traded_grid(SEED), api=api, fee_in=fee_in, balances=opened), seed=SEED) as paper:
        desk = paper.desks[0]
        desk.move("USDT", Decimal(25), at_ms=NOW_MS - 10 * DAY_MS)
        desk.advance()

    own = [entry for entry in desk.ledger if not entry.is_funding]
    assert len(own) > 2 * len(desk.trades) > 40
    for currency in desk.balances.currencies():
        changes = [entry for entry in own if entry.currency == currency]
        left = desk.balances.available(currency) + desk.balances.held(currency)
        assert Decimal(opened.get(currency, "0")) + sum(entry.amount for entry in changes) == left
        assert all(entry.balance >= 0 for entry in changes)
        assert not changes or changes[-1].balance == left


def test_more_than_is_available_cannot_be_taken_out(paper: PaperExchange, client: Any) -> None:
    desk = paper.desks[0]
    desk.advance()
    available, held = desk.balances.available("USDT"), desk.balances.held("USDT")
    assert held > 0

    with pytest.raises(BalanceInsufficient):
        desk.move("USDT", -available - Decimal("0.01"))
    assert desk.balances.available("USDT") == available
    desk.move("USDT", -available)

    assert (desk.balances.available("USDT"), desk.balances.held("USDT")) == (Decimal(0), held)
    assert len(ledger(client, bizType="TRANSFER", direction="out", currency="USDT")) == 1


def test_amounts_move_in_the_order_of_time_and_never_ahead_of_the_clock(paper: PaperExchange) -> None:
    desk = paper.desks[0]
    desk.move("USDT", Decimal(1), at_ms=NOW_MS - HOUR_MS)
    for at_ms in (NOW_MS - HOUR_MS - 1, NOW_MS + 1):
        with pytest.raises(ConfigError, match="cannot be moved"):
            desk.move("USDT", Decimal(1), at_ms=at_ms)
    with pytest.raises(ConfigError, match="0 USDT"):
        desk.move("USDT", Decimal(0))
    assert [entry.amount for entry in desk.ledger if entry.trade is None] == [-1, 1]


def test_ledger_is_paged_without_loss_or_repetition(paper: PaperExchange, client: Any) -> None:
    for minute in range(40, 0, -1):
        paper.desks[0].move("USDT", Decimal(minute), at_ms=NOW_MS - minute * 60_000)
    window = {"startAt": NOW_MS - HOUR_MS, "endAt": NOW_MS - 5 * 60_000, "currency": "USDT,KCS"}
    expected = [entry["id"] for entry in ledger(client, **window)]

    found: list[str] = []
    page: Any = None
    while True:
        paging = {"limit": 7} if client.options["hf"] else {"pageSize": 10, "currentPage": page or 1}
        more = {"lastId": page} if page and client.options["hf"] else {}
        items = ledger(client, **window, **paging, **more)
        if not items:
            break
        found += [item["id"] for item in items]
        page = items[-1]["id"] if client.options["hf"] else (page or 1) + 1

    assert found == expected
    assert len(set(found)) == len(found) >= 36


def test_windows_are_a_day_at_most_and_a_day_where_one_end_is_told(paper: PaperExchange, client: Any) -> None:
    for hours in (47, 30, 20):
        paper.desks[0].move("KCS", Decimal(hours), at_ms=NOW_MS - hours * HOUR_MS)

    def amounts(**window: int) -> list[str]:
        return [entry["amount"] for entry in of_trading_account(ledger(client, currency="KCS", **window))]

    with pytest.raises(ccxt.BadRequest, match="timeRangeInvalid"):
        amounts(startAt=NOW_MS - DAY_MS - 1, endAt=NOW_MS)
    assert amounts() == amounts(startAt=NOW_MS - DAY_MS) == amounts(endAt=NOW_MS) == ["20"]
    assert amounts(startAt=NOW_MS - 2 * DAY_MS) == ["30", "47"]


@pytest.mark.parametrize(("is_hf", "rows"), [(True, {"limit": 201}), (False, {"pageSize": 501})])
def test_pages_are_no_longer_than_the_exchange_gives(paper: PaperExchange, is_hf: bool, rows: dict[str, int]) -> None:
    client = signing_client(paper, READING, is_hf=is_hf)
    with pytest.raises(ccxt.BadRequest, match="should not greater than"):
        ledger(client, **rows)
    client.session.close()


def test_hf_ledger_asked_for_more_than_three_days_tells_of_those_three() -> None:
    with paper_with(trading_account(api=OrderApi.HF), seed=SEED) as paper:
        for days in (5, 2):
            paper.desks[0].move("KCS", Decimal(days), at_ms=NOW_MS - days * DAY_MS)
        client = signing_client(paper, READING)
        told = ledger(client, startAt=NOW_MS - 5 * DAY_MS, endAt=NOW_MS - 4 * DAY_MS)
        client.session.close()

    assert [entry["amount"] for entry in told] == ["2"]


def test_amount_moved_in_pays_for_what_the_account_could_not(api: OrderApi) -> None:
    with paper_with(trading_account(api=api, balances={"USDT": "1"}), seed=SEED, at=NOW) as paper:
        client = signing_client(paper, is_hf=api is OrderApi.HF)
        with pytest.raises(ccxt.InsufficientFunds):
            client.create_order("ETH/USDT", "market", "buy", 0.01)
        paper.desks[0].move("USDT", Decimal(500))
        client.create_order("ETH/USDT", "market", "buy", 0.01)
        paper.clock.advance(timedelta(seconds=1))
        assert [entry["amount"] for entry in ledger(client, bizType="TRANSFER", direction="in")] == ["500"]
        client.session.close()
