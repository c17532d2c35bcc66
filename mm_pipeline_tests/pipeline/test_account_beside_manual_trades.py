"""Thirty days of a grid, its operator's own trades beside it: read back over HTTP, equal to what the exchange knows."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from mm_pipeline.adapters.account import MemoryFills
from mm_pipeline.domain.account import FillRole, fills_of_grid, position_of
from mm_pipeline.paper.trading.desk import TradingDesk
from mm_pipeline.paper.trading.orders import Trade
from mm_pipeline_tests.account_samples import (
    MARKET,
    NOW,
    STARTED,
    account_policy,
    paper_with,
    reader,
    signing_client,
    traded_grid,
    trading_account,
)

MANUAL = {
    2: [("market", "buy", 0.25, None)],
    6: [("market", "sell", 0.1, None), ("limit", "buy", 0.2, 0.985)],
    13: [("limit", "sell", 0.05, 1.004), ("market", "buy", 0.3, None)],
    21: [("market", "sell", 0.33, None), ("limit", "sell", 0.03, 1.5)],
    27: [("market", "buy", 0.0123, None)],
}
"""By day: kind, side, quantity, and the price of a limit order as a share of the one then."""


def bots_trades(desk: TradingDesk, grid_id: str) -> list[Trade]:
    own = {order.order_id for order in desk.orders if order.ticket.client_oid.startswith(f"{grid_id}-")}
    return [trade for trade in desk.trades if trade.order_id in own]


@pytest.mark.parametrize("seed", [3, 5, 8, 11])
def test_thirty_days_beside_manual_trades_are_told_as_the_exchange_knows_them(seed: int) -> None:
    grid = traded_grid(seed)
    account = trading_account(grid, balances={"USDT": "4000", "ETH": "0.5"})
    with paper_with(account, seed=seed, at=STARTED) as paper:
        client = signing_client(paper)
        for day, orders in MANUAL.items():
            paper.clock.stand_at(STARTED + timedelta(days=day, hours=5))
            price = paper.state()["markets"][0]["last_price"]
            for kind, side, quantity, share in orders:
                limit = None if share is None else round(price * share, 2)
                client.create_order(MARKET.symbol, kind, side, quantity, limit)
        client.session.close()
        paper.clock.stand_at(NOW)
        reading = reader(paper, MemoryFills()).read(MARKET, start_ms=grid.started_at_ms)
        (desk,) = paper.desks
        truth = bots_trades(desk, grid.id)
        manual = len(desk.trades) - len(truth)

    held = sum((trade.size if trade.side == "buy" else -trade.size for trade in truth), Decimal(0))
    paid = sum((-trade.funds if trade.side == "buy" else trade.funds for trade in truth), Decimal(0))
    fees = sum((trade.fee for trade in truth), Decimal(0))
    policy, steps = account_policy(), reading.increments
    mine = fills_of_grid(grid, reading.fills, reading.orders, policy=policy, increments=steps)
    told = position_of(
        grid, reading.fills, reading.orders, reading.balances, reading.bid, policy=policy, increments=steps
    )

    assert (len(truth) > 15, manual >= 6, len(reading.fills)) == (True, True, len(truth) + manual)
    assert {fill.order_id for fill in mine.fills} == {trade.order_id for trade in truth}
    assert set(mine.roles) <= {FillRole.LADDER, FillRole.START, FillRole.STOP}
    assert (told.fills, told.foreign_fills, told.doubts) == (len(truth), manual, ())
    assert told.inventory_base == pytest.approx(float(held), abs=1e-12)
    assert told.fees_quote == pytest.approx(float(fees), abs=1e-9)
    pnl = float(paid - fees) + float(held) * reading.bid
    assert told.total_pnl_quote == pytest.approx(pnl, abs=1e-9)
    assert told.locked_base == pytest.approx(float(held), abs=1e-9)
