"""A paper account at work: places and cancels orders, books fills, fees and flows. The wire is elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from decimal import Decimal

from mm_pipeline.domain.account import Side
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.markets.market_data import MarketData
from mm_pipeline.paper.trading.account import Balances, FeeIn, PaperAccount
from mm_pipeline.paper.trading.ledger import Ledger, LedgerEntry
from mm_pipeline.paper.trading.market import TradedMarket
from mm_pipeline.paper.trading.orders import ZERO, Order, OrderStatus, OrderTicket, Trade, floored

_FEE_GRAIN = Decimal("1e-10")


class TradingDesk:
    """One account on the markets of its exchange. Thread-safe: every public method holds the lock.

    Time passes only when it is asked: :meth:`advance` plays every market up to the clock, and so fills what was
    touched meanwhile.

    Parameters
    ----------
    account
        Keys, balances, fees.
    markets
        By the exchange's symbol (``ETH-USDT``).
    clock
        The exchange's time.

    Attributes
    ----------
    balances
        What the account holds now.
    """

    def __init__(self, account: PaperAccount, markets: Mapping[str, MarketData], clock: PaperClock) -> None:
        self.account = account
        self.balances = Balances(account.balances)
        self.lock = threading.RLock()
        self._clock = clock
        self._markets = {symbol: TradedMarket(data, execute=self._execute) for symbol, data in markets.items()}
        self._orders: dict[str, Order] = {}
        self._trades: list[Trade] = []
        self._ledger = Ledger(self.balances)

    @property
    def orders(self) -> list[Order]:
        """Every order, oldest first."""
        return list(self._orders.values())

    @property
    def trades(self) -> list[Trade]:
        """Every trade, oldest first."""
        return list(self._trades)

    @property
    def ledger(self) -> list[LedgerEntry]:
        """Every change of a balance, oldest first."""
        return self._ledger.entries()

    def market(self, symbol: str) -> TradedMarket:
        """One market by the exchange's symbol; ``KeyError`` where it is not listed."""
        return self._markets[symbol]

    def symbols(self) -> list[str]:
        """The exchange's symbols."""
        return list(self._markets)

    def advance(self) -> None:
        """Let everything happen that has happened by the clock."""
        with self.lock:
            now_ms = self._clock.now_ms()
            for market in self._markets.values():
                market.play(now_ms)

    def move(
        self, currency: str, amount: Decimal, *, at_ms: int | None = None, is_external: bool = False
    ) -> LedgerEntry:
        """Move an amount into the trading account (positive), or out of what is available there (negative).

        Parameters
        ----------
        at_ms
            When; everything before it happens first. None for now.
        is_external
            Whether it is a deposit or a withdrawal, and no transfer from or to the funding account.

        Raises
        ------
        BalanceInsufficient
            When less than that is available.
        ConfigError
            For an amount of nothing, and for a time that has passed already or is yet to come.
        """
        with self.lock:
            now_ms = self._clock.now_ms()
            at_ms = now_ms if at_ms is None else at_ms
            played_ms = max((market.now_ms for market in self._markets.values()), default=at_ms)
            if not played_ms <= at_ms <= now_ms:
                raise ConfigError(
                    f"{currency} cannot be moved at {at_ms}: the account stands at {played_ms}, the clock at {now_ms}.",
                    "Move amounts in the order of time, and none ahead of the clock.",
                )
            if not amount:
                raise ConfigError(f"0 {currency} cannot be moved.", "Give an amount, negative to take it out.")
            for market in self._markets.values():
                market.play(at_ms)
            self.balances.spend(currency, -amount)
            self._ledger.book_flow(currency, amount, at_ms=at_ms, is_external=is_external)
            return self._ledger.entries()[-1]

    def place(self, ticket: OrderTicket, *, on_filled: Callable[[Order], None] | None = None) -> Order:
        """Place an order where the market stands; what the market has already reached fills at once, as taker.

        Raises
        ------
        BalanceInsufficient
            When the account cannot stand behind it.
        """
        with self.lock:
            market = self.market(ticket.symbol)
            number = len(self._orders) + 1
            order = Order(
                order_id=f"{number:024x}",
                number=number,
                ticket=ticket,
                created_ms=market.now_ms,
                updated_ms=market.now_ms,
                on_filled=on_filled,
            )
            self.balances.hold(self._spent_currency(order), self._needed(order, market.price))
            order.held = self._needed(order, market.price)
            self._orders[order.order_id] = order
            if is_marketable(ticket, market.price):
                self._book(order, order.remaining, market.price, at_ms=market.now_ms, is_maker=False)
            else:
                market.resting.add(order)
            return order

    def cancel(self, order_id: str) -> Order | None:
        """Cancel an open order; None where there is no such open order."""
        with self.lock:
            order = self._orders.get(order_id)
            if order is None or order.status is not OrderStatus.OPEN:
                return None
            market = self.market(order.ticket.symbol)
            market.withdraw(order)
            self._close(order, OrderStatus.CANCELLED, market.now_ms)
            return order

    def _execute(self, order: Order, price: float, at_ms: int, bar: int) -> None:
        """Fill a resting order as the account's part fills say."""
        parts = self.account.part_fills
        size = floored(order.ticket.size / parts.parts, self._base_increment(order)) if parts.parts > 1 else ZERO
        while order.status is OrderStatus.OPEN:
            is_last = not 0 < size <= order.remaining - size
            self._book(order, order.remaining if is_last else size, price, at_ms=at_ms, is_maker=True)
            if order.status is OrderStatus.OPEN and not parts.is_at_once:
                self.market(order.ticket.symbol).wait_for_next_bar(order)
                return

    def _book(self, order: Order, size: Decimal, price: float, *, at_ms: int, is_maker: bool) -> None:
        exact = order.limit_price if is_maker else Decimal(str(price))
        trade = self._settled(order, size, exact, at_ms=at_ms, is_maker=is_maker)
        self._trades.append(trade)
        order.fee, order.fee_currency, order.updated_ms = order.fee + trade.fee, trade.fee_currency, at_ms
        order.fee_base += trade.fee if trade.fee_currency == _base_of(order) else ZERO
        order.filled, order.filled_funds = order.filled + size, order.filled_funds + trade.funds
        if order.remaining > 0:
            return
        if order.ticket.price is not None:
            self.market(order.ticket.symbol).withdraw(order)
        self._close(order, OrderStatus.FILLED, at_ms)
        if order.on_filled is not None:
            order.on_filled(order)

    def _settled(self, order: Order, size: Decimal, price: Decimal, *, at_ms: int, is_maker: bool) -> Trade:
        """Exchange the amounts and pay the fee."""
        ticket, fees = order.ticket, self.account.fees
        freed = order.held * size / order.remaining if size < order.remaining else order.held
        order.held -= freed
        self.balances.release(self._spent_currency(order), freed)
        base, quote = ticket.symbol.split("-")
        amounts = ((quote, price * size), (base, size))
        given, received = amounts if ticket.side is Side.BUY else amounts[::-1]
        self.balances.spend(*given)
        self.balances.add(*received)
        rate = fees.maker_rate if is_maker else fees.taker_rate
        currency, fee = self._pay_fee(quote, received, price * size, rate)
        trade = Trade(
            number=len(self._trades) + 1,
            order_id=order.order_id,
            symbol=ticket.symbol,
            side=ticket.side,
            price=price,
            size=size,
            fee=fee,
            fee_rate=rate,
            fee_currency=currency,
            is_maker=is_maker,
            is_limit=ticket.price is not None,
            at_ms=at_ms,
            api=ticket.api,
        )
        self._ledger.book_trade(trade)
        return trade

    def _pay_fee(self, quote: str, received: tuple[str, Decimal], funds: Decimal, rate: Decimal) -> tuple[str, Decimal]:
        """Pay the fee of a trade; its currency and amount."""
        fees = self.account.fees
        if fees.fee_in is FeeIn.RECEIVED:
            currency, fee = received[0], received[1] * rate
        elif fees.fee_in is FeeIn.THIRD:
            currency, fee = fees.third_currency, (funds * rate / fees.third_price_quote).quantize(_FEE_GRAIN)
            if fee > self.balances.available(currency):
                currency, fee = quote, funds * rate
        else:
            currency, fee = quote, funds * rate
        self.balances.spend(currency, fee)
        return currency, fee

    def _close(self, order: Order, status: OrderStatus, at_ms: int) -> None:
        self.balances.release(self._spent_currency(order), order.held)
        order.held, order.status, order.updated_ms = ZERO, status, at_ms

    def _needed(self, order: Order, price: float) -> Decimal:
        """What must stand behind an order: a sell's base; a buy's funds, and its fee where that may be quote."""
        ticket = order.ticket
        if ticket.side is Side.SELL:
            return ticket.size
        funds = ticket.size * (Decimal(str(price)) if ticket.price is None else ticket.price)
        fees = self.account.fees
        return funds if fees.fee_in is FeeIn.RECEIVED else funds * (1 + max(fees.maker_rate, fees.taker_rate))

    def _spent_currency(self, order: Order) -> str:
        base, quote = order.ticket.symbol.split("-")
        return quote if order.ticket.side is Side.BUY else base

    def _base_increment(self, order: Order) -> float:
        return self.market(order.ticket.symbol).data.paper.base_increment


def _base_of(order: Order) -> str:
    return order.ticket.symbol.split("-")[0]


def is_marketable(ticket: OrderTicket, price: float) -> bool:
    """Whether an order fills at once at this price."""
    if ticket.price is None:
        return True
    return float(ticket.price) >= price if ticket.side is Side.BUY else float(ticket.price) <= price
