"""Settings that look where an account does not trade are found, and an account that trades both ways is read whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from math import isnan

import pytest

from mm_pipeline.adapters.account import AccountReading, MemoryFills, StateProblem
from mm_pipeline.adapters.account.kucoin_client import KucoinAccountClient
from mm_pipeline.domain.account import OrderApi, OrderApis
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import Fault
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline_tests.account_samples import (
    MARKET,
    NOW_MS,
    account_policy,
    paper_with,
    reader,
    signing_client,
    trading_account,
)

SEED = 3
ACCOUNT = "kucoin-165111215"
SYMBOL = MARKET.symbol
HF, CLASSIC, BOTH = OrderApis.HF, OrderApis.CLASSIC, OrderApis.BOTH


@pytest.fixture
def paper(request: pytest.FixtureRequest) -> Iterator[PaperExchange]:
    changes = getattr(request, "param", {})
    account = replace(trading_account(balances={"USDT": "10000", "ETH": "3"}), **changes)
    with paper_with(account, seed=SEED) as running:
        yield running


def problems(paper: PaperExchange, setting: OrderApis) -> list[StateProblem]:
    state = reader(paper, MemoryFills(), policy=account_policy(order_api=setting.value)).look([SYMBOL, "NO/SUCH"])
    return state.problems(setting)


def trade(paper: PaperExchange, *, is_hf: bool, is_resting: bool) -> None:
    client = signing_client(paper, is_hf=is_hf)
    if is_resting:
        client.create_order(SYMBOL, "limit", "sell", 0.5, 9000)
    else:
        client.create_order(SYMBOL, "market", "buy", 0.1)
    client.session.close()


@pytest.mark.parametrize("is_resting", [True, False])
@pytest.mark.parametrize(("used", "setting"), [(CLASSIC, HF), (HF, CLASSIC)])
def test_setting_that_names_the_other_order_api_is_found(
    paper: PaperExchange, used: OrderApis, setting: OrderApis, *, is_resting: bool
) -> None:
    trade(paper, is_hf=used is HF, is_resting=is_resting)
    (problem,) = problems(paper, setting)
    counts = "1 orders rest and 0 fills" if is_resting else "0 orders rest and 1 fills"
    assert f"order_api is {setting.value}, and {counts}" in problem.seen
    assert problem.hint == f"Write account.order_api: {used.value}."
    assert problem.is_certain
    assert problems(paper, used) == problems(paper, BOTH) == []


def test_account_that_trades_through_both_is_told_to_be_read_through_both(paper: PaperExchange) -> None:
    trade(paper, is_hf=True, is_resting=True)
    trade(paper, is_hf=False, is_resting=False)
    for setting in (HF, CLASSIC):
        (problem,) = problems(paper, setting)
        assert problem.hint == "Write account.order_api: both."
    assert problems(paper, BOTH) == []


def test_fills_and_orders_of_both_apis_are_read_and_nothing_of_another_setting_counts_as_read(
    paper: PaperExchange,
) -> None:
    for is_hf in (True, False):
        for is_resting in (True, False):
            trade(paper, is_hf=is_hf, is_resting=is_resting)
    store = MemoryFills()
    seen = {
        setting: reader(paper, store, policy=account_policy(order_api=setting.value)).read(
            MARKET, start_ms=NOW_MS - 3_600_000
        )
        for setting in (HF, CLASSIC, BOTH)
    }
    assert {setting: (len(one.fills), len(one.orders)) for setting, one in seen.items()} == {
        HF: (1, 1),
        CLASSIC: (1, 1),
        BOTH: (2, 2),
    }
    assert {fill.trade_id for fill in seen[BOTH].fills} == {one.fills[0].trade_id for one in (seen[HF], seen[CLASSIC])}
    assert seen[BOTH].flows_until_ms is not None


def test_balance_that_is_locked_behind_no_listed_order_is_named(paper: PaperExchange) -> None:
    trade(paper, is_hf=True, is_resting=True)
    paper.desks[0].balances.hold("ETH", Decimal("0.18"))
    (problem,) = problems(paper, HF)
    assert "0.18 ETH are locked behind no order that is listed" in problem.seen
    assert not problem.is_certain


@pytest.mark.parametrize("paper", [{"is_unified": True}], indirect=True)
def test_account_in_unified_mode_is_named(paper: PaperExchange) -> None:
    (problem,) = problems(paper, HF)
    assert "unified mode" in problem.seen


@pytest.mark.parametrize("paper", [{"order_api": OrderApi.CLASSIC}], indirect=True)
def test_hf_setting_of_an_account_without_one_is_named(paper: PaperExchange) -> None:
    (problem,) = problems(paper, HF)
    assert problem == StateProblem(
        "order_api is hf, and the account has no hf account opened", "Write account.order_api: classic.", True
    )
    assert problems(paper, CLASSIC) == []


def test_fills_are_told_from_where_the_exchange_still_keeps_them(
    paper: PaperExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ledger: what is older than its reach counts as read neither at first, nor after a long absence."""
    day_ms = 86_400_000
    monkeypatch.setattr(KucoinAccountClient, "fills_reach", timedelta(days=3))
    store = MemoryFills()
    first = reader(paper, store).read(MARKET, start_ms=NOW_MS - 9 * day_ms)
    assert first.fills_from_ms == NOW_MS + 1 - 3 * day_ms
    trade(paper, is_hf=True, is_resting=False)
    paper.clock.advance(timedelta(days=2))
    second = reader(paper, store).read(MARKET, start_ms=NOW_MS - 9 * day_ms)
    assert second.fills_from_ms == first.fills_from_ms, "what was read in time is known"
    paper.clock.advance(timedelta(days=4))
    third = reader(paper, store).read(MARKET, start_ms=NOW_MS - 9 * day_ms)
    assert third.fills_from_ms == NOW_MS + 1 + 3 * day_ms
    assert third.fills == second.fills, "what is kept stays kept"
    short = reader(paper, MemoryFills()).read(MARKET, start_ms=NOW_MS + 5 * day_ms)
    assert short.fills_from_ms == NOW_MS + 5 * day_ms


