"""The exchange's own grid bot on a paper account: places a declared grid's orders and replaces them as they fill.

It trades as SPEC 7's simulation does, in the symbol's increments: buys at its levels rounded down, sells at its levels
rounded up, quantities rounded down. Nothing here knows the wire; the orders are seen there like any others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal

from mm_pipeline.domain.account import Side
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.position import GridLadder
from mm_pipeline.paper.trading.account import BalanceInsufficient
from mm_pipeline.paper.trading.desk import TradingDesk
from mm_pipeline.paper.trading.orders import ZERO, Order, OrderStatus, OrderTicket, floored, raised

_logger = logging.getLogger(__name__)


class GridBot:
    """Trades one grid from the open of the first bar at or after its ``started_at`` until its stop.

    Intervals whose lower level is at or above that open are bought there at market, the highest first; the others
    wait in cash. When the price touches ``stop_loss`` every order is cancelled and what is held is sold at market,
    interval by interval, the lowest first.

    Parameters
    ----------
    grid
        The declaration.
    desk
        The account; an interval that it cannot pay for is left out, and a warning logged.

    Attributes
    ----------
    is_over
        Whether the stop has ended it.
    """

    def __init__(self, grid: Grid, desk: TradingDesk) -> None:
        self.grid = grid
        self.is_over = False
        self._desk = desk
        self._symbol = grid.symbol.replace("/", "-")
        self._market = desk.market(self._symbol)
        self._ladder = GridLadder.of(grid)
        paper = self._market.data.paper
        self._price_increment, self._base_increment = paper.price_increment, paper.base_increment
        self._held = [ZERO] * len(self._ladder.quantity_base)
        self._orders: dict[int, Order] = {}
        self._market.at_open(grid.started_at_ms, self._start)

    def _start(self) -> None:
        first_held = self._ladder.rung_at(self._market.price)
        for interval in reversed(range(first_held, len(self._held))):
            self._buy(interval, price=None)
        for interval in range(first_held):
            self._buy(interval, price=floored(float(self._ladder.levels[interval]), self._price_increment))
        if self.grid.stop_loss is not None:
            stop = floored(self.grid.stop_loss, self._price_increment)
            self._market.watch(float(stop), self._stop)

    def _buy(self, interval: int, *, price: Decimal | None) -> None:
        size = floored(float(self._ladder.quantity_base[interval]), self._base_increment)

        def filled(order: Order) -> None:
            self._held[interval] = order.filled - order.fee_base
            self._sell(interval, price=raised(float(self._ladder.levels[interval + 1]), self._price_increment))

        self._place(interval, Side.BUY, size, price, filled)

    def _sell(self, interval: int, *, price: Decimal | None) -> None:
        size = floored(self._held[interval], self._base_increment)

        def filled(order: Order) -> None:
            self._held[interval] -= order.filled
            if not self.is_over:
                self._buy(interval, price=floored(float(self._ladder.levels[interval]), self._price_increment))

        self._place(interval, Side.SELL, size, price, filled)

    def _place(
        self, interval: int, side: Side, size: Decimal, price: Decimal | None, filled: Callable[[Order], None]
    ) -> None:
        if size <= 0:
            return
        api = self._desk.account.order_api
        ticket = OrderTicket(
            symbol=self._symbol, side=side, size=size, price=price, api=api, client_oid=f"{self.grid.id}-{interval}"
        )
        try:
            order = self._desk.place(ticket, on_filled=filled)
            if order.status is OrderStatus.OPEN:  # one that filled at once has placed the next itself
                self._orders[interval] = order
        except BalanceInsufficient as problem:
            _logger.warning("grid %s leaves interval %d out: %s", self.grid.id, interval, problem)

    def _stop(self) -> None:
        self.is_over = True
        for interval, order in self._orders.items():
            if self._desk.cancel(order.order_id) is not None:
                part = order.filled - order.fee_base if order.ticket.side is Side.BUY else -order.filled
                self._held[interval] += part
        for interval in range(len(self._held)):
            self._sell(interval, price=None)
