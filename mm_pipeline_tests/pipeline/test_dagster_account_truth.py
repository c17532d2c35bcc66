"""What real runs tell of an account, beside what the paper exchange knows of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from mm_pipeline.adapters.account.kucoin_client import KucoinAccountClient
from mm_pipeline.cli.lazy_group import REFUSED, LazyGroup
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.paper.trading.desk import TradingDesk
from mm_pipeline.paper.trading.orders import Trade
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, check_of
from mm_pipeline_tests.traded_samples import AT, KEYS, PUSHOVER, STARTED, Traded, newest, sol_grid, traded_grids

pytestmark = DAGSTER_WARNINGS
BAR = timedelta(minutes=15)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | PUSHOVER).items():
        monkeypatch.setenv(name, value)


def test_bot_on_another_ladder_than_the_declared_one_is_named_in_row_and_check(tmp_path: Path) -> None:
    grid = sol_grid()
    shift = 0.4 * (grid.upper - grid.lower) / grid.interval_count
    traded_by_bot = grid.model_copy(update={"lower": grid.lower + shift, "upper": grid.upper + shift})
    with traded_grids(tmp_path, traded_by_bot) as traded:
        declared = grid.model_dump(mode="json")
        traded.installation.grid("sol", **{name: value for name, value in declared.items() if name != "id"})
        result = traded.tick(AT)
        row = newest(traded.installation, "positions", "sol", AT)
        agreement = check_of(result, "positions", "account_agrees")
    assert (row["source"], row["inventory_base"]) == ("exchange", None)
    assert "orders lie on the declared ladder" in str(row["position_unknown"])
    assert "orders lie on the declared ladder" in str(agreement.metadata["sol"].value)


def test_start_that_was_bought_a_minute_before_it_is_declared_is_read_and_held(traded: Traded) -> None:
    declared = sol_grid().model_dump(mode="json") | {"started_at": (STARTED + timedelta(minutes=1)).isoformat()}
    traded.installation.grid("sol", **{name: value for name, value in declared.items() if name != "id"})
    traded.tick(AT)
    (desk,) = traded.paper.desks
    assert desk.trades[0].at_ms < to_ms(STARTED + timedelta(minutes=1))
    assert_true(newest(traded.installation, "positions", "sol", AT), desk)


def test_grid_that_goes_on_with_its_coins_says_so_and_is_told_whole(traded: Traded) -> None:
    """A new range is declared two days ago: what was held then is ``initial_base``, not a purchase."""
    begun = AT - timedelta(days=2)
    (desk,) = traded.paper.desks
    traded.tick(AT)
    before = [trade for trade in desk.trades if trade.at_ms < to_ms(begun)]
    held = float(sum(trade.size if trade.side == "buy" else -trade.size for trade in before))
    assert held > 1
    changes = {"started_at": begun.isoformat(), "initial_base": round(held, 6)}
    declared = sol_grid().model_dump(mode="json") | changes
    traded.installation.grid("sol", **{name: value for name, value in declared.items() if name != "id"})
    traded.tick(AT + BAR)
    row = newest(traded.installation, "positions", "sol", AT + BAR)
    now = float(desk.balances.available("SOL") + desk.balances.held("SOL"))
    assert (row["position_unknown"], row["pnl_unknown"]) == (None, None)
    assert row["inventory_base"] == pytest.approx(now, abs=1e-6)
    assert row["total_pnl_quote"] is not None


def test_import_fills_what_the_exchange_tells_no_more_and_a_conflicting_one_changes_nothing(
    traded: Traded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange keeps three days of a grid of eight; the older fills come from a file, then a wrong file comes."""
    monkeypatch.setattr(KucoinAccountClient, "fills_reach", timedelta(days=3))
    traded.tick(AT)
    row = newest(traded.installation, "positions", "sol", AT)
    assert row["inventory_base"] is None
    assert "the exchange tells no fills before 2025-03-17" in str(row["position_unknown"])

    (desk,) = traded.paper.desks
    older = [trade for trade in desk.trades if trade.at_ms < to_ms(AT - timedelta(days=2.5))]
    assert len(older) > 5
    code, output = imported(traded, tmp_path / "older.csv", of_fills(older))
    assert code == 0, output
    traded.tick(AT + BAR)
    assert_true(newest(traded.installation, "positions", "sol", AT + BAR), desk)

    wrong = [replace(older[0], price=older[0].price * 2), *older[1:]]
    code, output = imported(traded, tmp_path / "wrong.csv", of_orders(wrong))
    assert (code, older[0].order_id in output) == (REFUSED, True), output
    traded.tick(AT + 2 * BAR)
    assert_true(newest(traded.installation, "positions", "sol", AT + 2 * BAR), desk)


