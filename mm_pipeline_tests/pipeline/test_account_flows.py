"""What came into an account and left it is read from the paper exchange's ledger day by day, kept, and never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mm_pipeline.adapters.account import AccountReading, ExchangeAccount, FrameFills, MemoryFills
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.domain.account import FillStore, OrderApi
from mm_pipeline.domain.candles import HEALTHY
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.faults import (
    Delayed,
    Fault,
    HtmlPage,
    NullData,
    TruncatedJson,
    kucoin_internal_error,
    kucoin_too_many_requests,
)
from mm_pipeline.paper.http.wire import Answer
from mm_pipeline_tests.account_samples import (
    MARKET,
    NOW,
    NOW_MS,
    READING,
    account_policy,
    paper_with,
    reader,
    traded_grid,
    trading_account,
)

SEED = 3
LEDGERS = "accounts/ledgers"
ACCOUNT = "kucoin-165111215"
DAY_MS = 86_400_000
OVERLAP_MS = 900_000
GRID = traded_grid(SEED)
START_MS = GRID.started_at_ms
REACH_MS = 3 * DAY_MS - 600_000
"""How far back the ledger of an hf account is asked for."""
CLASSIC, HF = OrderApi.CLASSIC, OrderApi.HF


@dataclass(frozen=True, kw_only=True)
class ChangedEntry(Fault):
    """The first entry on a page of the ledger with other fields; None takes a field away."""

    fields: dict[str, Any] = field(default_factory=dict)

    def spoil(self, answer: Answer) -> Answer:
        payload = dict(answer.payload)
        is_list = isinstance(payload["data"], list)
        items = payload["data"] if is_list else payload["data"]["items"]
        changed = {name: value for name, value in {**items[0], **self.fields}.items() if value is not None}
        items = [changed, *items[1:]]
        return replace(answer, payload={**payload, "data": items if is_list else {**payload["data"], "items": items}})


def paper_of(api: OrderApi, **options: Any) -> PaperExchange:
    """An account whose grid trades for thirty days, and who has more than it needs."""
    return paper_with(trading_account(GRID, api=api, balances={"USDT": "1500"}), seed=SEED, **options)


def flows_reader(
    paper: PaperExchange, store: FillStore, api: OrderApi, *, page_rows: int = 10, **limits: Any
) -> ExchangeAccount:
    return reader(paper, store, policy=account_policy(order_api=api.value, page_rows=page_rows), **limits)


def read(account: ExchangeAccount, *, start_ms: int = START_MS) -> AccountReading:
    return account.read(MARKET, start_ms=start_ms)


def moved(paper: PaperExchange, *days_and_amounts: tuple[float, str, str]) -> None:
    """Amounts moved into and out of the account so many days before now."""
    for days, currency, amount in days_and_amounts:
        at_ms = NOW_MS - int(days * DAY_MS)
        paper.desks[0].move(currency, Decimal(amount), at_ms=at_ms, is_external=currency == "KCS")


def told(reading: AccountReading) -> list[tuple[float, str, float]]:
    return [((NOW_MS - flow.time_ms) / DAY_MS, flow.currency, flow.amount) for flow in reading.flows]


def asked_from(paper: PaperExchange) -> list[int]:
    """Beginnings of the windows that were asked for, in order, each page of them."""
    return [int(call.target.split("startAt=")[1].split("&")[0]) for call in paper.calls.matching(LEDGERS)]


def test_flows_of_a_month_are_read_over_windows_and_pages() -> None:
    with paper_of(CLASSIC) as paper:
        flows = [(29.5, "USDT", 100.0), (17.25, "KCS", 3.0), (17.0, "USDT", -40.5), (8.0, "KCS", -1.25)]
        moved(paper, *((days, currency, str(amount)) for days, currency, amount in flows))
        moved(paper, *((1 - minute / 1440, "USDT", "1") for minute in range(30)))
        reading = read(flows_reader(paper, MemoryFills(), CLASSIC))

    assert told(reading)[:4] == flows
    assert [amount for _, _, amount in told(reading)[4:]] == [1.0] * 30
    assert (reading.flows_from_ms, reading.flows_until_ms) == (START_MS, NOW_MS + 1)
    assert len(asked_from(paper)) > len(set(asked_from(paper))) == 31, "days, some of them on several pages"
    assert len(paper.desks[0].ledger) > 100, "the trades are in the ledger too"


@pytest.mark.parametrize("api", list(OrderApi))
def test_ledger_full_of_trades_is_an_account_without_flows(api: OrderApi) -> None:
    with paper_of(api) as paper:
        reading = read(flows_reader(paper, MemoryFills(), api))

    assert len(paper.desks[0].ledger) > 50
    assert reading.flows == ()
    assert reading.flows_until_ms == NOW_MS + 1


def test_hf_ledger_is_read_as_far_back_as_it_reaches() -> None:
    with paper_of(HF) as paper:
        moved(paper, (20.0, "USDT", "100"), (2.5, "USDT", "200"), (1.5, "USDT", "-150.25"), (0.0, "KCS", "1"))
        reading = read(flows_reader(paper, MemoryFills(), HF))

    assert told(reading) == [(2.5, "USDT", 200.0), (1.5, "USDT", -150.25), (0.0, "KCS", 1.0)]
    assert reading.flows_from_ms == NOW_MS + 1 - REACH_MS
    assert sorted(set(asked_from(paper))) == [NOW_MS + 1 - REACH_MS + day * DAY_MS for day in range(3)]


@pytest.mark.parametrize("api", list(OrderApi))
def test_reading_again_asks_for_the_overlap_alone(api: OrderApi) -> None:
    store = MemoryFills()
    with paper_of(api) as paper:
        moved(paper, (2.0, "USDT", "10"), (0.001, "USDT", "-5"))
        account = flows_reader(paper, store, api, page_rows=100)
        first = read(account)
        paper.calls.clear()
        second = read(account)
        assert asked_from(paper) == [NOW_MS + 1 - OVERLAP_MS]
        paper.clock.advance(timedelta(minutes=15))
        moved(paper, (-0.01, "USDT", "7"))
        third = read(account)

    assert second.flows == first.flows
    assert told(first) == [(2.0, "USDT", 10.0), (0.001, "USDT", -5.0)]
    assert told(third) == [*told(first), (-0.01, "USDT", 7.0)]
    assert third.flows_until_ms == third.read_at_ms + 1


def test_earlier_start_reads_what_lies_before_and_nothing_twice() -> None:
    store = MemoryFills()
    with paper_of(CLASSIC) as paper:
        moved(paper, (25.0, "USDT", "10"), (5.0, "USDT", "20"))
        account = flows_reader(paper, store, CLASSIC, page_rows=100)
        late = read(account, start_ms=NOW_MS - 10 * DAY_MS)
        paper.calls.clear()
        early = read(account)

    assert (told(late), late.flows_from_ms) == ([(5.0, "USDT", 20.0)], NOW_MS - 10 * DAY_MS)
    assert (told(early), early.flows_from_ms) == ([(25.0, "USDT", 10.0), (5.0, "USDT", 20.0)], START_MS)
    assert len(asked_from(paper)) == 21, "twenty days, and the overlap"


def test_reader_away_for_longer_than_the_ledger_reaches_tells_of_the_hole() -> None:
    store = MemoryFills()
    with paper_of(HF, at=NOW - timedelta(days=6)) as paper:
        paper.desks[0].move("USDT", Decimal(10))
        account = flows_reader(paper, store, HF)
        before = read(account)
        paper.clock.stand_at(NOW)
        moved(paper, (4.0, "USDT", "20"), (1.0, "USDT", "30"))
        after = read(account)

    assert before.flows_until_ms == NOW_MS - 6 * DAY_MS + 1
    assert told(after) == [(6.0, "USDT", 10.0), (1.0, "USDT", 30.0)], "what was kept is still told"
    assert (after.flows_from_ms, after.flows_until_ms) == (NOW_MS + 1 - REACH_MS, NOW_MS + 1)


CHILD = """
import sys
from mm_pipeline.adapters.account import Credentials, ExchangeAccount, FrameFills
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.domain.instants import from_ms
from mm_pipeline_tests.account_samples import MARKET, account_policy
from mm_pipeline_tests.candle_samples import exchange_policy

