"""Fills from before what the exchange still tells come from imports, each once; without them the gap is named."""

from __future__ import annotations

from dataclasses import replace

from mm_pipeline.domain.account import AccountFill, gap_before, with_older
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

DAY_MS = 86_400_000
POLICY = account_policy()


def ladder() -> Grid:
    return hundreds_grid(started_at=STARTED, exchange="kucoin")


START_MS = ladder().started_at_ms
FROM_MS = START_MS + 20 * DAY_MS


def at(time_ms: int, made: AccountFill, **changes: str) -> AccountFill:
    return replace(made, time_ms=time_ms, **changes)


OLD = at(START_MS + DAY_MS, fill(1, "buy", 100.0), order_id="a")
NEW = at(FROM_MS + DAY_MS, fill(2, "sell", 110.0), order_id="b")


def test_imported_fills_count_before_what_the_account_told_and_not_after() -> None:
    later = at(FROM_MS, fill(3, "buy", 100.0), order_id="c")
    assert with_older([NEW], [OLD, later], FROM_MS) == (OLD, NEW)


def test_fill_whose_file_tells_the_second_only_counts_once() -> None:
    told = at(FROM_MS + 300, fill(4, "buy", 100.0), order_id="d")
    as_imported = at(FROM_MS - 700, fill(5, "buy", 100.0), order_id="d", trade_id="made-1")
    assert with_older([told], [as_imported], FROM_MS) == (told,)


def test_fill_that_the_account_told_before_a_hole_counts_once() -> None:
    as_imported = replace(OLD, trade_id="made-2")
    assert with_older([OLD, NEW], [as_imported], FROM_MS) == (OLD, NEW)


def test_gap_is_named_until_something_fills_it() -> None:
    assert "tells no fills before 2025-01-23" in str(gap_before(ladder(), [NEW], FROM_MS, POLICY))
    assert gap_before(ladder(), [OLD, NEW], FROM_MS, POLICY) is None
    another = replace(OLD, symbol="BTC/USDT")
    assert gap_before(ladder(), [another, NEW], FROM_MS, POLICY) is not None
    long_before = at(START_MS - DAY_MS, OLD)
    assert gap_before(ladder(), [long_before, NEW], FROM_MS, POLICY) is not None


def test_account_that_reaches_back_to_the_start_has_no_gap() -> None:
    for from_ms in (START_MS - DAY_MS, START_MS, START_MS + 60_000):
        assert gap_before(ladder(), [], from_ms, POLICY) is None
