"""Row 31: a report that a grid is flat is held against its account, over HTTP, at real ticks, to a paper phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from mm_pipeline.adapters.account import AccountReading
from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.application import read_accounts
from mm_pipeline.domain.errors import ExchangeError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import Cause, Notice, Response, ResponseKind
from mm_pipeline.paper.http.faults import kucoin_internal_error
from mm_pipeline_tests.account_samples import signing_client
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS
from mm_pipeline_tests.notification_watch import WRITTEN_BY
from mm_pipeline_tests.traded_samples import KEYS, PUSHOVER, Traded, first_bar_after, sol_grid, traded_grids

pytestmark = [pytest.mark.fault, *DAGSTER_WARNINGS]
BAR = timedelta(minutes=15)
VOIDED = [ResponseKind.CONTRADICTED, ResponseKind.REOPENED]


@contextmanager
def watched(folder: Path, monkeypatch: pytest.MonkeyPatch, *grids: Grid) -> Iterator[Traded]:
    for name, value in {**KEYS, **PUSHOVER}.items():
        monkeypatch.setenv(name, value)
    with traded_grids(folder, *grids) as made:
        yield made


@pytest.fixture
def traded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traded]:
    with watched(tmp_path, monkeypatch, sol_grid()) as made:
        yield made


def set_up(traded: Traded, **settings: Any) -> None:
    """Add to the installation's settings."""
    file = traded.installation.settings_file
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | settings))


def paged(traded: Traded) -> datetime:
    """A tick at which the exit is told; its evaluation."""
    at = first_bar_after(pl.col("close") < sol_grid().lower * 0.985)
    traded.tick(at)
    assert told(traded) == [(Notice.MANDATORY_EXIT, Cause.CHANGE)]
    return at


def told(traded: Traded, grid: str = "sol") -> list[tuple[Notice, Cause]]:
    with traded.installation.journal() as journal:
        made = journal.notifications.decisions(grid)
    return [(one.decision.notice, one.decision.cause) for one in made if one.decision.is_told]


def by_account(traded: Traded, grid: str = "sol") -> list[ResponseKind]:
    with traded.installation.journal() as journal:
        given = [one.response.kind for one in journal.responses.select(grid) if one.source == "account"]
    return sorted(given)


def not_flat(traded: Traded) -> list[str]:
    return [message.title for message in traded.pushover.messages if message.title.startswith("NOT FLAT")]


def say_flat(traded: Traded, at: datetime, grid: str = "sol") -> None:
    response = Response(grid=grid, at=at, kind=ResponseKind.FLAT)
    said = ResponseRecord(response=response, source="mm flat", by_whom="anna", recorded_at=at, **WRITTEN_BY)
    with traded.installation.journal() as journal:
        assert journal.responses.record([said])


def sell_all(traded: Traded) -> None:
    client = signing_client(traded.paper)
    client.cancel_all_orders("SOL/USDT")
    client.create_order("SOL/USDT", "market", "sell", client.fetch_balance()["SOL"]["free"])
    client.session.close()


def held(traded: Traded) -> tuple[float, int]:
    """Base and resting orders as the exchange itself tells them."""
    client = signing_client(traded.paper)
    found = client.fetch_balance()["SOL"]["total"], len(client.fetch_open_orders("SOL/USDT"))
    client.session.close()
    return found


def test_row_31_report_of_flat_that_the_account_contradicts_is_paged_once_and_void(traded: Traded) -> None:
    set_up(traded, notify={"mandatory_exit": {"expire": "15min"}})
    at = paged(traded)
    traded.tick(at + BAR)  # a reading before the report
    say_flat(traded, at + BAR + timedelta(minutes=3))
    traded.tick(at + 2 * BAR)
    assert not_flat(traded) == [], "one reading alone may fall between the report and its orders"
    traded.tick(at + 3 * BAR)
    base, orders = held(traded)
    assert (base > 0, orders > 0) == (True, True)
    (title,) = not_flat(traded)
    said_at = at + BAR + timedelta(minutes=3)
    assert f"you reported flat at {said_at:%H:%M} UTC, the account holds {base:,.6g} SOL and {orders} order" in title
    assert by_account(traded) == VOIDED
    assert [cause for _, cause in told(traded)] == [Cause.CHANGE, Cause.REISSUE, Cause.CONTRADICTED]
    page = traded.pushover.messages[-1]
    assert (page.priority, f"{base:,.6g} SOL" in page.text) == (2, True)

    traded.tick(at + 4 * BAR)
    assert len(not_flat(traded)) == 1, "once a report"
    assert told(traded)[3:] == [(Notice.MANDATORY_EXIT, Cause.REISSUE)], "as if nobody had said flat"


def test_row_31_order_in_flight_at_the_first_reading_contradicts_nothing(traded: Traded) -> None:
    at = paged(traded)
    say_flat(traded, at + timedelta(minutes=3))
    traded.tick(at + BAR)
    sell_all(traded)
    for number in (2, 3):
        traded.tick(at + number * BAR)
    assert (not_flat(traded), by_account(traded)) == ([], [])
    assert told(traded) == [(Notice.MANDATORY_EXIT, Cause.CHANGE)]


def test_row_31_account_that_cannot_be_read_contradicts_nothing_and_says_so(traded: Traded) -> None:
    set_up(traded, exchange_access={"breaker_failures": 100, "attempts": 1})
    at = paged(traded)
    say_flat(traded, at + timedelta(minutes=3))
    rule = traded.paper.faults.add(kucoin_internal_error(), path_contains="/accounts")
    for number in (1, 2, 3):
        traded.tick(at + number * BAR)
    (alarm,) = [one.text for one in traded.pushover.messages if "ACCOUNT of sol is not seen" in one.title]
    assert "nothing bears your report out and nothing contradicts it" in alarm
    assert (not_flat(traded), by_account(traded), len(told(traded))) == ([], [], 1)
    traded.paper.faults.remove(rule)
    for number in (4, 5):
        traded.tick(at + number * BAR)
    assert len(not_flat(traded)) == 1


