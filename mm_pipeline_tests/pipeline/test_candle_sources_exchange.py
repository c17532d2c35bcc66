"""Every limit of ``exchange_access`` changes what the paper exchange sees, and no key ever reaches a log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from mm_pipeline.adapters.candles.exchange_candles import ExchangeCandles
from mm_pipeline.adapters.candles.stored import StoredCandles
from mm_pipeline.adapters.candles.update import update_candles
from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
from mm_pipeline.domain.candles import HEALTHY, CircuitStore, ExchangePolicy
from mm_pipeline.domain.errors import (
    CircuitOpen,
    ClockSkewed,
    ConfigError,
    DeadlineExceeded,
    ExchangeError,
    ExchangeUnavailable,
    MarketNotFound,
)
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.market import FinerTimeframe, Market
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.paper.http.bar_edits import drop_bar, revise_bar
from mm_pipeline.paper.http.faults import ClockOffset, Delayed, DrippedBody, EditedBars, kucoin_internal_error
from mm_pipeline.paper.markets.markets import PaperMarket, SimulatedMarket
from mm_pipeline_tests.candle_samples import at_ms, exchange_policy

BARS = 400
MARKET = Market("kucoin", "ETH/USDT")
NOW = from_ms(at_ms(BARS))
CANDLES = "market/candles"


@pytest.fixture(scope="module")
def server() -> Iterator[PaperExchange]:
    simulated = SimulatedMarket(seed=5, start=from_ms(at_ms(0)), bars=BARS + 10)
    with PaperExchange(
        markets=[PaperMarket(market=MARKET, source=simulated)], clock=PaperClock.standing(NOW)
    ) as running:
        yield running


@pytest.fixture
def paper(server: PaperExchange) -> PaperExchange:
    server.faults.clear()
    server.calls.clear()
    return server


def source_of(
    paper: PaperExchange, *, clock: Any = None, circuits: CircuitStore | None = None, wall: Any = None, **limits: Any
) -> ExchangeCandles:
    return ExchangeCandles(
        "kucoin",
        policy=exchange_policy(**limits),
        clock=clock or FixedClock(NOW),
        circuits=circuits or MemoryCircuits(),
        base_url=paper.base_url("kucoin"),
        wall=wall,
    )


def fetch(source: ExchangeCandles, bars: int = BARS) -> int:
    return len(source.fetch(MARKET, start_ms=at_ms(0), end_ms=at_ms(bars)))


@dataclass
class MovedClock:
    """A clock that tests push forward."""

    at: datetime = NOW

    def now_ms(self) -> int:
        return FixedClock(self.at).now_ms()

    def now(self) -> datetime:
        return self.at


@pytest.mark.parametrize(("max_page_bars", "pages"), [(1500, 1), (100, 4)])
def test_max_page_bars_sets_the_number_of_requests(paper: PaperExchange, max_page_bars: int, pages: int) -> None:
    assert fetch(source_of(paper, max_page_bars=max_page_bars)) == BARS
    assert paper.calls.count(CANDLES) == pages


@pytest.mark.parametrize(("limits", "requests"), [({}, 1), ({"bars_per_fetch": 150}, 3)])
def test_bars_per_fetch_parts_a_long_history(paper: PaperExchange, limits: dict[str, Any], requests: int) -> None:
    update(paper, **limits)

    assert paper.calls.count(CANDLES) == requests


@pytest.mark.parametrize(("reask_bars", "again_from"), [(0, BARS), (10, BARS - 10)])
def test_reask_bars_are_asked_for_again(paper: PaperExchange, reask_bars: int, again_from: int) -> None:
    after = update(paper).after
    paper.clock.stand_at(NOW + timedelta(minutes=15))
    paper.calls.clear()

    try:
        result = update_candles(
            source_of(paper, clock=paper.clock),
            after,
            start_ms=at_ms(0),
            end_ms=at_ms(BARS + 1),
            now_ms=at_ms(BARS + 1),
            policy=exchange_policy(reask_bars=reask_bars),
        )
    finally:
        paper.clock.stand_at(NOW)

    assert result.problem is None
    assert f"startAt={at_ms(again_from) // 1000}&" in paper.calls.matching(CANDLES)[0].target


@pytest.mark.parametrize(("quiet_after", "gaps"), [("5min", 0), ("15min", 0), ("16min", 1)])
def test_quiet_after_lets_a_bar_that_stays_missing_count_as_quiet(
    paper: PaperExchange, quiet_after: str, gaps: int
) -> None:
    rule = paper.faults.add(EditedBars(edit=drop_bar(at_ms(20))), path_contains=CANDLES)
    try:
        result = update_candles(
            source_of(paper),
            update(paper).after,
            start_ms=at_ms(0),
            end_ms=at_ms(BARS),
            now_ms=at_ms(BARS + 1),
            policy=exchange_policy(quiet_after=quiet_after),
        )
    finally:
        paper.faults.remove(rule)

    assert result.after.gaps_ms.size == gaps


@pytest.mark.parametrize(("confirm_revision", "is_believed"), [(1, True), (2, False)])
def test_confirm_revision_is_how_many_answers_make_a_bar_milder(
    paper: PaperExchange, confirm_revision: int, *, is_believed: bool
) -> None:
    first = update(paper).after
    bar = first.candles.row(BARS - 2, named=True)
    milder = {"low": min(bar["open"], bar["close"]), "high": max(bar["open"], bar["close"])}
    rule = paper.faults.add(EditedBars(edit=revise_bar(at_ms(BARS - 2), **milder)), path_contains=CANDLES)
    try:
        result = update_candles(
            source_of(paper),
            first,
            start_ms=at_ms(0),
            end_ms=at_ms(BARS),
            now_ms=at_ms(BARS + 1),
            policy=exchange_policy(confirm_revision=confirm_revision),
        )
    finally:
        paper.faults.remove(rule)

    believed = result.after.candles.row(BARS - 2, named=True)
    assert {name: believed[name] for name in milder} == (
        milder if is_believed else {name: bar[name] for name in milder}
    )
    assert (result.after.waiting_ms.size == 0) is is_believed


@pytest.mark.parametrize(("cover_requests", "asked", "made"), [(0, [0, 0], 0), (1, [1, 1], 1), (2, [2, 2], 4)])
def test_cover_requests_bound_what_is_asked_for_to_cover_holes(
    paper: PaperExchange, cover_requests: int, asked: list[int], made: int
) -> None:
    """Two holes side by side, one far from them, and the newest without 5m bars; pages of 100 finer bars."""
    holes, away = (40, 41, 120, 390), 390
    for slot in holes:
        paper.faults.add(EditedBars(edit=revise_bar(at_ms(slot), high=1.0)), path_contains="type=15min&")
    paper.faults.add(EditedBars(edit=drop_bar(at_ms(away))), path_contains="type=5min&")

    found = update(paper, cover_requests=cover_requests, max_page_bars=100)

    counts = [paper.calls.count(f"type={name}&") for name in ("5min", "1min")]
    assert counts == asked
    assert len(found.made) == made
    assert len(found.refused) == len(holes)


def test_trouble_with_finer_candles_does_not_open_the_circuit_and_an_open_one_keeps_from_asking(
    paper: PaperExchange,
) -> None:
    circuits = MemoryCircuits()
    source = source_of(paper, circuits=circuits, attempts=2, breaker_failures=2)
    holes = {"timeframe": FinerTimeframe.M5, "max_requests": 2, "turn": 0}
    paper.faults.add(kucoin_internal_error(), path_contains="type=5min&")
    for _ in range(3):
        with pytest.raises(ExchangeUnavailable):
            source.finer(MARKET, np.array([at_ms(40)]), **holes)
    asked = paper.calls.count("type=5min&")

    assert asked == 6, "each with its attempts"
    assert fetch(source) == BARS
    paper.faults.clear()
    paper.faults.add(kucoin_internal_error(), path_contains=CANDLES)
    for _ in range(2):
        with pytest.raises(ExchangeUnavailable):
            fetch(source)
    with pytest.raises(CircuitOpen):
        source.finer(MARKET, np.array([at_ms(40)]), **holes)
    assert paper.calls.count("type=5min&") == asked


@pytest.mark.parametrize(("limits", "least_s"), [({}, 0.0), ({"requests_per_s": 20.0, "burst_requests": 1}, 0.35)])
def test_budget_spaces_requests(paper: PaperExchange, limits: dict[str, Any], least_s: float) -> None:
    """Time, currencies, symbols and five pages: seven pauses of 50 ms where the bucket holds one request."""
    fetch(source_of(paper, max_page_bars=80, **limits))

    moments = [call.at_s for call in paper.calls]
    assert len(moments) == 8
    assert moments[-1] - moments[0] > least_s - 0.01


def test_burst_requests_go_at_once(paper: PaperExchange) -> None:
    fetch(source_of(paper, max_page_bars=80, requests_per_s=0.01, burst_requests=8, deadline="5s"))

    with pytest.raises(DeadlineExceeded):
        fetch(source_of(paper, max_page_bars=80, requests_per_s=0.01, burst_requests=7, deadline="1s"))


def test_request_timeout_ends_a_silent_request(paper: PaperExchange) -> None:
    paper.faults.add(Delayed(delay_s=0.6), path_contains=CANDLES)

    assert fetch(source_of(paper, request_timeout="5s")) == BARS
    with pytest.raises(ExchangeUnavailable, match="RequestTimeout"):
        fetch(source_of(paper, request_timeout=timedelta(milliseconds=200), attempts=1))


def test_deadline_ends_a_dripped_answer(paper: PaperExchange) -> None:
    paper.faults.add(DrippedBody(chunk_bytes=2_000, pause_s=0.05), path_contains=CANDLES)

    assert fetch(source_of(paper, deadline="30s")) == BARS
    with pytest.raises(DeadlineExceeded, match=r"within 0.3 s"):
        fetch(source_of(paper, deadline=timedelta(milliseconds=300)))


@pytest.mark.parametrize("attempts", [1, 4])
def test_attempts_bound_the_requests(paper: PaperExchange, attempts: int) -> None:
    paper.faults.add(kucoin_internal_error(), path_contains=CANDLES)

    with pytest.raises(ExchangeUnavailable):
        fetch(source_of(paper, attempts=attempts))

    assert paper.calls.count(CANDLES) == attempts


@pytest.mark.parametrize(
    ("limits", "least_s"),
    [
        ({"backoff_initial": timedelta(milliseconds=200), "backoff_max": "1s"}, 0.6),
        ({"backoff_initial": "60s", "backoff_max": timedelta(milliseconds=100)}, 0.2),
        ({"backoff_jitter": timedelta(milliseconds=800), "backoff_max": timedelta(milliseconds=800)}, 0.02),
    ],
    ids=["initial", "max", "jitter"],
)
def test_backoff_waits_between_attempts(paper: PaperExchange, limits: dict[str, Any], least_s: float) -> None:
    """Also where the first pause alone is longer than the deadline: the largest one caps it."""
    paper.faults.add(kucoin_internal_error(), path_contains=CANDLES)

    with pytest.raises(ExchangeUnavailable):
        fetch(source_of(paper, attempts=3, **limits))

    moments = [call.at_s for call in paper.calls.matching(CANDLES)]
    assert moments[-1] - moments[0] >= least_s


@pytest.mark.parametrize("breaker_failures", [1, 3])
def test_breaker_failures_open_the_circuit(paper: PaperExchange, breaker_failures: int) -> None:
    paper.faults.add(kucoin_internal_error(), path_contains=CANDLES)
    source = source_of(paper, attempts=1, breaker_failures=breaker_failures)

    codes = [code_of(source) for _ in range(5)]

    assert codes == ["exchange_unavailable"] * breaker_failures + ["circuit_open"] * (5 - breaker_failures)
    assert paper.calls.count(CANDLES) == breaker_failures


def test_breaker_cool_down_ends_with_one_trial_that_closes_the_circuit(paper: PaperExchange) -> None:
    wall, circuits = MovedClock(), MemoryCircuits()
    source = source_of(paper, wall=wall, circuits=circuits, attempts=2, breaker_failures=1, breaker_cool_down="60s")
    fault = paper.faults.add(kucoin_internal_error(), path_contains=CANDLES)
    assert code_of(source) == "exchange_unavailable"

    wall.at += timedelta(seconds=59)
    assert code_of(source) == "circuit_open"
    wall.at += timedelta(seconds=1)
    paper.calls.clear()
    assert code_of(source) == "exchange_unavailable"
    assert paper.calls.count(CANDLES) == 1
    assert code_of(source) == "circuit_open"

    wall.at += timedelta(seconds=60)
    paper.faults.remove(fault)
    assert fetch(source) == BARS
    assert circuits.load("kucoin") == HEALTHY


def test_open_circuit_is_shared_through_the_store_and_says_why(paper: PaperExchange) -> None:
    circuits = MemoryCircuits()
    paper.faults.add(kucoin_internal_error(), path_contains=CANDLES)
    assert code_of(source_of(paper, circuits=circuits, attempts=1, breaker_failures=1)) == "exchange_unavailable"

    with pytest.raises(CircuitOpen, match=r"failed 1 times in a row.*status 500") as caught:
        fetch(source_of(paper, circuits=circuits, breaker_failures=1))

    assert "exchange_access.breaker_cool_down" in caught.value.hint


@pytest.mark.parametrize(("limit", "is_skewed"), [("20s", False), ("5s", True)])
def test_max_clock_offset_is_the_limit(paper: PaperExchange, limit: str, is_skewed: bool) -> None:
    paper.faults.add(ClockOffset(offset_ms=-10_000), path_contains="timestamp")
    source = source_of(paper, max_clock_offset=limit)

    assert source.clock_offset_ms() == -10_000
    if is_skewed:
        with pytest.raises(ClockSkewed, match=r"-10.0 s off ours, more than 5 s"):
            fetch(source)
    else:
        assert fetch(source) == BARS


@pytest.mark.parametrize(("interval", "asked"), [("15min", 1), (timedelta(microseconds=1), 3)])
def test_clock_is_asked_for_once_per_interval(paper: PaperExchange, interval: Any, asked: int) -> None:
    source = source_of(paper, clock_check_interval=interval)

    for _ in range(3):
        fetch(source, bars=4)

    assert paper.calls.count("timestamp") == asked


def test_clock_that_was_put_right_is_believed_at_once(paper: PaperExchange) -> None:
    fault = paper.faults.add(ClockOffset(offset_ms=300_000), path_contains="timestamp")
    source = source_of(paper)
    assert code_of(source) == "clock_skewed"

    paper.faults.remove(fault)

    assert fetch(source) == BARS


def test_every_limit_is_changed_by_a_test_above(request: pytest.FixtureRequest) -> None:
    text = request.path.read_text()

    assert [name for name in ExchangePolicy.model_fields if name not in text] == []


def test_unknown_exchange_is_refused_with_a_mend(paper: PaperExchange) -> None:
    source = ExchangeCandles("kukoin", policy=exchange_policy(), clock=FixedClock(NOW), circuits=MemoryCircuits())

    with pytest.raises(ConfigError, match="kukoin") as caught:
        source.fetch(Market("kukoin", "ETH/USDT"), start_ms=at_ms(0), end_ms=at_ms(1))

    assert caught.value.hint


def test_market_of_another_exchange_is_refused(paper: PaperExchange) -> None:
    with pytest.raises(MarketNotFound, match="binance:ETH/USDT"):
        source_of(paper).fetch(Market("binance", "ETH/USDT"), start_ms=at_ms(0), end_ms=at_ms(1))

    assert len(paper.calls) == 0


def test_misspelt_symbol_names_similar_ones(paper: PaperExchange) -> None:
    with pytest.raises(MarketNotFound, match="ETH/UDST") as caught:
        source_of(paper).fetch(Market("kucoin", "ETH/UDST"), start_ms=at_ms(0), end_ms=at_ms(1))

    assert "ETH/USDT" in caught.value.hint


def test_key_headers_never_reach_a_log(paper: PaperExchange, caplog: pytest.LogCaptureFixture) -> None:
    """ccxt's debug log prints the headers of signed requests."""
    caplog.set_level(logging.DEBUG)
    client = ExchangeClient("kucoin", timeout_s=5.0, max_page_bars=1500, base_url=paper.base_url("kucoin"))
    signed = client._ccxt
    signed.apiKey, signed.secret, signed.password = "the-key", "the-secret", "the-passphrase"

    with pytest.raises(Exception, match="kucoin"):
        signed.fetch_balance()

    assert paper.calls.count("margin/symbols") == 1  # a signed one
    assert "the-key" not in caplog.text
    assert "KC-API" not in caplog.text


def test_page_that_ends_early_is_asked_on_from_there(paper: PaperExchange) -> None:
    """An exchange that gives fewer rows than it was asked for must not leave holes that look like quiet bars."""
    paper.faults.add(EditedBars(edit=lambda bars: bars[:150]))

    assert fetch(source_of(paper)) == BARS
    assert paper.calls.count(CANDLES) == 3


def test_exchange_with_smaller_pages_is_asked_for_less() -> None:
    pages = {name: ExchangeClient(name, timeout_s=5.0, max_page_bars=1500).page_bars for name in ("kucoin", "binance")}

    assert pages == {"kucoin": 1500, "binance": 1000}


def update(paper: PaperExchange, **limits: Any) -> Any:
    policy = exchange_policy(**limits)
    return update_candles(
        source_of(paper, **limits),
        StoredCandles(market=MARKET),
        start_ms=at_ms(0),
        end_ms=at_ms(BARS),
        now_ms=at_ms(BARS),
        policy=policy,
    )


def code_of(source: ExchangeCandles) -> str:
    try:
        fetch(source)
    except ExchangeError as error:
        return error.code
    return ""
