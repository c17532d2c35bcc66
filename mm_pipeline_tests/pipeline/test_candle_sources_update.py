"""Incremental update: what is missing is fetched, what is refused waits for its cure, one market fails alone."""

from __future__ import annotations

import math
import threading
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.candles.memory_candles import MemoryCandles
from mm_pipeline.adapters.candles.stored import CandleUpdate, StoredCandles, quarantined_times
from mm_pipeline.adapters.candles.update import update_candles, update_markets
from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles import FetchRange, QuarantineReason, fill_gaps
from mm_pipeline.domain.errors import ConfigError, ExchangeError, ExchangeUnavailable, PipelineError
from mm_pipeline.domain.market import FinerTimeframe, Market
from mm_pipeline_tests.candle_samples import STEP_MS, at_ms, candle, exchange_policy, raw, walk

MARKET = Market("kucoin", "ETH/USDT")
POLICY = exchange_policy(reask_bars=4, bars_per_fetch=100)


class SkewedMemory(MemoryCandles):
    """Memory with a clock of its own."""

    def __init__(self, candles: dict[Market, pl.DataFrame], *, offset_ms: int) -> None:
        super().__init__(candles)
        self.offset_ms = offset_ms

    def clock_offset_ms(self) -> int | None:
        return self.offset_ms


class FailingAfter(MemoryCandles):
    """Memory whose network goes away after some fetches."""

    def __init__(self, candles: dict[Market, pl.DataFrame], *, fetches: int) -> None:
        super().__init__(candles)
        self.left = fetches

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        if self.left == 0:
            raise ExchangeUnavailable("the network is away.", "Wait.")
        self.left -= 1
        return super().fetch(market, start_ms=start_ms, end_ms=end_ms)


class ForgetfulMemory(MemoryCandles):
    """Memory that may leave bars out of an answer, as a network does."""

    @property
    def leaves_nothing_out(self) -> bool:
        return False


class FinerMemory(ForgetfulMemory):
    """A network that has finer bars too, those that are given."""

    def __init__(self, candles: dict[Market, pl.DataFrame], finer: dict[FinerTimeframe, pl.DataFrame]) -> None:
        super().__init__(candles)
        self.finer_candles = finer
        self.asked: list[tuple[str, list[int], int]] = []
        self.trouble: PipelineError | None = None

    def finer(
        self, market: Market, slots_ms: Integers, *, timeframe: FinerTimeframe, max_requests: int, turn: int
    ) -> pl.DataFrame:
        self.asked.append((timeframe.value, slots_of(slots_ms), max_requests))
        if self.trouble is not None:
            raise self.trouble
        return self.finer_candles.get(timeframe, raw([]))


def parts(slot: int, low: float, *, timeframe: FinerTimeframe = FinerTimeframe.M5) -> pl.DataFrame:
    """Whole finer bars of a slot, the second down to ``low``."""
    opened = range(at_ms(slot), at_ms(slot + 1), timeframe.ms)
    return raw([(at, 100.0, 101.0, low if number == 1 else 99.0, 100.0, 2.0) for number, at in enumerate(opened)])


def with_broken(slot: int, *, bars: int) -> pl.DataFrame:
    broken = raw([(at_ms(slot), 100.0, 90.0, 80.0, 100.0, 1.0)])
    return pl.concat([walk(number for number in range(bars) if number != slot), broken])