@dataclass
class Answers:
    """How the account is read: whole, a part of it without base and orders, or not at all."""

    kind: str = "whole"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    made, real = Answers(), read_accounts._read

    def read(*asked: Any) -> AccountReading | None:
        if made.kind == "none":
            raise ExchangeError("the account does not answer.", "Wait.")
        reading = real(*asked)
        if reading is None or made.kind == "whole":
            return reading
        return replace(reading, balances=tuple(one for one in reading.balances if one.currency != "SOL"), orders=())

    monkeypatch.setattr(read_accounts, "_read", read)
    return made


def test_row_31_answer_with_a_part_of_the_account_verifies_nothing(traded: Traded, answers: Answers) -> None:
    set_up(traded, notify={"mandatory_exit": {"expire": "15min"}})
    at = paged(traded)
    answers.kind = "part"
    for number in (1, 2):  # the fills have bought what it does not show, and no sale explains that
        traded.tick(at + number * BAR)
    answers.kind = "none"
    traded.tick(at + 3 * BAR)
    assert by_account(traded) == []
    assert [cause for _, cause in told(traded)] == [Cause.CHANGE, *[Cause.REISSUE] * 3]


def test_row_31_grid_that_was_verified_and_is_unseen_pages_a_new_trigger(traded: Traded, answers: Answers) -> None:
    at = paged(traded)
    sell_all(traded)
    traded.tick(at + BAR)
    assert by_account(traded) == [ResponseKind.VERIFIED_FLAT]
    answers.kind = "none"
    traded.tick(at + 2 * BAR)
    assert told(traded) == [(Notice.MANDATORY_EXIT, Cause.CHANGE)]
    breached = first_bar_after(pl.col("low") <= sol_grid().stop_loss)
    traded.tick(breached)
    assert by_account(traded) == sorted([ResponseKind.VERIFIED_FLAT, ResponseKind.REOPENED])
    assert told(traded) == [(Notice.MANDATORY_EXIT, Cause.CHANGE)] * 2
    traded.tick(breached + BAR)
    assert len(told(traded)) == 2
    answers.kind = "whole"
    for number in (2, 3):
        traded.tick(breached + number * BAR)
    assert by_account(traded).count(ResponseKind.VERIFIED_FLAT) == 2
    assert len(told(traded)) == 2


def disabled(traded: Traded, **edited: Any) -> None:
    declared = sol_grid().model_dump(mode="json") | {"enabled": False} | edited
    traded.installation.grid("sol", **{name: value for name, value in declared.items() if name != "id"})


def test_row_31_grid_that_is_disabled_with_the_report_rings_until_its_account_is_empty(traded: Traded) -> None:
    set_up(traded, notify={"mandatory_exit": {"expire": "15min"}})
    at = paged(traded)
    say_flat(traded, at + timedelta(minutes=3))
    disabled(traded)
    for number in (1, 2, 3):
        traded.tick(at + number * BAR)
    first, second = not_flat(traded)
    assert second == f"{first} (2nd page, nobody answered)"
    sell_all(traded)
    for number in (4, 5, 6):
        traded.tick(at + number * BAR)
    assert by_account(traded) == [*VOIDED, ResponseKind.VERIFIED_FLAT]
    assert len(not_flat(traded)) == 2


def test_row_31_new_start_of_a_disabled_grid_takes_no_report_of_flat_back(traded: Traded) -> None:
    set_up(traded, notify={"mandatory_exit": {"expire": "15min"}})
    at = paged(traded)
    say_flat(traded, at + timedelta(minutes=3))
    disabled(traded, started_at=at + timedelta(minutes=4))
    for number in (1, 2, 3):
        traded.tick(at + number * BAR)
    assert len(not_flat(traded)) == 2
    say_flat(traded, at + 3 * BAR + timedelta(minutes=5))
    sell_all(traded)
    for number in (4, 5, 6):
        traded.tick(at + number * BAR)
    assert len(not_flat(traded)) == 2


def test_row_31_own_coins_sold_in_the_same_order_leave_the_grid_verified(traded: Traded) -> None:
    (desk,) = traded.paper.desks
    desk.move("SOL", Decimal(2))
    at = paged(traded)
    sell_all(traded)
    traded.tick(at + BAR)
    assert by_account(traded) == [ResponseKind.VERIFIED_FLAT]
    traded.tick(at + 2 * BAR)
    assert (told(traded), not_flat(traded)) == ([(Notice.MANDATORY_EXIT, Cause.CHANGE)], [])


def test_row_31_two_grids_left_by_one_order_are_both_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = sol_grid()
    twin = grid.model_copy(update={"id": "twin"})
    with watched(tmp_path, monkeypatch, grid) as traded:
        declared: dict[str, Any] = twin.model_dump(mode="json")
        traded.installation.grid("twin", **{name: value for name, value in declared.items() if name != "id"})
        at = paged(traded)
        assert told(traded, "twin") == [(Notice.MANDATORY_EXIT, Cause.CHANGE)]
        say_flat(traded, at + timedelta(minutes=3), "twin")  # what is there may be the other's
        traded.tick(at + BAR)
        traded.tick(at + 2 * BAR)
        assert (not_flat(traded), by_account(traded, "twin")) == ([], [])
        sell_all(traded)
        traded.tick(at + 3 * BAR)
        assert by_account(traded) == [ResponseKind.VERIFIED_FLAT]