url, folder, now_ms, start_ms = sys.argv[1:]
account = ExchangeAccount(
    "kucoin",
    Credentials.from_environment(account_policy()),
    policy=account_policy(order_api="classic"),
    exchange_policy=exchange_policy(deadline="120s", request_timeout="60s"),
    clock=FixedClock(from_ms(int(now_ms))),
    circuits=MemoryCircuits(),
    fills=FrameFills(folder),
    base_url=url,
)
account.read(MARKET, start_ms=int(start_ms))
"""


def start_child(paper: PaperExchange, folder: Path) -> subprocess.Popen[bytes]:
    policy = account_policy()
    environment = {
        **os.environ,
        policy.api_key_env: READING.key,
        policy.api_secret_env: READING.secret,
        policy.api_passphrase_env: READING.passphrase,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    arguments = (paper.base_url("kucoin"), str(folder), str(NOW_MS), str(START_MS))
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)


def test_reader_killed_midway_goes_on_where_it_was(tmp_path: Path) -> None:
    store = FrameFills(str(tmp_path))
    ninth_day_ms = START_MS + 8 * DAY_MS
    with paper_of(CLASSIC) as paper:
        moved(paper, (28.0, "USDT", "10"), (21.5, "USDT", "-3"), (2.0, "USDT", "20"))
        paper.faults.add(Delayed(delay_s=60.0), path_contains=f"{LEDGERS}?startAt={ninth_day_ms}")
        child = start_child(paper, tmp_path)
        try:
            end_s = time.monotonic() + 30.0
            while (store.flow_span(f"{ACCOUNT}-classic") or (0, 0))[1] < ninth_day_ms:
                assert time.monotonic() < end_s, "it did not happen in time"
                time.sleep(0.02)
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait(10) == -signal.SIGKILL
        finally:
            child.kill()
        kept = store.flows(f"{ACCOUNT}-classic")
        paper.faults.clear()
        paper.calls.clear()
        reading = read(flows_reader(paper, store, CLASSIC))
        assert min(asked_from(paper)) == ninth_day_ms - OVERLAP_MS, "eight days were not asked for again"

    assert [flow.amount for flow in kept] == [10.0]
    assert told(reading) == [(28.0, "USDT", 10.0), (21.5, "USDT", -3.0), (2.0, "USDT", 20.0)]
    assert tuple(FrameFills(str(tmp_path)).flows(f"{ACCOUNT}-classic")) == reading.flows, "also for another process"


FAULTS = {
    "429": kucoin_too_many_requests(reset_ms=30),
    "500": kucoin_internal_error(),
    "502": HtmlPage(status=502),
    "html": HtmlPage(),
    "truncated": TruncatedJson(),
    "null": NullData(),
}


@pytest.mark.parametrize("api", list(OrderApi))
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_ledger_that_fails_for_a_while_changes_nothing(api: OrderApi, fault: Fault) -> None:
    day_ms = NOW_MS + 1 - REACH_MS + DAY_MS if api is HF else START_MS + 15 * DAY_MS
    with paper_of(api) as paper:
        moved(paper, (15.0, "USDT", "8"), (2.5, "USDT", "10"), (1.5, "USDT", "-3"))
        expected = read(flows_reader(paper, MemoryFills(), api))
        rule = paper.faults.add(fault, path_contains=f"{LEDGERS}?startAt={day_ms}", times=2)
        reading = read(flows_reader(paper, MemoryFills(), api))

    assert (reading, rule.hits) == (expected, 2)
    assert len(reading.flows) == (2 if api is HF else 3)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_ledger_that_fails_for_long_leaves_the_rest_of_the_reading_whole(fault: Fault) -> None:
    store, circuits = MemoryFills(), MemoryCircuits()
    eleventh_day_ms = START_MS + 10 * DAY_MS
    with paper_of(CLASSIC) as paper:
        moved(paper, (25.0, "USDT", "10"), (15.0, "USDT", "20"))
        rule = paper.faults.add(fault, path_contains=f"{LEDGERS}?startAt={eleventh_day_ms}")
        account = flows_reader(paper, store, CLASSIC, circuits=circuits)
        reading = read(account)
        paper.faults.remove(rule)
        cured = read(account)

    assert rule.hits == 3
    assert told(reading) == [(25.0, "USDT", 10.0)]
    assert (reading.flows_from_ms, reading.flows_until_ms) == (START_MS, eleventh_day_ms)
    assert circuits.load("account:kucoin") == HEALTHY, "candles are asked for all the same"
    assert told(cured) == [(25.0, "USDT", 10.0), (15.0, "USDT", 20.0)]
    assert (cured.flows_until_ms, cured.fills, cured.balances) == (NOW_MS + 1, reading.fills, reading.balances)


@pytest.mark.parametrize("api", list(OrderApi))
@pytest.mark.parametrize(
    "fields",
    [
        {"createdAt": None},
        {"createdAt": str(NOW_MS + DAY_MS)},
        {"createdAt": str(NOW_MS - 40 * DAY_MS)},
        {"amount": None},
        {"amount": "plenty"},
        {"direction": None},
        {"direction": "sideways"},
        {"bizType": None},
        {"accountType": None},
    ],
    ids=lambda fields: " ".join(f"{name}={value}" for name, value in fields.items()),
)
def test_page_with_an_entry_that_cannot_be_read_is_not_taken_for_read(api: OrderApi, fields: dict[str, Any]) -> None:
    store = MemoryFills()
    with paper_of(api) as paper:
        moved(paper, (0.5, "USDT", "5"), (0.0, "USDT", "10"))
        paper.faults.add(ChangedEntry(fields=fields), path_contains=LEDGERS)
        reading = read(flows_reader(paper, store, api), start_ms=NOW_MS - DAY_MS // 3)
        assert (reading.flows, reading.flows_from_ms, reading.flows_until_ms) == ((), None, None)
        assert len(reading.balances) > 0
        paper.faults.clear()
        again = read(flows_reader(paper, store, api), start_ms=NOW_MS - DAY_MS // 3)

    assert told(again) == [(0.0, "USDT", 10.0)]


def test_entry_that_is_told_otherwise_later_keeps_what_was_told_first() -> None:
    store = MemoryFills()
    with paper_of(HF) as paper:
        moved(paper, (0.0, "USDT", "10"))
        account = flows_reader(paper, store, HF)
        first = read(account)
        paper.clock.advance(timedelta(minutes=1))
        paper.faults.add(ChangedEntry(fields={"amount": "11"}), path_contains=LEDGERS)
        second = read(account)

    assert second.flows == first.flows
    assert second.flows_until_ms == first.flows_until_ms == NOW_MS + 1


def test_long_ledger_is_read_on_at_the_next_reading_within_its_share_of_the_deadline() -> None:
    store, circuits = MemoryFills(), MemoryCircuits()
    with paper_of(CLASSIC) as paper:
        moved(paper, *((day, "USDT", "1") for day in range(29, 0, -1)))
        paper.faults.add(Delayed(delay_s=0.1), path_contains=LEDGERS)
        account = flows_reader(paper, store, CLASSIC, page_rows=100, circuits=circuits, deadline="6s")
        known: list[int] = []
        while not known or known[-1] <= NOW_MS:
            began_s = time.monotonic()
            reading = read(account)
            assert time.monotonic() - began_s < 6.0
            known.append(reading.flows_until_ms or 0)
            assert len(known) < 31

    assert known == sorted(set(known))
    assert len(known) > 2
    assert circuits.load("account:kucoin") == HEALTHY
    assert [amount for _, _, amount in told(reading)] == [1.0] * 29
    starts = asked_from(paper)
    assert len(starts) == len(set(starts)), "no window was asked for twice"


def test_ledger_that_never_answers_costs_no_more_than_its_share_of_the_deadline() -> None:
    store, circuits = MemoryFills(), MemoryCircuits()
    with paper_of(HF) as paper:
        moved(paper, (0.0, "USDT", "10"))
        paper.faults.add(Delayed(delay_s=30.0), path_contains=LEDGERS, times=1)
        account = flows_reader(paper, store, HF, circuits=circuits, deadline="4s")
        began_s = time.monotonic()
        reading = read(account)
        took_s = time.monotonic() - began_s
        again = read(account)

    assert took_s < 2.0
    assert (reading.flows, reading.flows_until_ms) == ((), None)
    assert len(reading.fills) > 20
    assert circuits.load("account:kucoin") == HEALTHY
    assert told(again) == [(0.0, "USDT", 10.0)]
