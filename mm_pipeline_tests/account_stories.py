"""An account on which several bots and an operator trade one market, and whose every coin is known.

Each fill, cancellation and transfer is a moment; a reading may take orders, balances and fills at different ones. What
the watchdog makes of a reading does not belong here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from mm_pipeline.adapters.account import AccountReading
from mm_pipeline.domain.account import Balance, EarlierRange, OpenOrder, Side
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline_tests.account_bots import LOOK_MS, MINUTE_MS, RATES, STEP, STEPS, Bot, Listed, Moment, floored
from mm_pipeline_tests.account_samples import MARKET, STARTED, fill


@dataclass
class Story:
    """What happens on the account; ``doubt`` names what nobody could tell from outside, as reasons."""

    bots: dict[str, Bot]
    own_base: float = 0.0
    now_ms: int = int(STARTED.timestamp() * 1000)
    fills: list[Listed] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    doubt: set[str] = field(default_factory=set)
    earlier: list[EarlierRange] = field(default_factory=list)
    orders_made: int = 0

    @property
    def total_base(self) -> float:
        return self.own_base + sum(bot.held_base for bot in self.bots.values())

    def _note(self, minutes: float = 0.0) -> None:
        self.now_ms += int(minutes * MINUTE_MS)
        orders = tuple(order for bot in self.bots.values() for order in bot.orders)
        held = {name: bot.held_base for name, bot in self.bots.items()}
        self.moments.append(Moment(self.now_ms, orders, self.total_base, held))

    def _named(self) -> str:
        self.orders_made += 1
        return f"order-{self.orders_made}"

    def _fill(  # noqa: PLR0917 - whose, what, and when it is listed
        self, owner: str | None, order_id: str, side: Side, price: float, quantity: float, fee_in: str, late: int
    ) -> None:
        """One execution, and what it did to the coins of its owner; no moment of its own yet."""
        self.now_ms += 1_000
        currency = "USDT" if fee_in == "ETH" and side is Side.SELL else fee_in
        fee = 0.001 * quantity * {"USDT": price, "ETH": 1.0, "KCS": price / RATES["KCS"]}[currency]
        number, place = len(self.fills) + 1, len(self.moments)
        made = fill(
            number,
            side.value,
            price,
            quantity,
            order_id=order_id,
            time_ms=self.now_ms,
            fee=fee,
            fee_currency=currency,
        )
        change = (quantity if side is Side.BUY else -quantity) - (fee if currency == "ETH" else 0.0)
        self.fills.append(Listed(made, place, place + late, owner, change))
        if owner is None:
            self.own_base += change
        else:
            self.bots[owner].held_base += change

    def start(self, name: str, price: float, fee_in: str, *, is_one_order: bool) -> None:
        """Buy what the bot lacks of the intervals above the price, and place its ladder."""
        bot = self.bots[name]
        wanted = [i for i, level in enumerate(bot.levels[:-1]) if level >= price]
        bot.holds = [i in wanted for i in range(len(bot.quantities))]
        lacking = [bot.quantities[i] for i in wanted]
        if bot.held_base:
            lacking = [floored(max(0.0, sum(lacking) - bot.held_base))]
        bot.is_running = True
        if any(bot.is_like(other) for other in self.bots.values() if other is not bot):
            self.doubt.add("grids with an interval in common")
        for size in [sum(lacking)] if is_one_order else lacking:
            if size >= 0.1 * min(bot.quantities):  # exchanges take no smaller order
                if any(abs(size / one - 1) < 0.03 for other in self._others(name) for one in other.quantities):
                    self.doubt.add("a start like another grid's order")
                self._fill(name, self._named(), Side.BUY, price, size, fee_in, 0)
                self._note()
        self._place(bot)
        self._note()

    def is_open(self, name: str) -> bool:
        """Whether another bot has an interval like one of this bot's, and not both of them hold or wait."""
        return any(self.bots[name].holds_unlike(other) for other in self._others(name))

    def _others(self, *names: str) -> list[Bot]:
        return [bot for name, bot in self.bots.items() if name not in names]

    def restart(self, name: str, price: float, shift: float, fee_in: str, minutes: float) -> None:
        """The bot begins anew on a ladder that may be another, with the coins that it held."""
        self._note(minutes)
        if "sold by hand" in self.doubt:
            self.doubt.add("a new start after a sale by hand")
        bot = self.bots[name]
        if any(bot.is_like(other) for other in self._others(name)):
            self.doubt.add("a new start beside a grid like it")
        bot.orders.clear()
        self.now_ms += 1_000
        self.earlier.append(EarlierRange(bot.grid, self.now_ms))
        changes = {
            "lower": bot.grid.lower + shift,
            "upper": bot.grid.upper + shift,
            "stop_loss": bot.grid.stop_price + shift,
            "started_at": from_ms(self.now_ms),
            "initial_base": max(0.0, bot.held_base),
        }
        bot.grid = Grid.model_validate(bot.grid.model_dump() | changes)
        self._note()
        self.start(name, price, fee_in, is_one_order=True)

    def _place(self, bot: Bot) -> None:
        for interval in range(len(bot.holds)):
            self._place_one(bot, interval)

    def _place_one(self, bot: Bot, interval: int) -> None:
        is_held = bot.holds[interval]
        size = bot.quantities[interval]
        if is_held:  # what fees in base have left of it
            size = floored(min(size, bot.held_base - bot.locked_base))
        if size >= STEP:
            level = bot.levels[interval + 1] if is_held else bot.levels[interval]
            bot.orders.append(
                OpenOrder(
                    order_id=f"{self._named()}-of-{interval}",
                    symbol=MARKET.symbol,
                    time_ms=self.now_ms,
                    side=Side.SELL if is_held else Side.BUY,
                    price=round(level, 2),
                    quantity_base=size,
                    filled_base=0.0,
                )
            )

    def ladder(self, *, name: str, place: int, parts: Sequence[float], fee_in: str, late: int, better: float) -> None:
        """One of the bot's orders is filled in parts, each a moment; the other side is placed with the last."""
        bot = self.bots[name]
        if not bot.orders:
            return
        order = bot.orders.pop(place % len(bot.orders))
        interval = int(order.order_id.rpartition("-")[2])
        price = round(order.price * (1 + (better if order.side is Side.SELL else -better)), 2)
        filled = 0.0
        for share in [*parts, 1.0]:
            amount = floored(order.quantity_base * share) - filled if share < 1.0 else order.quantity_base - filled
            if amount < STEP / 2:
                continue
            filled += amount
            self._fill(name, order.order_id, order.side, price, amount, fee_in, late)
            if filled < order.quantity_base - STEP / 2:
                bot.orders.append(OpenOrder(**(vars(order) | {"filled_base": filled})))
                self._note()
                bot.orders.pop()
        bot.holds[interval] = order.side is Side.BUY
        self._place_one(bot, interval)
        self._note(1.0)

    def own(self, side: Side, price: float, quantity: float, fee_in: str, minutes: float) -> None:
        """The operator trades coins that are no bot's; sells no more than there are."""
        self._note(minutes)
        size = floored(quantity if side is Side.BUY else min(quantity, self.own_base))
        if size < STEP:
            return
        if self._looks_like_a_grids(side, size):
            self.doubt.add("an own order like a grid's")
        if side is Side.SELL and not all(bot.is_running for bot in self.bots.values()):
            self.doubt.add("an own sale beside a grid that stands still")
        self.doubt.add("own trades")
        self._fill(None, self._named(), side, price, size, fee_in, 0)
        self._note()

    def _looks_like_a_grids(self, side: Side, size: float) -> bool:
        """Whether an interval, a part of one, a start or an exit may be of this size."""
        for bot in self.bots.values():
            is_size = any(abs(size / one - 1) < 0.03 for one in bot.quantities)
            is_start = side is Side.BUY and self.now_ms < bot.grid.started_at_ms + LOOK_MS
            is_exit = side is Side.SELL and abs(size - bot.held_base) < max(0.1 * min(bot.quantities), STEP)
            if is_size or is_start or is_exit or size < max(bot.quantities):
                return True
        return False

    def leave(self, names: Sequence[str], shares: Sequence[float], price: float, decimals: int) -> None:
        """Cancel the orders of bots and sell shares of what they hold in orders over all of them."""
        together = [self.bots[name] for name in names]
        for bot in together:
            bot.is_running = False
            bot.orders.clear()
        self._note(2.0)
        for share in shares:
            held = {name: self.bots[name].held_base for name in names}
            size = math.floor(share * sum(held.values()) * 10**decimals + 1e-9) / 10**decimals
            if size < STEP or sum(held.values()) <= 0.0:
                continue
            if share < 1.0 and sum(bot.held_base > STEP for bot in self.bots.values()) > 1:
                self.doubt.add("a part sold by hand")
            if any(abs(size / one - 1) < 0.03 for bot in self.bots.values() for one in bot.quantities):
                self.doubt.add("an order by hand like a grid's")
            others = self._others(*names)
            like = [bot for bot in self.bots.values() if bot.has_level(price) and size < max(bot.quantities)]
            if len(self.bots) > 1 and like:
                self.doubt.add("an order by hand like a part of a grid's")
            if any(abs(bot.held_base - size) <= 0.1 * min(bot.quantities) for bot in others):
                self.doubt.add("an exit of another grid's size")
            order_id = self._named()
            for name, base in held.items():
                self._fill(name, order_id, Side.SELL, price, size * base / sum(held.values()), "USDT", 0)
            self._note()
        self.doubt.add("sold by hand")
        if self.own_base > 0.0:
            self.doubt.add("sold by hand beside own coins")

    def convert(self, share: float) -> None:
        """Free coins leave without a fill, own ones first; what rests behind orders cannot."""
        locked = sum(bot.locked_base for bot in self.bots.values())
        gone = share * max(0.0, self.total_base - locked)
        from_own = min(gone, self.own_base)
        self.own_base -= from_own
        gone -= from_own
        for bot in self.bots.values():
            taken = min(gone, max(0.0, bot.held_base - bot.locked_base))
            bot.held_base -= taken
            gone -= taken
            if taken > 0.0:
                self.doubt.add("coins of a grid converted")
        self._note(1.0)

    def deposit(self, quantity: float) -> None:
        """Coins of the operator's arrive without a fill."""
        self.own_base += quantity
        self.doubt.add("own coins")
        self._note(1.0)

    def read(self, gaps: Sequence[int]) -> tuple[AccountReading, list[int]]:
        """A reading up to the newest moment, and the moments of its orders, balances, fills and balances again.

        Parameters
        ----------
        gaps
            How many moments lie between orders, balances, fills and balances again; it ends at the newest.
        """
        newest = len(self.moments) - 1
        at_last = newest
        at_fills = max(0, at_last - gaps[2])
        at_balance = max(0, at_fills - gaps[1])
        at_orders = max(0, at_balance - gaps[0])
        told = [one.fill for one in self.fills if one.moment <= at_fills and one.listed <= at_fills]
        is_moved = any(one.moment > at_balance for one in self.fills if one.fill in told)
        balance = self.moments[at_last if is_moved else at_balance].balance_base
        reading = AccountReading(
            account="main",
            market=MARKET,
            read_at_ms=self.moments[at_fills].time_ms,
            fills=tuple(told),
            fills_from_ms=int((STARTED - timedelta(days=1)).timestamp() * 1000),
            orders=self.moments[at_orders].orders,
            balances=(Balance(currency="ETH", total=balance, available=balance, locked=0.0),),
            increments=STEPS,
            bid=115.0,
            prices=RATES,
            new_fills=0,
        )
        return reading, [at_orders, at_balance, at_fills, at_last]
