"""What an account tells a real run beside the position: exits in any form, restarts, deposits, and its own gaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import floor
from typing import Any

import polars as pl
import pytest
import yaml

from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.domain.notifications import Notice, Response, ResponseKind
from mm_pipeline.domain.position.trading import GridLadder
from mm_pipeline_tests.account_samples import signing_client
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, check_of
from mm_pipeline_tests.notification_watch import WRITTEN_BY
from mm_pipeline_tests.traded_samples import AT, KEYS, Traded, first_bar_after, newest, sol_grid

pytestmark = DAGSTER_WARNINGS
BAR = timedelta(minutes=15)
MONTH = datetime(2025, 3, 1, tzinfo=UTC)


def paged(traded: Traded) -> datetime:
    """A tick at which the exit is told; its evaluation."""
    at = first_bar_after(pl.col("close") < sol_grid().lower * 0.985)
    traded.tick(at)
    assert told(traded) == [Notice.MANDATORY_EXIT]
    return at


def told(traded: Traded) -> list[Notice]:
    with traded.installation.journal() as journal:
        made = journal.notifications.decisions("sol")
    return [one.decision.notice for one in made if one.decision.is_told]


def answers(traded: Traded) -> list[ResponseKind]:
    with traded.installation.journal() as journal:
        return [one.response.kind for one in journal.responses.select("sol") if one.source == "account"]


def sell_all(traded: Traded, *shares: float) -> Any:
    """Cancel what rests and sell it all at market, in orders of these shares of what is held."""
    client = signing_client(traded.paper)
    client.cancel_all_orders("SOL/USDT")
    held = client.fetch_balance()["SOL"]["free"]
    for share in shares[:-1]:
        client.create_order("SOL/USDT", "market", "sell", round(held * share, 4))
    client.create_order("SOL/USDT", "market", "sell", client.fetch_balance()["SOL"]["free"])
    return client


@pytest.mark.parametrize("shares", [(1.0,), (0.6, 0.4)])
def test_operator_who_leaves_is_verified_and_paged_again_only_when_the_grid_trades_again(
    traded: Traded, shares: tuple[float, ...]
) -> None:
    at = paged(traded)
    client = sell_all(traded, *shares)
    traded.tick(at + BAR)
    assert answers(traded) == [ResponseKind.VERIFIED_FLAT]
    assert newest(traded.installation, "positions", "sol", at + BAR)["inventory_base"] == pytest.approx(0, abs=1e-3)
    traded.tick(at + 2 * BAR)
    assert told(traded) == [Notice.MANDATORY_EXIT]

    trade_again(traded, client)
    traded.tick(at + 3 * BAR)
    assert answers(traded) == [ResponseKind.VERIFIED_FLAT, ResponseKind.REOPENED]
    assert told(traded) == [Notice.MANDATORY_EXIT] * 2
    assert len(traded.pushover.messages) == 2


def test_exit_that_was_typed_with_two_decimals_is_verified_at_the_next_tick(traded: Traded) -> None:
    at = paged(traded)
    client = signing_client(traded.paper)
    client.cancel_all_orders("SOL/USDT")
    held = client.fetch_balance()["SOL"]["free"]
    sold = floor(held * 100) / 100
    assert 0.0 < held - sold < 0.01
    client.create_order("SOL/USDT", "market", "sell", sold)
    client.session.close()
    traded.tick(at + BAR)
    assert answers(traded) == [ResponseKind.VERIFIED_FLAT]
    row = newest(traded.installation, "positions", "sol", at + BAR)
    assert row["inventory_base"] == pytest.approx(held - sold, abs=1e-9)
    traded.tick(at + 2 * BAR)
    assert told(traded) == [Notice.MANDATORY_EXIT]


def test_exit_beside_own_coins_is_verified_by_a_second_reading(traded: Traded) -> None:
    at = paged(traded)
    client = signing_client(traded.paper)
    client.cancel_all_orders("SOL/USDT")
    client.create_order("SOL/USDT", "market", "sell", client.fetch_balance()["SOL"]["free"])
    client.session.close()
    (desk,) = traded.paper.desks
    desk.move("SOL", Decimal(1))  # as a buy that is listed late would look
    traded.tick(at + BAR)
    assert answers(traded) == []
    traded.tick(at + 2 * BAR)
    assert answers(traded) == [ResponseKind.VERIFIED_FLAT]


@pytest.mark.parametrize(("side", "verified"), [("buy", [ResponseKind.VERIFIED_FLAT]), ("sell", [])])
def test_exit_beside_orders_that_rest_takes_a_second_reading_and_none_of_them_at_a_level(
    traded: Traded, side: str, verified: list[ResponseKind]
) -> None:
    at = paged(traded)
    client, ladder = sell_all(traded, 1.0), GridLadder.of(sol_grid())
    (desk,) = traded.paper.desks
    desk.move("SOL", Decimal("0.3"))
    far_below = client.fetch_ticker("SOL/USDT")["last"] * 0.97
    price = round(far_below if side == "buy" else float(ladder.levels[3]), 2)
    client.create_order("SOL/USDT", "limit", side, 0.3, price)
    client.session.close()
    traded.tick(at + BAR)
    assert answers(traded) == []
    traded.tick(at + 2 * BAR)
    assert answers(traded) == verified


def test_half_that_was_sold_by_hand_is_gone_from_the_position(traded: Traded) -> None:
    at = paged(traded)
    client = signing_client(traded.paper)
    client.cancel_all_orders("SOL/USDT")
    held = client.fetch_balance()["SOL"]["free"]
    sold = round(held / 2, 4)
    client.create_order("SOL/USDT", "market", "sell", sold)
    client.session.close()
    traded.tick(at + BAR)
    first = newest(traded.installation, "positions", "sol", at + BAR)
    assert (first["inventory_base"], first["uncovered_base"]) == (None, pytest.approx(sold, abs=1e-6))
    assert f"the account holds {held - sold:,.6g} SOL" in first["position_unknown"]
    traded.tick(at + 2 * BAR)
    second = newest(traded.installation, "positions", "sol", at + 2 * BAR)
    assert second["inventory_base"] == pytest.approx(held - sold, abs=1e-6)
    assert second["position_unknown"] is None
    assert answers(traded) == []
    traded.tick(at + 3 * BAR)
    third = newest(traded.installation, "positions", "sol", at + 3 * BAR)
    assert third["inventory_base"] == pytest.approx(held - sold, abs=1e-6)


def test_grid_that_is_disabled_right_after_its_exit_is_verified_too(traded: Traded) -> None:
    at = paged(traded)
    sell_all(traded, 1.0).session.close()
    declared = sol_grid().model_dump(mode="json") | {"enabled": False}
    traded.installation.grid("sol", **{name: value for name, value in declared.items() if name != "id"})
    traded.tick(at + BAR)
    assert answers(traded) == [ResponseKind.VERIFIED_FLAT]


def test_account_that_cannot_be_read_any_more_is_told_while_it_vouches_for_a_closed_grid(
    traded: Traded, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = paged(traded)
    sell_all(traded, 1.0).session.close()
    traded.tick(at + BAR)
    for name in KEYS:
        monkeypatch.delenv(name)
    traded.tick(at + 2 * BAR)
    traded.tick(at + 3 * BAR)
    (alarm,) = unseen(traded)
    assert "exits are not paged" in alarm


def unseen(traded: Traded) -> list[str]:
    """Alarms that the account is not seen."""
    return [message.text for message in traded.pushover.messages if "ACCOUNT of sol is not seen" in message.title]


def trade_again(traded: Traded, client: Any = None) -> None:
    """Place the ladder's uppermost sell order, as a bot does that was started anew."""
    client = client or signing_client(traded.paper)
    quantity = floor(float(GridLadder.of(sol_grid()).quantity_base[-1]) * 1e4) / 1e4
    client.create_order("SOL/USDT", "market", "buy", round(1.1 * quantity, 4))
    client.create_order("SOL/USDT", "limit", "sell", quantity, round(float(sol_grid().level_prices()[-1]), 2))
    client.session.close()


