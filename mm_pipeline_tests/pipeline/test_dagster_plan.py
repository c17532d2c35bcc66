"""What a run has to do, from windows and grid histories alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mm_pipeline.adapters.journal import GridHistoryRow
from mm_pipeline.application.plan import Plan, WatchedGrid, floor_to_evaluation, make_plan
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market

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


def history(*seen: tuple[datetime, Grid | None], retired_by: str | None = None) -> list[GridHistoryRow]:
    return [
        GridHistoryRow(
            grid_id="g",
            version_hash="x",
            valid_from=at,
            seen_at=at,
            grid=declared,
            retired_by=retired_by if declared is None else None,
        )
        for at, declared in seen
    ]


def test_enabled_grid_whose_file_is_gone_stays_in_force_until_it_comes_back() -> None:
    first, second = grid(MARCH), grid(MARCH, upper=3200)
    found = WatchedGrid.from_history("g", history((MARCH, first), (MARCH + DAY, None), (MARCH + 2 * DAY, second)))
    assert [(version.grid, version.is_gone) for version in found.versions] == [
        (first, False),
        (first, True),
        (second, False),
    ]
    assert found.in_force(to_ms(MARCH + 1.5 * DAY), to_ms(MARCH + 1.6 * DAY)) == [first]


@pytest.mark.parametrize("is_retired", [True, False])
def test_grid_that_was_retired_or_disabled_ends_with_its_file_and_asks_for_nothing(*, is_retired: bool) -> None:
    declared = grid(MARCH) if is_retired else grid(MARCH).model_copy(update={"enabled": False})
    rows = history((MARCH, declared), (MARCH + DAY, None), retired_by="me" if is_retired else None)
    removed = WatchedGrid.from_history("g", rows)
    assert len(removed.in_force(to_ms(MARCH), to_ms(MARCH + 2 * DAY))) == 1
    assert removed.in_force(to_ms(MARCH + DAY), to_ms(APRIL)) == []
    later = plan(removed, start=APRIL, end=APRIL + 30 * DAY, evaluated_at=APRIL + 20 * DAY)
    assert (later.grids, later.markets) == ((), ())


def test_enabled_grid_that_starts_in_the_future_is_planned_and_a_disabled_one_is_not() -> None:
    ahead = grid(APRIL + 300 * DAY)
    found = plan(watched((MARCH, ahead)))
    assert [watched.grid_id for watched in found.grids] == ["g"]
    assert found.markets == (ETH,)
    assert plan(watched((MARCH, ahead.model_copy(update={"enabled": False})))).grids == ()


@pytest.mark.parametrize("was_removed", [False, True])
def test_version_seen_while_the_clock_was_ahead_gives_way_to_what_was_seen_later(was_removed: bool) -> None:
    first, ahead, newest = grid(MARCH), None if was_removed else grid(MARCH, upper=3200), grid(MARCH, upper=3300)
    seen = [(MARCH, first), (MARCH + 3 * DAY, ahead), (MARCH + DAY, newest)]
    rows = [
        GridHistoryRow(grid_id="g", version_hash="x", valid_from=at, seen_at=at, grid=declared) for at, declared in seen
    ]
    found = WatchedGrid.from_history("g", rows)
    assert [version.grid for version in found.versions] == [first, newest]
    assert found.in_force(to_ms(MARCH + 4 * DAY), to_ms(MARCH + 5 * DAY)) == [newest]


@pytest.mark.parametrize(("minute", "second", "floor"), [(0, 0, 0), (14, 59, 0), (15, 0, 15), (59, 59, 45)])
def test_evaluation_is_the_newest_close(minute: int, second: int, floor: int) -> None:
    at = datetime(2025, 3, 20, 12, minute, second, tzinfo=UTC)
    assert from_ms(floor_to_evaluation(at)) == at.replace(minute=floor, second=0)
