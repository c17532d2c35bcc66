"""A KuCoin account as it stands now: its fills, read once and kept, its orders, balances and prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from mm_pipeline.adapters.account.credentials import Credentials
from mm_pipeline.adapters.account.kucoin_client import FillsPage, KeyInfo, KucoinAccountClient
from mm_pipeline.adapters.candle_sources.asking import Asking
from mm_pipeline.adapters.candle_sources.exchange_session import ExchangeSession
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.domain.account import (
    AccountFill,
    AccountPolicy,
    Balance,
    FillStore,
    Increments,
    OpenOrder,
    ReadSpan,
)
from mm_pipeline.domain.candles import CircuitStore, ExchangePolicy
from mm_pipeline.domain.errors import ConfigError, MarketNotFound
from mm_pipeline.domain.market import Market

KUCOIN = "kucoin"
GENERAL = "General"
"""The one permission that reading needs."""


@dataclass(frozen=True, kw_only=True)
class AccountReading:
    """An account as far as one market concerns it.

    Attributes
    ----------
    account
        Its name in the fill store.
    market
        Whose fills and orders.
    read_at_ms
        Exchange's time, up to which fills are told.
    fills, orders, balances
        Every fill kept, the market's resting orders, and all spot balances. They were asked for one after the other: a
        fill in between may be in the balances and not yet among the fills.
    increments
        The symbol's steps.
    bid, prices
        The market's bid, and last prices of currencies in its quote.
    new_fills
        How many fills were not kept before.
    """

    account: str
    market: Market
    read_at_ms: int
    fills: tuple[AccountFill, ...]
    orders: tuple[OpenOrder, ...]
    balances: tuple[Balance, ...]
    increments: Increments
    bid: float
    prices: dict[str, float]
    new_fills: int


class ExchangeAccount:
    """Reads an account on KuCoin within the exchange's limits; what was read is never asked for again.

    Fills are asked for in windows of at most ``account.window``, and each window is kept as soon as it is whole: a
    process that dies goes on where it was. Only the last ``account.overlap`` is asked for again, for fills that were
    listed late.

    Parameters
    ----------
    exchange
        ``kucoin``: how others tell a key's permissions is not known here.
    credentials
        Of the account.
    policy, exchange_policy
        What is read and how it is asked for.
    clock
        The pipeline's clock.
    circuits
        Where the circuit's state outlives this process; shared with the candles of the exchange.
    fills
        Where fills are kept.
    base_url
        Address in place of all of the exchange's own (the paper exchange on loopback).
    wall
        Real time for the circuit.

    Raises
    ------
    ConfigError
        For another exchange.
    """

    def __init__(
        self,
        exchange: str,
        credentials: Credentials,
        *,
        policy: AccountPolicy,
        exchange_policy: ExchangePolicy,
        clock: Clock,
        circuits: CircuitStore,
        fills: FillStore,
        base_url: str | None = None,
        wall: Clock | None = None,
    ) -> None:
        if exchange != KUCOIN:
            raise ConfigError(
                f"accounts on {exchange} cannot be read.", "Import its fills (mm import-fills), or go by the model."
            )
        self._policy = policy
        self._clock = clock
        self._fills = fills
        self._key: KeyInfo | None = None

        def open_client() -> KucoinAccountClient:
            return KucoinAccountClient(
                credentials,
                order_api=policy.order_api,
                clock=clock,
                timeout_s=exchange_policy.request_timeout.total_seconds(),
                base_url=base_url,
            )

        self._session = ExchangeSession(
            exchange, policy=exchange_policy, clock=clock, circuits=circuits, open_client=open_client, wall=wall
        )

    @property
    def requests_made(self) -> int:
        """HTTP requests sent, repetitions included."""
        return self._session.requests_made

    def check_key(self) -> KeyInfo:
        """Whose the key is and what it may do; asked once.

        Raises
        ------
        ConfigError
            When it may do more than read and the settings do not allow that.
        KeyRefused, ClockSkewed
            When the exchange does not take it.
        CandleSourceError
            When the exchange cannot be asked.
        """
        return self._session.run(self._checked_key, closes_circuit=False)

    def read(self, market: Market, *, start_ms: int) -> AccountReading:
        """Read the account, fills of the market from ``start_ms`` on.

        Raises
        ------
        ConfigError, KeyRefused, ClockSkewed
            See :meth:`check_key`.
        MarketNotFound, CircuitOpen, DeadlineExceeded, RateLimited, ExchangeUnavailable, MalformedAnswer
            Windows that were read in full before are kept all the same.
        ConflictingFills, StorageError
            When the store cannot take what was read.
        """

        def task(asking: Asking[KucoinAccountClient]) -> AccountReading:
            key = self._checked_key(asking)
            client, symbol = asking.client, market.symbol
            if symbol not in asking.ask("its symbols", client.symbols):
                raise MarketNotFound(f"{KUCOIN} does not list {symbol}.", "Check the spelling; it may be delisted.")
            now_ms = self._clock.now_ms() + client.offset_ms
            new_fills = self._update_fills(asking, key.account, market, start_ms=start_ms, end_ms=now_ms + 1)
            orders = asking.ask(
                f"open orders of {symbol}", lambda: client.open_orders(symbol, rows=self._policy.page_rows)
            )
            balances = asking.ask("balances", client.balances)
            prices = asking.ask("prices", lambda: client.prices(symbol))
            return AccountReading(
                account=key.account,
                market=market,
                read_at_ms=now_ms,
                fills=tuple(self._fills.fills(key.account, market)),
                orders=orders,
                balances=balances,
                increments=client.increments(symbol),
                bid=prices.bid,
                prices=prices.last,
                new_fills=new_fills,
            )

        return self._session.run(task, closes_circuit=True)

    def _checked_key(self, asking: Asking[KucoinAccountClient]) -> KeyInfo:
        reading = self._session.check_clock(asking)
        asking.client.offset_ms = reading.offset_ms or 0
        if self._key is None:
            key = asking.ask("the API key's permissions", asking.client.key_info)
            more = sorted(key.permissions - {GENERAL})
            if more and not self._policy.allow_trading_key:
                raise ConfigError(
                    f"the API key may do more than read: {', '.join(more)}.",
                    f"Make one with the {GENERAL} permission alone, or set account.allow_trading_key.",
                    key="account.allow_trading_key",
                )
            self._key = key
        return self._key

    def _update_fills(
        self, asking: Asking[KucoinAccountClient], account: str, market: Market, *, start_ms: int, end_ms: int
    ) -> int:
        added = 0
        for window, span in self._windows(self._fills.span(account, market), start_ms, end_ms):
            found = self._read_window(asking, market.symbol, window)
            added += self._fills.append(account, market, found, span=span)
        return added

    def _read_window(self, asking: Asking[KucoinAccountClient], symbol: str, window: ReadSpan) -> list[AccountFill]:
        def page_at(place: int | None) -> FillsPage:
            start_ms, end_ms, rows = window.start_ms, window.end_ms, self._policy.page_rows
            return asking.client.fills(symbol, start_ms=start_ms, end_ms=end_ms, rows=rows, page=place)

        page = asking.ask(f"fills of {symbol}", partial(page_at, None))
        found = [*page.fills]
        while page.next_page is not None:
            page = asking.ask(f"fills of {symbol}", partial(page_at, page.next_page))
            found += page.fills
        return found

    def _windows(self, known: ReadSpan | None, start_ms: int, end_ms: int) -> Iterator[tuple[ReadSpan, ReadSpan]]:
        """Windows to ask for, each with what will have been read in full after it.

        What lies before the known span is asked for from its beginning backwards, so that no hole is left in between.
        """
        length_ms = _ms(self._policy.window.total_seconds())
        if known is None:
            known = ReadSpan(start_ms, start_ms)
        at_ms = known.start_ms
        while at_ms > start_ms:
            window = ReadSpan(max(start_ms, at_ms - length_ms), at_ms)
            at_ms = window.start_ms
            yield window, ReadSpan(at_ms, known.end_ms)
        first_ms = min(start_ms, known.start_ms)
        at_ms = max(first_ms, known.end_ms - _ms(self._policy.overlap.total_seconds()))
        while at_ms < end_ms:
            window = ReadSpan(at_ms, min(at_ms + length_ms, end_ms))
            at_ms = window.end_ms
            yield window, ReadSpan(first_ms, max(at_ms, known.end_ms))


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