def assert_true(row: dict[str, object], desk: TradingDesk) -> None:
    """A row tells what the exchange knows: all base is the grid's, for the account began with quote alone."""
    held = float(desk.balances.available("SOL") + desk.balances.held("SOL"))
    paid = float(desk.balances.available("USDT") + desk.balances.held("USDT")) - 1000.0
    assert row["position_unknown"] is None
    assert (row["source"], row["inventory_base"]) == ("exchange", pytest.approx(held, abs=1e-9))
    assert row["total_pnl_quote"] == pytest.approx(paid + held * float(str(row["price"])), abs=1e-6)


def of_fills(trades: list[Trade]) -> list[str]:
    """KuCoin's export of fills."""
    heading = (
        "UID,Account Type,Order ID,Symbol,Side,Order Type,Avg. Filled Price,Filled Amount,Filled Volume,"
        "Filled Volume (USDT),Filled Time(UTC+00:00),Fee,Tax,Maker/Taker,Fee Currency,Account Mode"
    )
    rows = [
        f"1,mainAccount,{trade.order_id},SOL-USDT,{trade.side.value.upper()},LIMIT,{trade.price},{trade.size},"
        f"{trade.funds},{trade.funds},{from_ms(trade.at_ms):%Y-%m-%d %H:%M:%S},{trade.fee},,MAKER,USDT,CLASSIC"
        for trade in trades
    ]
    return [heading, *rows]


def of_orders(trades: list[Trade]) -> list[str]:
    """KuCoin's export of orders, each filled by one trade."""
    heading = (
        "UID,Account Type,Order ID,Order Time(UTC),Symbol,Side,Order Type,Order Price,Order Amount,Avg. Filled Price,"
        "Filled Amount,Filled Volume,Filled Volume (USDT),Filled Time(UTC),Fee,Fee Currency,Status"
    )
    rows = []
    for trade in trades:
        at, whole = f"{from_ms(trade.at_ms):%Y-%m-%d %H:%M:%S}", f"{trade.price},{trade.size}"
        rows.append(
            f"1,mainAccount,{trade.order_id},{at},SOL-USDT,{trade.side.value.upper()},LIMIT,{whole},{whole},"
            f"{trade.funds},{trade.funds},{at},{trade.fee},USDT,deal"
        )
    return [heading, *rows]


def imported(traded: Traded, file: Path, lines: list[str]) -> tuple[int, str]:
    """Exit code and output of ``mm import-fills``."""
    file.write_text("\n".join(lines) + "\n")
    home = traded.installation.home
    with suppress(
        FileExistsError
    ):  # commands keep paper markets in a folder of the home, and this installation does not
        (home / "paper").symlink_to(home)
    group = LazyGroup("mm", commands_at={"import-fills": "mm_pipeline.cli.operator.import_fills:import_fills"})
    told = ["import-fills", str(file), "--grid", "sol", "--settings", str(traded.installation.settings_file)]
    result = CliRunner().invoke(group, told, env={"MM_HOME": str(home)})
    return result.exit_code, result.output