def slots_of(opened_ms: Integers) -> list[int]:
    return ((opened_ms - at_ms(0)) // STEP_MS).tolist()


def update(source: MemoryCandles, stored: StoredCandles | None = None, *, end: int, start: int = 0) -> CandleUpdate:
    known = StoredCandles(market=MARKET) if stored is None else stored
    return update_candles(source, known, start_ms=at_ms(start), end_ms=at_ms(end), now_ms=at_ms(end), policy=POLICY)


def slots(frame: pl.DataFrame) -> list[int]:
    return ((frame["open_time"].to_physical() - at_ms(0)) // STEP_MS).to_list()


def test_tick_fetches_one_range_and_adds_the_new_bar() -> None:
    source = MemoryCandles({MARKET: walk(range(51))})
    first = update(source, end=50)

    second = update(source, first.after, end=51)

    assert (first.requests_made, second.requests_made) == (1, 1)
    assert slots(second.after.candles) == list(range(51))


def test_bar_that_is_still_open_is_not_asked_for() -> None:
    source = MemoryCandles({MARKET: walk(range(51))})

    result = update_candles(
        source, StoredCandles(market=MARKET), start_ms=at_ms(0), end_ms=2**50, now_ms=at_ms(50) - 1, policy=POLICY
    )

    assert slots(result.after.candles) == list(range(49))
    assert result.refused.is_empty()


@pytest.mark.parametrize(("offset_ms", "newest"), [(-20_000, 48), (0, 49), (20_000, 49)])
def test_bar_is_closed_when_both_clocks_say_so(offset_ms: int, newest: int) -> None:
    """At our 12:30:10 an exchange that is 20 s behind has not closed the bar; one that is ahead does not close it."""
    result = update_candles(
        SkewedMemory({MARKET: walk(range(60))}, offset_ms=offset_ms),
        StoredCandles(market=MARKET),
        start_ms=at_ms(0),
        end_ms=at_ms(60),
        now_ms=at_ms(50) + 10_000,
        policy=POLICY,
    )

    assert slots(result.after.candles)[-1] == newest
    assert result.clock_offset_ms == offset_ms


def test_revised_bar_supersedes_and_is_told() -> None:
    source = MemoryCandles({MARKET: walk(range(50))})
    first = update(source, end=50)
    source.candles[MARKET] = pl.concat([walk(range(48)), raw([candle(48, 77.0)]), walk(range(51))[49:]])

    second = update(source, first.after, end=51)

    assert slots(second.revisions) == [48]
    assert second.revisions["close_after"].to_list() == [77.0]
    assert second.after.candles["close"][48] == 77.0


def with_low(low: float) -> pl.DataFrame:
    """Fifty bars of which the newest had this low; its high is 102 in the walk's place."""
    return pl.concat([walk(range(49)), raw([(at_ms(49), 100.0, 102.0, low, 100.0, 1.0)])])


def told_in_turn(*lows: float) -> list[tuple[float, list[int]]]:
    """The low that is believed after each answer, and the bars of which a milder answer waits; none is hidden."""
    source = MemoryCandles({MARKET: with_low(lows[0])})
    stored, found = StoredCandles(market=MARKET), []
    for low in lows:
        source.candles[MARKET] = with_low(low)
        stored = update(source, stored, end=50).after
        found.append((stored.candles["low"][-1], slots_of(stored.waiting_ms)))
        assert stored.hidden_ms.size == 0
    return found


def test_low_that_goes_further_is_believed_at_once_and_a_milder_one_after_three_answers() -> None:
    assert told_in_turn(90.0, 80.0) == [(90.0, []), (80.0, [])]
    assert told_in_turn(80.0, 90.0, 90.0, 90.0) == [(80.0, []), (80.0, [49]), (80.0, [49]), (90.0, [])]
    assert told_in_turn(80.0, 90.0, 90.0, 80.0, 90.0, 90.0)[-1] == (80.0, [49]), "in a row"
    assert told_in_turn(80.0, 90.0, 91.0, 90.0)[-1] == (80.0, [49]), "the same"


def test_bar_of_which_a_milder_answer_waits_is_asked_for_whatever_its_age() -> None:
    source = MemoryCandles({MARKET: with_low(80.0)})
    first = update(source, end=50).after
    source.candles[MARKET] = pl.concat([with_low(80.1), walk(range(50, 90))])
    held = update(source, first, end=90).after
    for _ in range(2):
        held = update(source, held, end=90).after
    assert (held.candles["low"][49], slots_of(held.waiting_ms)) == (80.1, [])


@pytest.mark.parametrize("period", [1, 2, 3, 4])
def test_low_that_two_servers_tell_in_turn_becomes_milder_once_at_most(period: int) -> None:
    found = told_in_turn(*([80.0] * period + [90.0] * period) * 5)
    believed = [low for low, _ in found]
    assert sum(before < low for before, low in pairwise(believed)) == (period > 2)
    assert found[-1] == (80.0, [] if period > 2 else [49]), "what contradicts itself waits for no answer"


def test_bar_that_is_milder_on_one_side_keeps_the_furthest_of_both() -> None:
    first = pl.concat([walk(range(49)), raw([(at_ms(49), 100.0, 102.0, 80.0, 100.0, 1.0)])])
    source = MemoryCandles({MARKET: first})
    stored = update(source, end=50).after
    source.candles[MARKET] = pl.concat([walk(range(49)), raw([(at_ms(49), 100.0, 110.0, 90.0, 100.0, 1.0)])])
    row = update(source, stored, end=50).after.candles.row(-1, named=True)
    assert (row["low"], row["high"]) == (80.0, 110.0)


def test_broken_bar_waits_in_quarantine_until_it_comes_whole() -> None:
    good = walk(range(60))
    broken = good.with_columns(close=pl.when(pl.int_range(60) == 30).then(math.nan).otherwise("close"))
    source = MemoryCandles({MARKET: broken})

    held = update(source, end=50)
    still = update(source, held.after, end=51)
    source.candles[MARKET] = good
    cured = update(source, still.after, end=52)
    after = update(source, cured.after, end=53)

    assert held.refused["reason"].to_list() == [QuarantineReason.PRICE_NOT_FINITE]
    assert [quarantined_times(state.after.quarantine).tolist() for state in (held, still)] == [[at_ms(30)]] * 2
    bars = fill_gaps(still.after.candles, quarantined_ms=quarantined_times(still.after.quarantine))
    assert 30 not in slots(bars)
    assert cured.after.quarantine.is_empty()
    assert slots(cured.after.candles) == list(range(52))
    assert (still.requests_made, cured.requests_made, after.requests_made) == (2, 2, 1)


def test_stored_bar_that_comes_broken_later_is_kept_and_its_time_quarantined() -> None:
    source = MemoryCandles({MARKET: walk(range(50))})
    first = update(source, end=50)
    source.candles[MARKET] = pl.concat([walk(range(49)), raw([candle(49, 100.0, -1.0)])])

    second = update(source, first.after, end=50)

    assert second.after.candles.equals(first.after.candles)
    assert quarantined_times(second.after.quarantine).tolist() == [at_ms(49)]


def test_row_without_a_time_is_refused_once_and_not_kept() -> None:
    source = MemoryCandles({MARKET: pl.concat([walk(range(10)), raw([(None, 1.0, 1.0, 1.0, 1.0, 1.0)])])})

    first = update(source, end=10)
    source.candles[MARKET] = walk(range(10))
    second = update(source, first.after, end=10)

    assert first.refused["reason"].to_list() == [QuarantineReason.NULL_TIME]
    assert second.after.quarantine.is_empty()


@pytest.mark.parametrize("fetches", [0, 1, 2, 3])
def test_failure_half_way_keeps_one_stretch_and_goes_on_from_there(fetches: int) -> None:
    candles = {MARKET: walk(range(450))}
    stored = update(MemoryCandles(candles), start=300, end=350).after

    broken_off = update(FailingAfter(candles, fetches=fetches), stored, end=450)
    healed = update(MemoryCandles(candles), broken_off.after, end=450)

    assert broken_off.problem is not None
    assert broken_off.problem.code == "exchange_unavailable"
    there = slots(broken_off.after.candles)
    assert there == list(range(there[0], there[-1] + 1))
    assert healed.problem is None
    assert slots(healed.after.candles) == list(range(450))


def test_market_listed_later_is_asked_for_its_past_twice_and_not_at_every_tick() -> None:
    source = ForgetfulMemory({MARKET: walk(range(200, 260))})
    first = update(source, end=250)

    second = update(source, first.after, end=251)
    third = update(source, second.after, end=252)

    assert first.after.asked_from_ms == at_ms(0)
    assert (second.requests_made, third.requests_made) == (3, 1)


def test_source_that_leaves_nothing_out_is_asked_once() -> None:
    source = MemoryCandles({MARKET: walk([*range(200, 220), *range(230, 260)])})
    first = update(source, end=250)

    second = update(source, first.after, end=251)

    assert (first.after.gaps_ms.size, second.requests_made) == (0, 1)


def test_past_that_is_wanted_later_is_asked_for_twice_too() -> None:
    """A market listed at 200; the second answer about what is older counts for that part alone."""
    source = ForgetfulMemory({MARKET: walk(range(200, 260))})
    settled = update(source, update(source, start=150, end=250).after, start=150, end=251).after

    older = update(source, settled, end=252)
    source.candles[MARKET] = walk([*range(50, 100), *range(200, 260)])
    again = update(source, older.after, end=253)

    assert slots(again.after.candles)[0] == 50


def test_bar_without_trades_is_known_to_be_quiet_as_soon_as_the_next_one_comes() -> None:
    """Each tick asks for the last bars again: what it missed at its close is missing at the next close too."""
    source = ForgetfulMemory({MARKET: walk([*range(50), 51, 52])})
    first = update(source, end=50)
    quiet = update(source, first.after, end=51)
    after = update(source, quiet.after, end=52)

    assert [state.after.gaps_ms.tolist() for state in (first, quiet, after)] == [[], [], []]
    assert after.after.missing["open_time"].to_physical().to_list() == [at_ms(50)]


def test_bars_that_nobody_asked_for_at_their_close_are_to_be_confirmed() -> None:
    source = ForgetfulMemory({MARKET: walk([*range(50), *range(53, 60)])})
    first = update(source, end=50)
    late = update(source, first.after, end=56)
    after = update(source, late.after, end=57)

    assert [state.after.gaps_ms.size for state in (late, after)] == [3, 0]


def test_duplicates_are_counted() -> None:
    source = MemoryCandles({MARKET: pl.concat([walk(range(10)), walk(range(3))])})

    assert update(source, end=10).duplicates_dropped == 3


class TestSeveralMarkets:
    ETH, BTC = Market("kucoin", "ETH/USDT"), Market("kucoin", "BTC/USDT")
    SOL, LOST = Market("binance", "SOL/USDT"), Market("kraken", "ETH/EUR")

    def run(self, sources: dict[str, Any], *markets: Market) -> dict[Market, CandleUpdate]:
        wanted = {market: FetchRange(at_ms(0), at_ms(20)) for market in markets}
        stored = [StoredCandles(market=market) for market in markets]
        return update_markets(sources, stored, wanted=wanted, now_ms=at_ms(20), policy=POLICY)

    def test_failing_market_does_not_stop_the_others(self) -> None:
        kucoin = MemoryCandles(
            {self.ETH: walk(range(20)), self.BTC: walk(range(20))}, {self.ETH: ExchangeError("away.", "Wait.")}
        )
        sources = {"kucoin": kucoin, "binance": MemoryCandles({self.SOL: walk(range(20))})}

        updates = self.run(sources, self.ETH, self.BTC, self.SOL, self.LOST)

        assert list(updates) == [self.ETH, self.BTC, self.SOL, self.LOST]
        assert [len(result.after.candles) for result in updates.values()] == [0, 20, 20, 0]
        assert [result.problem.code if result.problem else "" for result in updates.values()] == [
            "source",
            "",
            "",
            "market_not_found",
        ]

    def test_configuration_trouble_of_a_source_is_its_markets_problem(self) -> None:
        class Unknown(MemoryCandles):
            def clock_offset_ms(self) -> int | None:
                raise ConfigError("ccxt knows no exchange 'kukoin'.", "Use an id of its list.")

        sources = {"kucoin": Unknown({}), "binance": MemoryCandles({self.SOL: walk(range(20))})}

        updates = self.run(sources, self.ETH, self.SOL)

        assert updates[self.ETH].problem is not None
        assert "kukoin" in str(updates[self.ETH].problem)
        assert updates[self.SOL].problem is None

    def test_exchanges_are_asked_side_by_side(self) -> None:
        meeting = threading.Barrier(2, timeout=10.0)

        class Meets(MemoryCandles):
            def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
                meeting.wait()
                return super().fetch(market, start_ms=start_ms, end_ms=end_ms)

        sources = {"kucoin": Meets({self.ETH: walk(range(20))}), "binance": Meets({self.SOL: walk(range(20))})}

        updates = self.run(sources, self.ETH, self.SOL)

        assert all(result.problem is None for result in updates.values())

    def test_no_markets_are_no_updates(self) -> None:
        assert self.run({}) == {}


@pytest.mark.parametrize("slot", [20, 49])
def test_broken_bar_is_made_of_5m_ones_and_is_a_hole_no_more(slot: int) -> None:
    source = FinerMemory({MARKET: with_broken(slot, bars=50)}, {FinerTimeframe.M5: parts(slot, 70.0)})

    found = update(source, end=50)

    assert source.asked == [("5m", [slot], POLICY.cover_requests)]
    assert found.made["made_of"].to_list() == ["5m"]
    assert slot not in slots(found.after.candles), "the exchange's own candles stay apart"
    bars = fill_gaps(found.after.believed, quarantined_ms=found.after.hidden_ms)
    assert bars.filter(pl.col("low") == 70.0)["is_synthetic"].to_list() == [False]
    assert len(bars) == 50
    assert found.after.hidden_ms.size == 0
    assert len(found.after.quarantine) == 1, "its time is still asked for"


def test_1m_bars_are_asked_for_where_5m_ones_are_not_whole() -> None:
    both = {FinerTimeframe.M5: parts(20, 70.0)[:2], FinerTimeframe.M1: parts(20, 60.0, timeframe=FinerTimeframe.M1)}
    source = FinerMemory({MARKET: with_broken(20, bars=50)}, both)

    found = update(source, end=50)

    assert [timeframe for timeframe, _, _ in source.asked] == ["5m", "1m"]
    assert found.made.select("made_of", "low").rows() == [("1m", 60.0)]


def test_bar_that_finer_ones_do_not_cover_stays_a_hole_and_is_asked_for_at_each_update() -> None:
    source = FinerMemory({MARKET: with_broken(20, bars=52)}, {FinerTimeframe.M5: parts(20, 70.0)[1:]})

    first = update(source, end=50)
    second = update(source, first.after, end=51)

    assert [timeframe for timeframe, _, _ in source.asked] == ["5m", "1m"] * 2
    assert second.after.hidden_ms.tolist() == [at_ms(20)]
    assert second.made.is_empty()


def test_covered_bar_is_not_asked_for_again_though_it_comes_broken_again() -> None:
    source = FinerMemory({MARKET: with_broken(49, bars=52)}, {FinerTimeframe.M5: parts(49, 70.0)})

    first = update(source, end=50)
    second = update(source, first.after, end=51)

    assert len(source.asked) == 1
    assert len(second.refused) == 1
    assert second.after.hidden_ms.size == 0
    assert second.after.believed.filter(pl.col("low") == 70.0).height == 1


def test_whole_bar_of_the_exchange_supersedes_its_cover_and_is_told_as_a_revision() -> None:
    source = FinerMemory({MARKET: with_broken(20, bars=52)}, {FinerTimeframe.M5: parts(20, 70.0)})
    first = update(source, end=50)
    source.candles = {MARKET: walk(range(52))}

    second = update(source, first.after, end=51)

    assert second.after.believed.equals(walk(range(51)))
    assert second.after.quarantine.is_empty()
    (revision,) = second.revisions.rows(named=True)
    assert (revision["low_before"], revision["low_after"]) == (70.0, walk(range(51))["low"][20])


def test_trouble_with_finer_bars_is_told_and_is_none_of_the_update() -> None:
    source = FinerMemory({MARKET: with_broken(20, bars=50)}, {FinerTimeframe.M5: parts(20, 70.0)})
    source.trouble = ExchangeUnavailable("the network is away.", "Wait.")

    found = update(source, end=50)

    assert found.problem is None
    assert found.not_covered is source.trouble
    assert found.after.hidden_ms.tolist() == [at_ms(20)]


def test_nothing_finer_is_asked_for_without_a_hole_or_after_a_failed_fetch() -> None:
    whole = FinerMemory({MARKET: walk(range(50))}, {})
    update(whole, end=50)
    away = FinerMemory({MARKET: with_broken(20, bars=50)}, {})
    known = update(away, end=50).after
    away.asked.clear()
    away.problems = {MARKET: ExchangeUnavailable("the network is away.", "Wait.")}

    failed = update(away, known, end=51)

    assert failed.problem is not None
    assert (whole.asked, away.asked) == ([], [])


def test_stored_bar_that_comes_broken_later_is_not_made_anew() -> None:
    source = FinerMemory({MARKET: walk(range(51))}, {FinerTimeframe.M5: parts(49, 70.0)})
    first = update(source, end=50)
    source.candles = {MARKET: with_broken(49, bars=51)}

    second = update(source, first.after, end=51)

    assert source.asked == []
    assert second.after.candles.equals(walk(range(51)))


def test_bar_missing_before_a_covered_newest_one_is_not_quiet_until_it_is_confirmed() -> None:
    candles = with_broken(49, bars=50).filter(pl.col("open_time").to_physical() != at_ms(48))
    source = FinerMemory({MARKET: candles}, {FinerTimeframe.M5: parts(49, 70.0)})

    found = update(source, end=50)

    assert found.after.gaps_ms.tolist() == [at_ms(48)]