@dataclass(frozen=True, kw_only=True)
class ChangedFill(Fault):
    """The newest fill on a page with other fields; None takes a field away."""

    changes: dict[str, str | None]

    def spoil(self, answer: Answer) -> Answer:
        items = answer.payload["data"]["items"]
        if not items:
            return answer
        kept = {name: value for name, value in {**items[0], **self.changes}.items() if value is not None}
        data = {**answer.payload["data"], "items": [kept, *items[1:]]}
        return replace(answer, payload={**answer.payload, "data": data})


def read_with(paper: PaperExchange, store: MemoryFills, **changes: str | None) -> AccountReading:
    paper.faults.clear()
    if changes:
        paper.faults.add(ChangedFill(changes=changes), path_contains="hf/fills")
    return reader(paper, store).read(MARKET, start_ms=NOW_MS - 3_600_000)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"price": "-1"}, "price is -1"),
        ({"side": None}, "side is missing"),
        ({"fee": "99999"}, "the fee of fill"),
        ({"createdAt": "4070908800000"}, "the time of fill"),
    ],
)
def test_fill_that_cannot_be_read_is_named_and_the_others_are_read(
    paper: PaperExchange, changes: dict[str, str | None], problem: str
) -> None:
    for _ in range(2):
        trade(paper, is_hf=True, is_resting=False)
    store = MemoryFills()
    for _ in range(2):
        reading = read_with(paper, store, **changes)
        (unreadable,) = reading.unreadable
        assert "cannot be read: " in unreadable
        assert problem in unreadable
        assert len(reading.fills) == 1
        paper.clock.advance(timedelta(hours=1))  # far beyond the overlap: it is asked for again all the same
    whole = read_with(paper, store)
    assert (len(whole.fills), whole.unreadable) == (2, ())


def test_fill_without_a_fee_is_held_and_waits_for_its_fee(paper: PaperExchange) -> None:
    trade(paper, is_hf=True, is_resting=False)
    store = MemoryFills()
    for _ in range(2):
        (fill,) = read_with(paper, store, fee=None).fills
        assert (fill.quantity_base, isnan(fill.fee)) == (0.1, True)
        assert store.fills(ACCOUNT, MARKET) == []
        paper.clock.advance(timedelta(hours=1))
    (fill,) = read_with(paper, store).fills
    assert fill.fee > 0
    assert store.fills(ACCOUNT, MARKET) == [fill]


@pytest.mark.parametrize("changes", [{"price": "0"}, {"size": "0"}])
def test_cancelled_order_among_fills_is_no_fill_and_stops_nothing(
    paper: PaperExchange, changes: dict[str, str | None]
) -> None:
    for _ in range(2):
        trade(paper, is_hf=True, is_resting=False)
    reading = read_with(paper, MemoryFills(), **changes)
    assert (len(reading.fills), reading.unreadable) == (1, ())


@dataclass(frozen=True, kw_only=True)
class TimePasses(Fault):
    """The exchange's clock goes on once it has made an answer, as it does while a slow one is under way."""

    paper: PaperExchange
    by: timedelta

    def spoil(self, answer: Answer) -> Answer:
        self.paper.clock.advance(self.by)
        return answer


@pytest.mark.parametrize("path", ["orders/active", "v1/accounts"])
def test_order_that_fills_while_the_account_is_read_is_told_with_the_balance_after_it(
    paper: PaperExchange, path: str
) -> None:
    client = signing_client(paper)
    limit = round(paper.state()["markets"][0]["last_price"] * 0.998, 2)
    client.create_order(SYMBOL, "limit", "buy", 0.5, limit)
    client.session.close()
    paper.faults.add(TimePasses(paper=paper, by=timedelta(days=2)), path_contains=path, times=1)
    reading = reader(paper, MemoryFills()).read(MARKET, start_ms=NOW_MS - 3_600_000)
    (desk,) = paper.desks
    assert [(fill.price, fill.quantity_base) for fill in reading.fills] == [(limit, 0.5)], "it is in no gap"
    assert [order.price for order in reading.orders] == [limit]
    (held,) = [balance.total for balance in reading.balances if balance.currency == "ETH"]
    assert held == float(desk.balances.available("ETH") + desk.balances.held("ETH")) == 3.5
