"""One market of a paper account: orders rest there and fill as the market's own price path touches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mm_pipeline.domain.account import Side
from mm_pipeline.paper.markets.market_data import MarketData
from mm_pipeline.paper.markets.price_path import Leg, PricePlayer
from mm_pipeline.paper.trading.orders import Order, RestingOrders

Execute = Callable[[Order, float, int, int], None]
"""(order, price, at ms, number of the bar): fill the order or its next part."""


@dataclass(frozen=True, eq=False)
class PriceWatch:
    """Calls back once, when the price falls to a limit or below."""

    price: float
    on_touch: Callable[[], None]


class TradedMarket:
    """Matches the resting orders of one account with one market's price path.

    A level is filled when touched, at its own price, whatever its size: the account is too small to move the market.
    Two orders that one leg touches fill in the order in which the price reaches them. Resting buys at or above a
    watched price fill before the watch is told; on the jump between two bars it is told at the open.

    Parameters
    ----------
    data
        The market.
    execute
        Books a fill. It may place and cancel orders here.

    Attributes
    ----------
    price, now_ms, bar
        Where the path has come to: quote, epoch milliseconds, number of the bar.
    """

    def __init__(self, data: MarketData, *, execute: Execute) -> None:
        self.data = data
        self.resting = RestingOrders()
        self.price = data.corners(0)[0]
        self.now_ms = data.open_ms(0)
        self.bar = 0
        self._execute = execute
        self._player = PricePlayer(data)
        self._watches: list[PriceWatch] = []
        self._waiting: list[Order] = []
        self._openings: list[tuple[int, Callable[[], None]]] = []

    def play(self, until_ms: int) -> None:
        """Move the price on to a moment; a moment that has passed changes nothing."""
        for leg in self._player.legs(until_ms):
            self.bar = leg.bar
            if leg.is_gap:
                self._jump(leg)
            else:
                self._walk(leg)
        self.now_ms = max(self.now_ms, until_ms)

    def at_open(self, from_ms: int, callback: Callable[[], None]) -> None:
        """Call back at the open of the first bar that opens at or after a moment and has not been played."""
        self._openings.append((from_ms, callback))

    def watch(self, price: float, on_touch: Callable[[], None]) -> PriceWatch:
        """Call back when the price is at or below a limit: at once where it is there already."""
        watch = PriceWatch(price, on_touch)
        self._watches.append(watch)
        self._tell_watches()
        return watch

    def unwatch(self, watch: PriceWatch) -> None:
        """Forget a watch; one that was told already is left in peace."""
        self._watches = [other for other in self._watches if other is not watch]

    def wait_for_next_bar(self, order: Order) -> None:
        """Take an order off until the next bar opens."""
        self.resting.remove(order)
        self._waiting.append(order)

    def withdraw(self, order: Order) -> None:
        """Take an order off for good."""
        self.resting.remove(order)
        self._waiting = [other for other in self._waiting if other is not order]

    def _jump(self, leg: Leg) -> None:
        self._fill_on(leg)
        self._tell_watches()
        waiting, self._waiting = self._waiting, []
        for order in waiting:
            self.resting.add(order)
        self._fill_both_sides()
        due = [entry for entry in self._openings if entry[0] <= leg.to_ms]
        self._openings = [entry for entry in self._openings if entry not in due]
        for _, callback in due:
            callback()

    def _walk(self, leg: Leg) -> None:
        while leg.end < leg.start and (watch := self._nearest_watch()) is not None and watch.price >= leg.end:
            self._fill_on(leg, down_to=watch.price)
            self._move_to(watch.price, leg.at_ms(watch.price))
            self._tell_watches()
        self._fill_on(leg)
        self._tell_watches()

    def _fill_on(self, leg: Leg, *, down_to: float | None = None) -> None:
        """Fill what rests on the way of a leg and come to its end, or only down to a price."""
        side = Side.SELL if leg.end > leg.start else Side.BUY
        end = leg.end if down_to is None else down_to
        while (order := self.resting.touched(end, side=side)) is not None:
            price = float(order.limit_price)
            self._move_to(price, leg.at_ms(price))
            self._execute(order, price, self.now_ms, self.bar)
        if down_to is None:
            self._move_to(leg.end, leg.to_ms)

    def _fill_both_sides(self) -> None:
        """Fill parts that waited for this bar and that the price has passed meanwhile; each takes one."""
        for side in Side:
            while (order := self.resting.touched(self.price, side=side)) is not None:
                self._execute(order, float(order.limit_price), self.now_ms, self.bar)

    def _nearest_watch(self) -> PriceWatch | None:
        return max(self._watches, key=lambda watch: watch.price, default=None)

    def _tell_watches(self) -> None:
        while (watch := self._nearest_watch()) is not None and watch.price >= self.price:
            self.unwatch(watch)
            watch.on_touch()

    def _move_to(self, price: float, at_ms: int) -> None:
        self.price = price
        self.now_ms = max(self.now_ms, at_ms)
