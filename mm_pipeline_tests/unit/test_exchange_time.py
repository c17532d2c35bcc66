"""Whose time is believed: this machine's, or an exchange's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from mm_pipeline.adapters.clock import FixedClock
from mm_pipeline.application.exchange_time import CorrectedClock, ask_time
from mm_pipeline.domain.errors import ExchangeUnavailable, StorageError
from mm_pipeline.domain.market import Market

LIMIT = timedelta(seconds=30)
MARKET = Market("kucoin", "ETH/USDT")


@dataclass
class Telling:
    """A source whose clock is so many seconds ahead of ours; see ``CandleSource``."""

    offset_s: float | None
    takes_s: float = 0.0
    error: Exception | None = None
    requests_made: int = 0
    leaves_nothing_out: bool = False

    def clock_offset_ms(self) -> int | None:
        self.requests_made += 1
        time.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return None if self.offset_s is None else int(self.offset_s * 1000)

    def fetch(self, market: Market, *, start_ms: int, end_ms: int) -> pl.DataFrame:
        raise AssertionError("a source that did not tell its time is not asked again")


@pytest.mark.parametrize(
    ("offsets", "exchange", "offset_s", "confirms"),
    [
        ({"kucoin": 0.0}, "kucoin", 0, True),
        ({"kucoin": 29.0}, "kucoin", 0, True),
        ({"kucoin": -300.0}, "kucoin", -300, False),
        ({"kucoin": 21_600.0}, "kucoin", 21_600, False),
        ({"binance": 5.0, "kucoin": -300.0}, "binance", 0, True),
        ({"binance": 400.0, "kucoin": -300.0}, "kucoin", -300, False),
        ({"binance": None, "kucoin": -300.0}, "kucoin", -300, False),
        ({"binance": None}, "", 0, False),
        ({}, "", 0, False),
    ],
)
def test_nearest_exchange_is_believed(
    offsets: dict[str, float | None], exchange: str, offset_s: int, *, confirms: bool
) -> None:
    found, going_on = ask_time({name: Telling(offset) for name, offset in offsets.items()}, LIMIT)
    assert (found.exchange, found.offset_ms, found.confirms_clock) == (exchange, offset_s * 1000, confirms)
    assert set(going_on) == set(offsets)
    assert (found.problem is None) is (offset_s == 0)


def test_limit_decides_whether_a_clock_is_off() -> None:
    sources = {"kucoin": Telling(-40.0)}
    assert ask_time(sources, LIMIT)[0].problem == "this machine's clock is 0:00:40 ahead of kucoin"
    assert ask_time(sources, timedelta(seconds=50))[0].confirms_clock


def test_slow_answer_neither_corrects_the_clock_nor_confirms_it() -> None:
    found, _ = ask_time({"kucoin": Telling(1.01, takes_s=0.5)}, timedelta(seconds=1))
    assert (found.offset_ms, found.confirms_clock) == (0, False)


def test_source_that_does_not_answer_fails_the_same_way_and_is_asked_once() -> None:
    away = ExchangeUnavailable("the exchange is away.", "Wait.")
    silent, broken = Telling(0.0, error=away), Telling(0.0, error=StorageError("no circuits.", "Look."))
    found, going_on = ask_time({"kucoin": silent, "binance": broken}, LIMIT)
    assert found.problem is None
    assert not found.confirms_clock
    for name, problem in (("kucoin", "away"), ("binance", "no circuits")):
        with pytest.raises(Exception, match=problem):
            going_on[name].fetch(MARKET, start_ms=0, end_ms=1)
        with pytest.raises(Exception, match=problem):
            going_on[name].clock_offset_ms()
    assert (silent.requests_made, going_on["kucoin"].requests_made) == (1, 1)


def test_corrected_clock_shows_the_exchanges_time() -> None:
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    assert CorrectedClock(FixedClock(noon), -300_000).now() == noon - timedelta(minutes=5)
