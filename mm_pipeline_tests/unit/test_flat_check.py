"""Which readings of an account contradict a report of flat: two in a row, after it, at evaluations of their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mm_pipeline.adapters.account import AccountReading
from mm_pipeline.adapters.journal import FlatCheck, FlatFinding, Journal, ResponseRecord, sqlite_url
from mm_pipeline.application.account_view import AccountView
from mm_pipeline.application.flat_check import FlatChecks, contradictions
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.account import (
    AccountFill,
    Balance,
    Increments,
    PositionSource,
    fills_of_grid,
    orders_of_grid,
    position_of,
)
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Response, ResponseKind
from mm_pipeline_tests.account_samples import STARTED, account_policy, fill
from mm_pipeline_tests.grid_samples import hundreds_grid
from mm_pipeline_tests.notification_samples import WRITTEN_BY
from mm_pipeline_tests.unit.test_account_position import resting

GRID = hundreds_grid(id="eth", started_at=STARTED, exchange="kucoin")
BAR = timedelta(minutes=15)
SAID = STARTED + timedelta(hours=1)
BOUGHT = (fill(1, "buy", 100.0),)
SOLD = (*BOUGHT, fill(2, "sell", 104.0))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


def looked(
    journal: Journal,
    number: float,
    fills: tuple[AccountFill, ...] = BOUGHT,
    *,
    held: float = 1.0,
    orders: int = 0,
    is_explained: bool = False,
) -> bool:
    """Whether the account, read ``number`` bars after the report, contradicts it."""
    at = SAID + number * BAR
    seen = viewed(at, fills, held=held, orders=orders)
    return checks(journal, at).is_contradicted(seen, word(), is_explained=is_explained)


def viewed(at: datetime, fills: tuple[AccountFill, ...], *, held: float, orders: int = 0) -> AccountView:
    """The grid as an account shows it that holds so much base, and so many of its orders."""
    policy, steps = account_policy(), Increments(price=0.01, base=0.0001)
    balances = (Balance(currency="ETH", total=held, available=held, locked=0.0),)
    rest = tuple(resting(50 + n, "buy", 100.0) for n in range(orders))
    reading = AccountReading(
        fills_from_ms=0,
        account="a",
        market=GRID.market,
        read_at_ms=to_ms(at),
        fills=fills,
        orders=rest,
        balances=balances,
        increments=steps,
        bid=105.0,
        prices={},
        new_fills=0,
    )
    return AccountView(
        grid=GRID,
        position=position_of(GRID, fills, rest, balances, 105.0, policy=policy, increments=steps),
        source=PositionSource.EXCHANGE,
        at=at,
        mine=fills_of_grid(GRID, fills, policy=policy, increments=steps),
        orders=orders_of_grid(GRID, rest, policy=policy, increments=steps),
        reading=reading,
    )


def checks(journal: Journal, at: datetime) -> FlatChecks:
    watch = SimpleNamespace(
        decisions=lambda: journal,
        now=lambda: at,
        settings=SimpleNamespace(account=account_policy()),
        written_by=WRITTEN_BY,
    )
    return FlatChecks(cast("Watch", watch), cast("Plan", SimpleNamespace(last_ms=to_ms(at))), Accounts())


def word() -> ResponseRecord:
    response = Response(grid="eth", at=SAID, kind=ResponseKind.FLAT)
    return ResponseRecord(response=response, source="mm flat", by_whom="ann", recorded_at=SAID, **WRITTEN_BY)


def kinds(journal: Journal) -> list[ResponseKind]:
    return sorted(one.response.kind for one in journal.responses.select("eth"))


def test_second_reading_in_a_row_voids_the_report(journal: Journal) -> None:
    assert [looked(journal, number) for number in (1, 2)] == [False, True]
    assert kinds(journal) == [ResponseKind.CONTRADICTED, ResponseKind.REOPENED]


@pytest.mark.parametrize(
    "readings",
    [
        [(-1, {}), (1, {})],  # one before the report
        [(0, {}), (1, {})],  # one at the very moment
        [(1, {}), (1, {})],  # one evaluation, run twice
        [(1, {}), (2, {"fills": SOLD, "held": 0.0}), (3, {})],  # sold, and bought by somebody since
        [(1, {"held": 0.05}), (2, {"held": 0.05})],  # dust
        [(1, {"is_explained": True}), (2, {"is_explained": True})],
        [(1, {"fills": SOLD, "held": 5.0}), (2, {"fills": SOLD, "held": 5.0})],  # coins of one's own
    ],
)
def test_other_readings_contradict_nothing(journal: Journal, readings: list[tuple[float, dict[str, Any]]]) -> None:
    assert [looked(journal, number, **options) for number, options in readings] == [False] * len(readings)
    assert kinds(journal) == []


def test_resting_orders_alone_contradict_and_a_reading_that_says_nothing_parts_no_row(journal: Journal) -> None:
    assert not looked(journal, 1, SOLD, held=0.0, orders=2)
    assert not looked(journal, 2, is_explained=True)
    assert looked(journal, 3, SOLD, held=0.0, orders=2)
    watch = SimpleNamespace(decisions=lambda: journal, now=lambda: SAID + 3 * BAR)
    found = contradictions(cast("Watch", watch), {"eth": GRID})["eth"]
    assert found.text == f"you reported flat at {SAID:%Y-%m-%d %H:%M} UTC, the account holds 0 ETH and 2 orders"


def test_check_that_a_clock_ahead_wrote_counts_for_nothing(journal: Journal) -> None:
    later = SAID + timedelta(days=365)
    journal.flat_checks.record(
        FlatCheck(
            grid="eth",
            said_at=SAID,
            evaluated_at=later,
            read_at=later,
            finding=FlatFinding.HOLDS,
            recorded_at=later,
            **WRITTEN_BY,
        )
    )
    assert [looked(journal, 1), looked(journal, 2)] == [False, True]


def test_disabled_grid_is_settled_by_two_checks_without_a_finding(journal: Journal) -> None:
    for number in (1, 2):
        assert not checks(journal, SAID + number * BAR).is_settled("eth", word())
        looked(journal, number, SOLD, held=0.0)
    assert checks(journal, SAID + 3 * BAR).is_settled("eth", word())


@pytest.mark.parametrize(
    ("closed", "confirmed"),
    [
        ([True, True], [False, True]),
        ([True, False, True, True], [False, False, False, True]),
        ([False, True], [False, False]),
    ],
)
def test_grid_is_closed_by_two_readings_in_a_row(journal: Journal, closed: list[bool], confirmed: list[bool]) -> None:
    found = []
    for number, is_closed in enumerate(closed):
        at = SAID + (number + 1) * BAR
        seen = viewed(at, SOLD, held=0.0)
        found.append(checks(journal, at).is_confirmed(seen, SAID, is_closed=is_closed))
        again = checks(journal, at).is_confirmed(seen, SAID, is_closed=is_closed)
        assert again is found[-1], "another run of one evaluation is no second reading"
    assert found == confirmed