def test_closed_grid_that_is_not_looked_for_in_its_account_any_more_is_told(traded: Traded) -> None:
    at = paged(traded)
    sell_all(traded, 1.0).session.close()
    traded.tick(at + BAR)
    file = traded.installation.settings_file
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | {"account": {"sources": ["modelled", "exchange"]}}))
    traded.tick(at + 2 * BAR)
    assert len(unseen(traded)) == 1


def test_closed_grid_whose_position_cannot_be_made_out_is_told(traded: Traded, monkeypatch: pytest.MonkeyPatch) -> None:
    at = paged(traded)
    sell_all(traded, 1.0).session.close()
    traded.tick(at + BAR)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such field")

    monkeypatch.setattr("mm_pipeline.application.account_positions.position_by", broken)
    traded.tick(at + 2 * BAR)
    (alarm,) = unseen(traded)
    assert "RuntimeError" in alarm


@pytest.mark.parametrize("is_said_flat", [False, True])
def test_grid_that_trades_again_is_paged_though_another_shares_its_levels_or_its_operator_says_flat(
    traded: Traded, *, is_said_flat: bool
) -> None:
    at = paged(traded)
    sell_all(traded, 1.0).session.close()
    traded.tick(at + BAR)
    trade_again(traded)
    if is_said_flat:
        said_at = at + 2 * BAR - timedelta(seconds=30)
        response = Response(grid="sol", at=said_at, kind=ResponseKind.FLAT)
        said = ResponseRecord(response=response, source="mm flat", by_whom="", recorded_at=said_at, **WRITTEN_BY)
        with traded.installation.journal() as journal:
            assert journal.responses.record([said])
    else:
        declared = sol_grid().model_dump(mode="json") | {"started_at": at.isoformat()}
        traded.installation.grid("twin", **{name: value for name, value in declared.items() if name != "id"})
    traded.tick(at + 2 * BAR)
    traded.tick(at + 3 * BAR)
    assert answers(traded) == [ResponseKind.VERIFIED_FLAT, ResponseKind.REOPENED]
    assert told(traded) == [Notice.MANDATORY_EXIT] * 2


