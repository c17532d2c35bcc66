"""Grids of one market on one account: whose each order is. Ladders of 100 to 130, the second of more capital."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mm_pipeline.domain.account import (
    AccountFill,
    EarlierRange,
    Increments,
    Share,
    fills_of_grid,
    shares_of,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid

POLICY = account_policy()
STEPS = Increments(price=0.01, base=1e-4)
SECOND_MS = 1000
STARTED_MS = int(STARTED.timestamp() * 1000)


def ladder(name: str, **changes: Any) -> Grid:
    return hundreds_grid(**({"id": name, "started_at": STARTED, "exchange": "kucoin"} | changes))


SMALL, LARGE = ladder("small"), ladder("large", capital=600.0)


def held(grid: Grid, shares: Any) -> float:
    return fills_of_grid(grid, shares[grid.id].fills, policy=POLICY, increments=STEPS).held_base


def shared(*fills: AccountFill, grids: tuple[Grid, ...] = (SMALL, LARGE), **more: Any) -> dict[str, Share]:
    return dict(shares_of(grids, fills, (), policy=POLICY, increments=STEPS, **more))


@pytest.mark.parametrize("grids", [(SMALL, LARGE), (ladder("z"), ladder("a", capital=600.0))])
def test_whole_order_of_one_is_no_part_of_a_larger_grids(grids: tuple[Grid, ...]) -> None:
    small, large = grids
    shares = shared(fill(1, "buy", 110.0, 0.909), grids=grids)  # 100 / 110, rounded to the step
    assert (held(small, shares), held(large, shares)) == (0.909, 0.0)
    assert shares[small.id].contested == shares[large.id].contested == 0


def test_purchase_that_is_the_whole_start_of_one_is_nobody_elses() -> None:
    idle = ladder("idle", started_at=STARTED - timedelta(minutes=5), capital=600.0)
    shares = shared(fill(1, "buy", 105.0, 100 / 110 + 100 / 120), grids=(idle, SMALL))
    assert held(SMALL, shares) == pytest.approx(100 / 110 + 100 / 120)
    assert (held(idle, shares), shares["idle"].contested, shares["small"].contested) == (0.0, 0, 0)


def test_order_of_an_earlier_range_is_no_present_grids() -> None:
    again = ladder("small", started_at=STARTED + timedelta(minutes=10), initial_base=1.0)
    before = EarlierRange(SMALL, again.started_at_ms)
    shares = shared(fill(1, "buy", 100.0), grids=(again, LARGE), earlier=[before])
    assert (held(again, shares), held(LARGE, shares)) == (1.0, 0.0)


def test_start_of_an_earlier_range_is_no_present_grids() -> None:
    again = ladder("small", started_at=STARTED + timedelta(minutes=10), initial_base=1.0)
    before = EarlierRange(SMALL, again.started_at_ms)
    shares = shared(fill(1, "buy", 115.0, 100 / 120), grids=(again, LARGE), earlier=[before])
    assert (held(again, shares), held(LARGE, shares)) == (1.0, 0.0)


def test_purchase_before_the_start_is_among_what_a_grid_began_with() -> None:
    early = replace(fill(1, "buy", 100.0), time_ms=STARTED_MS - 60 * SECOND_MS)
    grid = ladder("small", initial_base=1.0)
    assert fills_of_grid(grid, [early], policy=POLICY, increments=STEPS).held_base == 1.0
    assert fills_of_grid(SMALL, [early], policy=POLICY, increments=STEPS).held_base == 1.0


TWINS = (ladder("first"), ladder("second", started_at=STARTED + timedelta(seconds=2)))
BUY, SALE = fill(5, "buy", 110.0), fill(7, "sell", 120.0)


@pytest.mark.parametrize(
    ("fills", "held_base", "is_guess"),
    [
        ([BUY], None, True),
        ([BUY, replace(BUY, trade_id="6", order_id="6")], 0.909, False),
        ([BUY, SALE], 0.0, False),
        ([BUY, replace(BUY, trade_id="6", order_id="6"), SALE], None, True),
    ],
)
def test_twins_hold_the_same_or_nobody_knows_which_holds(
    fills: list[AccountFill], held_base: float | None, *, is_guess: bool
) -> None:
    fills = [replace(one, quantity_base=0.909) for one in fills]
    shares = shared(*fills, grids=TWINS)
    assert {share.is_guess for share in shares.values()} == {is_guess}
    if held_base is not None:
        assert [held(grid, shares) for grid in TWINS] == [held_base, held_base]


def test_interval_that_held_at_the_start_of_a_twin_is_the_one_that_sold() -> None:
    # The first began below 110 and bought 110-120 and 120-130; the second, later, above the range, and holds nothing.
    early = ladder("first", started_at=STARTED - timedelta(hours=3))
    start = replace(fill(1, "buy", 107.0, 0.909 + 0.833), time_ms=early.started_at_ms)
    shares = shared(start, fill(8, "sell", 120.0, 0.909), grids=(early, TWINS[1]))
    assert [round(held(grid, shares), 6) for grid in (early, TWINS[1])] == [0.833, 0.0]
    assert not any(share.is_guess for share in shares.values())
