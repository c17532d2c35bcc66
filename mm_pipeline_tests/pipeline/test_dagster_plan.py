"""What a run has to do, from windows and grid histories alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mm_pipeline.adapters.clock import from_ms, to_ms
from mm_pipeline.adapters.journal import GridHistoryRow
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.market import Market
from mm_pipeline.resources import Plan, WatchedGrid
from mm_pipeline.resources.plan import floor_to_evaluation, make_plan

DAY = timedelta(days=1)
DAY_MS = 86_400_000
MARCH, APRIL = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
ETH, BTC = Market("kucoin", "ETH/USDT"), Market("kucoin", "BTC/USDT")


def grid(started_at: datetime, *, symbol: str = "ETH/USDT", upper: float = 3100.0) -> Grid:
    return Grid.model_validate(
        {
            "id": "g",
            "exchange": "kucoin",
            "symbol": symbol,
            "enabled": True,
            "lower": 2900.0,
            "upper": upper,
            "levels": 6,
            "spacing": "arithmetic",
            "stop_loss": 2800.0,
            "capital": 1000.0,
            "fee": 0.001,
            "started_at": started_at,
        }
    )


def watched(*versions: tuple[datetime, Grid]) -> WatchedGrid:
    return WatchedGrid("g", tuple(GridVersion(declared, valid_from) for valid_from, declared in versions))


def plan(*grids: WatchedGrid, evaluated_at: datetime = APRIL + 5 * DAY, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "start": MARCH,
        "end": APRIL,
        "evaluated_ms": to_ms(evaluated_at),
        "is_live": False,
        "grids": grids,
        "extra_markets": (),
        "since_window_ms": 7 * DAY_MS,
        "warm_up_ms": 52 * DAY_MS,
    }
    return make_plan(**(given | changes))


def test_past_month_is_evaluated_to_its_end_and_the_present_one_to_now() -> None:
    whole = plan()
    assert (from_ms(whole.first_ms), from_ms(whole.last_ms)) == (MARCH + timedelta(minutes=15), APRIL)
    now = datetime(2025, 3, 20, 12, tzinfo=UTC)
    assert from_ms(plan(evaluated_at=now).last_ms) == now
    assert plan(evaluated_at=now).bars_until_ms == to_ms(now)


def test_bars_reach_back_from_the_since_window_by_the_warm_up() -> None:
    recent = plan(watched((MARCH + 3 * DAY, grid(MARCH + 3 * DAY))))
    first = MARCH + timedelta(minutes=15) - 59 * DAY
    assert from_ms(recent.bars_from_ms[ETH]) == first.replace(minute=0)


def test_bars_reach_back_to_the_start_of_an_old_grid() -> None:
    started = MARCH - 200 * DAY
    assert from_ms(plan(watched((started, grid(started)))).bars_from_ms[ETH]) == started - 52 * DAY


def test_version_that_ended_before_the_window_asks_for_no_bars_of_its_own() -> None:
    old, new = MARCH - 200 * DAY, MARCH - 20 * DAY
    reranged = watched((old, grid(old)), (new, grid(new, upper=3200)))
    assert from_ms(plan(reranged).bars_from_ms[ETH]) == new - 52 * DAY


def test_grid_that_starts_later_is_left_out() -> None:
    later = plan(watched((APRIL + DAY, grid(APRIL + DAY))))
    assert (later.grids, later.markets) == ((), ())


def test_markets_of_all_versions_and_extra_ones_are_watched() -> None:
    moved = watched((MARCH, grid(MARCH)), (MARCH + DAY, grid(MARCH, symbol="BTC/USDT")))
    assert plan(moved, extra_markets=[Market("kucoin", "SOL/USDT")]).markets == (
        BTC,
        ETH,
        Market("kucoin", "SOL/USDT"),
    )
    assert moved.hashes(BTC) == [moved.versions[1].grid.version_hash]


def test_history_with_a_removal_gives_versions_and_an_absence() -> None:
    first, second = grid(MARCH), grid(MARCH, upper=3200)
    times = [MARCH, MARCH + DAY, MARCH + 2 * DAY]
    rows = [
        GridHistoryRow(grid_id="g", version_hash="x", valid_from=at, seen_at=at, grid=declared)
        for at, declared in zip(times, (first, None, second), strict=True)
    ]
    found = WatchedGrid.from_history("g", rows)
    assert [version.grid for version in found.versions] == [first, second]
    assert found.absences_ms == ((to_ms(times[1]), to_ms(times[2])),)


def test_removed_grid_is_in_force_until_then_and_asks_for_nothing_later() -> None:
    removed = WatchedGrid("g", (GridVersion(grid(MARCH), MARCH),), ((to_ms(MARCH + DAY), to_ms(APRIL + 900 * DAY)),))
    assert len(removed.in_force(to_ms(MARCH), to_ms(MARCH + 2 * DAY))) == 1
    assert removed.in_force(to_ms(MARCH + DAY), to_ms(APRIL)) == []
    later = plan(removed, start=APRIL, end=APRIL + 30 * DAY, evaluated_at=APRIL + 20 * DAY)
    assert (later.grids, later.markets) == ((), ())


@pytest.mark.parametrize("was_removed", [False, True])
def test_version_seen_while_the_clock_was_ahead_gives_way_to_what_was_seen_later(was_removed: bool) -> None:
    first, ahead, newest = grid(MARCH), None if was_removed else grid(MARCH, upper=3200), grid(MARCH, upper=3300)
    seen = [(MARCH, first), (MARCH + 3 * DAY, ahead), (MARCH + DAY, newest)]
    rows = [
        GridHistoryRow(grid_id="g", version_hash="x", valid_from=at, seen_at=at, grid=declared) for at, declared in seen
    ]
    found = WatchedGrid.from_history("g", rows)
    assert [version.grid for version in found.versions] == [first, newest]
    assert found.absences_ms == ()
    assert found.in_force(to_ms(MARCH + 4 * DAY), to_ms(MARCH + 5 * DAY)) == [newest]


@pytest.mark.parametrize(("minute", "second", "floor"), [(0, 0, 0), (14, 59, 0), (15, 0, 15), (59, 59, 45)])
def test_evaluation_is_the_newest_close(minute: int, second: int, floor: int) -> None:
    at = datetime(2025, 3, 20, 12, minute, second, tzinfo=UTC)
    assert from_ms(floor_to_evaluation(at)) == at.replace(minute=floor, second=0)
