"""Rows 1-10, 12 and 24 of the reliability table as far as candles go: real HTTP through ccxt, every failure named."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mm_pipeline.adapters.candles.exchange_candles import ExchangeCandles
from mm_pipeline.adapters.candles.stored import CandleUpdate, StoredCandles, quarantined_times
from mm_pipeline.adapters.candles.update import update_candles, update_markets
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.domain.candles import FetchRange, data_quality, fill_gaps
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.bar_edits import drop_bar, repeat_bar, revise_bar, shuffle_bars
from mm_pipeline.paper.http.faults import (
    PAGE_1015,
    PAGE_BAD_GATEWAY,
    PAGE_GATEWAY_TIMEOUT,
    ClockOffset,
    ConnectionLost,
    DrippedBody,
    EditedBars,
    ErrorStatus,
    Fault,
    HtmlPage,
    NullData,
    RemovedSymbol,
    TruncatedJson,
    kucoin_internal_error,
    kucoin_too_many_requests,
)
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline_tests.candle_samples import STEP_MS, at_ms, data_policy, exchange_policy

pytestmark = pytest.mark.fault

BARS = 200
NOW = from_ms(at_ms(BARS)) + timedelta(minutes=1)
ETH, BTC, QUIET = Market("kucoin", "ETH/USDT"), Market("kucoin", "BTC/USDT"), Market("kucoin", "QUIET/USDT")
SOL = Market("binance", "SOL/USDT")
CANDLES, SYMBOLS, TIME = "market/candles", "v2/symbols", "v1/timestamp"
POLICY = data_policy(warm_up_days=2, min_median_quote_volume_24h=0.0)


def simulated(market: Market, seed: int, **more: Any) -> PaperMarket:
    return PaperMarket(
        market=market, source=SimulatedMarket(seed=seed, start=from_ms(at_ms(0)), bars=BARS + 20, **more)
    )


@pytest.fixture(scope="module")
def server() -> Iterator[PaperExchange]:
    markets = [simulated(ETH, 1), simulated(BTC, 2), simulated(SOL, 3), simulated(QUIET, 4, quiet_share=0.1)]
    with PaperExchange(markets=markets, clock=PaperClock.standing(NOW)) as running:
        yield running


@pytest.fixture
def paper(server: PaperExchange) -> Iterator[PaperExchange]:
    server.clock.stand_at(NOW)
    server.calls.clear()
    yield server
    server.faults.clear()


@dataclass
class MovedClock:
    """Real time as a test tells it."""

    at: datetime = NOW

    def now_ms(self) -> int:
        return to_ms(self.at)

    def now(self) -> datetime:
        return self.at


def source_of(paper: PaperExchange, *, exchange: str = "kucoin", clock: Any = None, **more: Any) -> ExchangeCandles:
    limits = {name: more.pop(name) for name in list(more) if name not in {"circuits", "wall"}}
    return ExchangeCandles(
        exchange,
        policy=exchange_policy(**limits),
        clock=paper.clock if clock is None else clock,
        base_url=paper.base_url(exchange),
        **({"circuits": MemoryCircuits()} | more),
    )


def tick(
    source: ExchangeCandles, stored: StoredCandles | None = None, *, market: Market = ETH, now: datetime = NOW
) -> CandleUpdate:
    return update_candles(
        source,
        StoredCandles(market=market) if stored is None else stored,
        start_ms=at_ms(0),
        end_ms=to_ms(now),
        now_ms=to_ms(now),
        policy=exchange_policy(),
    )


def judge(update: CandleUpdate, *, now: datetime = NOW) -> dict[str, Any]:
    """Data quality of the evaluation at ``now``."""
    quarantined_ms = quarantined_times(update.after.quarantine)
    return data_quality(
        fill_gaps(update.after.candles, quarantined_ms=quarantined_ms),
        quarantined_ms=quarantined_ms,
        evaluated_ms=np.array([to_ms(now)]),
        policy=POLICY,
        lookback_ms=86_400_000,
    ).row(0, named=True)


def slots(update: CandleUpdate) -> list[int]:
    return ((update.after.candles["open_time"].to_physical() - at_ms(0)) // STEP_MS).to_list()


def code_of(update: CandleUpdate) -> str:
    return "" if update.problem is None else update.problem.code


def test_sound_exchange_gives_good_candles(paper: PaperExchange) -> None:
    update = tick(source_of(paper))

    assert code_of(update) == ""
    assert slots(update) == list(range(BARS))
    assert judge(update)["is_good"]


def test_row_01_rate_limit_for_ten_minutes_is_few_calls_and_then_unknown(paper: PaperExchange) -> None:
    """Asked once a minute - fifteen times as often as the schedule does."""
    wall, circuits = MovedClock(), MemoryCircuits()
    before = tick(source_of(paper)).after
    paper.faults.add(kucoin_too_many_requests(reset_ms=29_000))
    paper.calls.clear()

    updates = []
    for _ in range(10):
        source = source_of(paper, circuits=circuits, wall=wall)  # each run is a new process
        updates.append(tick(source, before, now=NOW + timedelta(minutes=15)))
        wall.at += timedelta(minutes=1)

    assert {code_of(update) for update in updates} == {"rate_limited", "circuit_open"}
    assert len(paper.calls) <= 5
    assert not judge(updates[-1], now=NOW + timedelta(minutes=36))["is_good"]


def test_row_01_rate_limit_is_waited_out_as_the_exchange_says(paper: PaperExchange) -> None:
    paper.faults.add(kucoin_too_many_requests(reset_ms=400), path_contains=CANDLES, times=1)

    update = tick(source_of(paper))

    first, second = (call.at_s for call in paper.calls.matching(CANDLES))
    assert second - first >= 0.4
    assert code_of(update) == ""


def test_row_01_exchange_is_left_alone_until_its_reset_by_the_next_process_too(paper: PaperExchange) -> None:
    wall, circuits = MovedClock(), MemoryCircuits()
    paper.faults.add(kucoin_too_many_requests(reset_ms=29_000), times=1)
    assert code_of(tick(source_of(paper, circuits=circuits, wall=wall))) == "rate_limited"

    wall.at += timedelta(seconds=28)
    early = tick(source_of(paper, circuits=circuits, wall=wall))
    wall.at += timedelta(seconds=2)
    late = tick(source_of(paper, circuits=circuits, wall=wall))

    assert (code_of(early), early.requests_made, code_of(late)) == ("circuit_open", 0, "")


OUTAGES = [
    (kucoin_internal_error(), "exchange_unavailable"),
    (ErrorStatus(status=503, payload={"code": "999999", "msg": "unheard of"}), "exchange_unavailable"),
    (HtmlPage(page=PAGE_BAD_GATEWAY, status=502), "exchange_unavailable"),
    (HtmlPage(page=PAGE_GATEWAY_TIMEOUT, status=504), "exchange_unavailable"),
    (HtmlPage(page=PAGE_1015, status=429), "rate_limited"),
    (HtmlPage(page=PAGE_1015, status=403), "rate_limited"),
    (HtmlPage(page=PAGE_1015, status=200), "rate_limited"),
    (ConnectionLost(), "exchange_unavailable"),
    (ConnectionLost(is_reset=False), "exchange_unavailable"),
]
OUTAGE_IDS = ["500", "503-odd-code", "502-html", "504-html", "1015-429", "1015-403", "1015-200", "reset", "closed"]


@pytest.mark.parametrize(("fault", "code"), OUTAGES, ids=OUTAGE_IDS)
def test_row_02_outage_is_retried_and_passes(paper: PaperExchange, fault: Fault, code: str) -> None:
    paper.faults.add(fault, path_contains=CANDLES, times=2)

    update = tick(source_of(paper, attempts=3))

    assert code_of(update) == ""
    assert paper.calls.count(CANDLES) == 3
    assert judge(update)["is_good"]


@pytest.mark.parametrize(("fault", "code"), OUTAGES, ids=OUTAGE_IDS)
def test_row_02_outage_that_lasts_is_named_after_the_attempts(paper: PaperExchange, fault: Fault, code: str) -> None:
    paper.faults.add(fault, path_contains=CANDLES)

    update = tick(source_of(paper, attempts=3))

    assert (code_of(update), paper.calls.count(CANDLES)) == (code, 3)
    assert update.problem is not None
    assert "candles of ETH/USDT" in update.problem.problem
    assert update.problem.hint
    assert not judge(update)["is_good"]


def test_row_02_server_that_is_gone_is_unavailable(paper: PaperExchange) -> None:
    source = source_of(paper)
    paper.stop()
    try:
        update = tick(source)
    finally:
        paper.start()

    assert code_of(update) == "exchange_unavailable"
    assert code_of(tick(source)) == ""


LIES = [HtmlPage(), NullData(), TruncatedJson(kept_share=0.5), TruncatedJson(kept_share=0.0)]


@pytest.mark.parametrize("place", [CANDLES, SYMBOLS, TIME])
@pytest.mark.parametrize("fault", LIES, ids=["html", "null", "truncated", "empty"])
def test_row_03_status_200_without_the_data_is_malformed_and_not_no_candles(
    paper: PaperExchange, fault: Fault, place: str
) -> None:
    stored = tick(source_of(paper), now=NOW - timedelta(hours=1)).after
    paper.calls.clear()
    paper.faults.add(fault, path_contains=place)

    update = tick(source_of(paper, attempts=2), stored)

    assert (code_of(update), paper.calls.count(place)) == ("malformed_answer", 2)
    assert update.after is stored
    assert update.problem is not None
    assert "status 200" in update.problem.problem
    row = judge(update)
    assert (row["is_good"], row["is_stale"]) == (False, True)


def test_row_03_html_instead_of_the_currencies_is_malformed_too(paper: PaperExchange) -> None:
    """ccxt would go on without them."""
    paper.faults.add(HtmlPage(), path_contains="v3/currencies")

    assert code_of(tick(source_of(paper))) == "malformed_answer"


def test_row_03_malformed_answer_heals_with_the_next_one(paper: PaperExchange) -> None:
    paper.faults.add(TruncatedJson(), path_contains=CANDLES, times=1)

    assert slots(tick(source_of(paper))) == list(range(BARS))


def test_row_03_empty_list_is_believed(paper: PaperExchange) -> None:
    raw = source_of(paper).fetch(ETH, start_ms=at_ms(-50), end_ms=at_ms(0))

    assert raw.is_empty()


def test_row_04_dripped_answer_ends_by_the_deadline(paper: PaperExchange) -> None:
    """Each read succeeds well within its timeout; the whole would take minutes."""
    paper.faults.add(DrippedBody(chunk_bytes=16, pause_s=0.05), path_contains=CANDLES)
    started_s = time.monotonic()

    update = tick(source_of(paper, deadline="1s", request_timeout="5s"))

    assert code_of(update) == "deadline_exceeded"
    assert time.monotonic() - started_s < 10.0


def test_row_04_source_that_gave_up_works_again_with_a_new_connection(paper: PaperExchange) -> None:
    rule = paper.faults.add(DrippedBody(chunk_bytes=16, pause_s=0.05), path_contains=CANDLES)
    source = source_of(paper, deadline="1s")
    assert code_of(tick(source)) == "deadline_exceeded"

    paper.faults.remove(rule)

    assert code_of(tick(source)) == ""


@pytest.mark.parametrize(("past_boundary_ms", "newest"), [(-1, BARS - 2), (0, BARS - 1), (1, BARS - 1)])
def test_row_05_bar_that_is_still_open_is_never_used(paper: PaperExchange, past_boundary_ms: int, newest: int) -> None:
    now = from_ms(at_ms(BARS) + past_boundary_ms)
    paper.clock.stand_at(now)

    update = tick(source_of(paper), now=now)

    assert slots(update)[-1] == newest
    assert update.refused.is_empty()


def test_row_06_revised_bar_is_told_with_both_versions(paper: PaperExchange) -> None:
    first = tick(source_of(paper))
    closed, high = (first.after.candles[name][BARS - 2] for name in ("close", "high"))
    paper.faults.add(EditedBars(edit=revise_bar(at_ms(BARS - 2), close=closed + 0.01, high=high + 9.0)))

    second = tick(source_of(paper), first.after)

    assert second.revisions.select("close_before", "close_after").rows() == [(closed, closed + 0.01)]
    assert second.after.candles["close"][BARS - 2] == closed + 0.01
    assert judge(second)["is_good"]


def test_row_07_shuffled_and_repeated_bars_come_out_sorted_and_unique(paper: PaperExchange) -> None:
    sound = tick(source_of(paper)).after.candles
    paper.faults.add(EditedBars(edit=shuffle_bars(3)))
    paper.faults.add(EditedBars(edit=repeat_bar(at_ms(150))))

    update = tick(source_of(paper))

    assert update.after.candles.equals(sound)
    assert (update.duplicates_dropped, len(update.refused)) == (1, 0)


def test_row_07_two_versions_of_a_bar_in_one_answer_quarantine_it(paper: PaperExchange) -> None:
    paper.faults.add(EditedBars(edit=repeat_bar(at_ms(190), volume=1.0)))

    update = tick(source_of(paper))

    assert update.refused["reason"].to_list() == ["conflict", "conflict"]
    assert_blind_for_quarantine(update, 190)


BROKEN: list[tuple[dict[str, float | None], str]] = [
    ({"close": math.nan}, "price_not_finite"),
    ({"open": None}, "price_not_finite"),
    ({"low": -5.0}, "price_not_positive"),
    ({"low": 0.0}, "price_not_positive"),
    ({"high": 0.01, "low": 0.02}, "high_below_body"),
    ({"low": 1e9, "high": 2e9}, "low_above_body"),
    ({"volume": -1.0}, "volume_negative"),
    ({"volume": None}, "volume_not_finite"),
    ({"volume": math.nan}, "volume_not_finite"),
]


@pytest.mark.parametrize(("changes", "reason"), BROKEN, ids=[f"{next(iter(c))}-{r}" for c, r in BROKEN])
def test_row_08_broken_bar_is_quarantined_with_its_reason_and_the_rest_goes_on(
    paper: PaperExchange, changes: dict[str, float | None], reason: str
) -> None:
    paper.faults.add(EditedBars(edit=revise_bar(at_ms(190), **changes)))

    update = tick(source_of(paper))

    assert update.refused["reason"].to_list() == [reason]
    assert_blind_for_quarantine(update, 190)


def assert_blind_for_quarantine(update: CandleUpdate, slot: int) -> None:
    assert slots(update) == [other for other in range(BARS) if other != slot]
    row = judge(update)
    assert (row["is_good"], row["has_quarantine"]) == (False, True)
    assert "data.quarantine_window" in row["reasons"][0]
    bars = fill_gaps(update.after.candles, quarantined_ms=quarantined_times(update.after.quarantine))
    assert at_ms(slot) not in bars["open_time"].to_physical().to_list()


def test_row_08_bar_that_comes_whole_again_is_cured(paper: PaperExchange) -> None:
    rule = paper.faults.add(EditedBars(edit=revise_bar(at_ms(190), close=math.nan)))
    held = tick(source_of(paper))
    paper.faults.remove(rule)

    cured = tick(source_of(paper), held.after)

    assert slots(cured) == list(range(BARS))
    assert judge(cured)["is_good"]


def test_row_09_missing_bar_is_filled_and_flagged_and_zero_volume_is_a_bar(paper: PaperExchange) -> None:
    paper.faults.add(EditedBars(edit=drop_bar(at_ms(150))))
    paper.faults.add(EditedBars(edit=revise_bar(at_ms(160), volume=0.0)))

    update = tick(source_of(paper))

    bars = fill_gaps(update.after.candles, quarantined_ms=None)
    by_slot = dict(zip(range(BARS), bars.iter_rows(named=True), strict=True))
    assert (by_slot[150]["is_synthetic"], by_slot[150]["volume"]) == (True, 0.0)
    assert by_slot[150]["known_at"] == by_slot[151]["close_time"]
    assert (by_slot[160]["is_synthetic"], by_slot[160]["volume"]) == (False, 0.0)
    assert judge(update)["is_good"]


def test_row_09_quiet_market_is_thin_and_not_broken(paper: PaperExchange) -> None:
    update = tick(source_of(paper), market=QUIET)

    assert 0 < BARS - len(update.after.candles) < 60
    assert update.problem is None
    assert judge(update)["is_low_liquidity"]


def test_row_10_newest_bar_older_than_max_age_is_unknown(paper: PaperExchange) -> None:
    update = tick(source_of(paper))

    fresh = judge(update, now=from_ms(at_ms(BARS)) + timedelta(minutes=35))
    stale = judge(update, now=from_ms(at_ms(BARS)) + timedelta(minutes=36))

    assert fresh["is_good"]
    assert stale["reasons"] == ["newest bar closed 36 min ago, more than 35 min (data.max_age)"]


@pytest.mark.parametrize("offset_s", [-10, 10])
def test_row_12_clock_ten_seconds_off_goes_on_and_tells(paper: PaperExchange, offset_s: int) -> None:
    clock = MovedClock(NOW - timedelta(seconds=offset_s))

    update = tick(source_of(paper, clock=clock), now=clock.at)

    assert (code_of(update), update.clock_offset_ms) == ("", offset_s * 1000)


@pytest.mark.parametrize("offset_s", [-300, 300])
def test_row_12_clock_five_minutes_off_is_skewed_and_asks_for_no_candles(paper: PaperExchange, offset_s: int) -> None:
    paper.faults.add(ClockOffset(offset_ms=offset_s * 1000))

    update = tick(source_of(paper))

    assert code_of(update) == "clock_skewed"
    assert update.problem is not None
    assert f"{offset_s:+d}.0 s off ours, more than 30 s" in update.problem.problem
    assert paper.calls.count(CANDLES) == 0
    assert not judge(update)["is_good"]


def test_row_24_delisted_symbol_is_named_and_costs_the_others_nothing(paper: PaperExchange) -> None:
    paper.faults.add(RemovedSymbol(symbol="ETH/USDT"), path_contains="/kucoin/")
    sources = {name: source_of(paper, exchange=name) for name in ("kucoin", "binance")}
    markets = [ETH, BTC, SOL]

    updates = update_markets(
        sources,
        [StoredCandles(market=market) for market in markets],
        wanted={market: FetchRange(at_ms(0), at_ms(BARS)) for market in markets},
        now_ms=to_ms(NOW),
        policy=exchange_policy(),
    )

    assert [code_of(updates[market]) for market in markets] == ["market_not_found", "", ""]
    assert "does not list ETH/USDT" in str(updates[ETH].problem)
    assert paper.calls.count("candles?symbol=ETH-USDT") == 0  # it is not asked for what it does not list
    assert paper.calls.count("candles?symbol=BTC-USDT") == 1
    assert [judge(updates[market])["is_good"] for market in markets] == [False, True, True]


def test_row_24_symbol_delisted_between_two_ticks_is_named(paper: PaperExchange) -> None:
    """The list of symbols is older than the removal: the exchange refuses the candles themselves."""
    source = source_of(paper)
    stored = tick(source).after
    paper.faults.add(RemovedSymbol(symbol="ETH/USDT"))

    update = tick(source, stored)

    assert code_of(update) == "market_not_found"


def test_row_24_change_of_summer_time_leaves_96_bars_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    change = datetime(2025, 3, 30, tzinfo=UTC)
    end = change + timedelta(days=1)
    market = PaperMarket(market=ETH, source=SimulatedMarket(seed=8, start=change - timedelta(days=1), bars=3 * 96))
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        with PaperExchange(markets=[market], clock=PaperClock.standing(end)) as paper:
            update = update_candles(
                source_of(paper),
                StoredCandles(market=ETH),
                start_ms=to_ms(change),
                end_ms=to_ms(end),
                now_ms=to_ms(end),
                policy=exchange_policy(),
            )
    finally:
        monkeypatch.undo()
        time.tzset()

    assert len(fill_gaps(update.after.candles, quarantined_ms=None)) == 96


def test_dead_exchange_does_not_hold_up_its_other_markets(paper: PaperExchange) -> None:
    """After breaker_failures markets the rest is told at once."""
    paper.faults.add(kucoin_internal_error(), path_contains="/kucoin/")
    source = source_of(paper, attempts=2, breaker_failures=2)

    codes = [code_of(tick(source, market=market)) for market in (ETH, BTC, QUIET, ETH)]

    assert codes == ["exchange_unavailable", "exchange_unavailable", "circuit_open", "circuit_open"]
    assert len(paper.calls) == 4