def test_deposit_is_no_profit(traded: Traded) -> None:
    traded.tick(AT)
    before = newest(traded.installation, "positions", "sol", AT)
    assert before["net_flows_quote"] == 0.0
    assert before["net_flows_from"] > sol_grid().started_at, "the ledger reaches back three days"
    (desk,) = traded.paper.desks
    desk.move("USDT", Decimal(250))
    desk.move("USDT", Decimal(-30))
    traded.tick(AT + BAR)
    after = newest(traded.installation, "positions", "sol", AT + BAR)
    assert after["net_flows_quote"] == 220.0
    assert after["equity_quote"] == pytest.approx(1000.0 + 220.0 + after["total_pnl_quote"])
    assert abs(after["total_pnl_quote"] - before["total_pnl_quote"]) < 20
    assert after["account_total_quote"] == pytest.approx(before["account_total_quote"] + 220, abs=20)


def test_source_behind_the_model_is_not_asked(traded: Traded) -> None:
    file = traded.installation.settings_file
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | {"account": {"sources": ["modelled", "exchange"]}}))
    traded.tick(AT)
    assert newest(traded.installation, "positions", "sol", AT)["source"] == "modelled"


def test_backfill_keeps_what_the_account_showed_and_an_older_version_wrote(traded: Traded) -> None:
    for number in range(2):
        traded.tick(AT + number * BAR)
    store = traded.installation.store
    end = AT + timedelta(days=1)
    shown = store.read("positions", "sol", start=MONTH, end=end)
    assert shown["source"].to_list() == ["exchange"] * 2
    older = shown.drop("known_until", "modelled_inventory_base")
    store.write("positions", "sol", older, start=MONTH, end=datetime(2025, 4, 1, tzinfo=UTC))
    traded.tick(AT + 2 * BAR)
    kept = store.read("positions", "sol", start=MONTH, end=end)
    assert kept["source"].to_list() == ["exchange"] * 3
    assert kept["known_until"].null_count() == 2

    traded.installation.run(AT + 2 * BAR + timedelta(minutes=1), traded.instance, months=("2025-03", "2025-03"))
    whole = store.read("positions", "sol", start=MONTH, end=end)
    assert whole.filter(pl.col("source") == "exchange").equals(kept)
    assert whole.height > 700
    assert whole["evaluated_at"].is_sorted()
    assert whole["evaluated_at"].n_unique() == whole.height


def test_grids_with_shared_levels_are_told_and_no_fill_counts_twice(traded: Traded) -> None:
    declared = sol_grid().model_dump(mode="json") | {"started_at": "2025-03-13T00:00:00Z"}
    traded.installation.grid("twin", **{name: value for name, value in declared.items() if name != "id"})
    result = traded.tick(AT)
    agreement = check_of(result, "positions", "account_agrees")
    assert not agreement.passed
    assert "fit twin as well as another grid" in str(agreement.metadata["twin (shared levels)"].value)
    first, twin = (newest(traded.installation, "positions", grid, AT) for grid in ("sol", "twin"))
    assert (first["source"], twin["source"]) == ("exchange", "modelled")
    assert first["inventory_base"] is None
    assert "may be this grid's or another's" in first["position_unknown"]
