"""A KuCoin account as it stands now: its fills and flows, read once and kept, its orders, balances and prices."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from mm_pipeline.adapters.account.account_flows import read_flows
from mm_pipeline.adapters.account.account_state import AccountState, read_state
from mm_pipeline.adapters.account.credentials import Credentials
from mm_pipeline.adapters.account.kucoin_client import KeyInfo, KucoinAccountClient
from mm_pipeline.adapters.account.paging import Page, all_pages, windows
from mm_pipeline.adapters.account.reading import AccountReading
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.adapters.exchange.session import ExchangeSession
from mm_pipeline.domain.account import AccountFill, AccountPolicy, FillStore, OpenOrder, OrderApi, OrderApis, ReadSpan
from mm_pipeline.domain.candles import CircuitStore, ExchangePolicy
from mm_pipeline.domain.errors import ConfigError, ConflictingFlows, ExchangeError, MarketNotFound
from mm_pipeline.domain.market import Market

KUCOIN = "kucoin"
GENERAL = "General"
"""The one permission that reading needs."""
_STORED_AS = {OrderApis.HF: "", OrderApis.CLASSIC: "-classic", OrderApis.BOTH: "-both"}
"""What is kept of an account is of the order APIs that were asked: another setting begins anew."""
_logger = logging.getLogger(__name__)


class _Update(NamedTuple):
    """What came of asking for fills: how many are new, from when on all are told, and rows that lack something."""

    added: int
    from_ms: int
    without_fee: tuple[AccountFill, ...]
    problems: tuple[str, ...]


class ExchangeAccount:
    """Reads an account on KuCoin within the exchange's limits; what was read is never asked for again.

    Fills are asked for in windows of at most ``account.window``, and each window is kept as soon as it is whole: a
    process that dies goes on where it was. Only the last ``account.overlap`` is asked for again, for fills that were
    listed late.

    Flows are read after everything else in the same way, for a part of the deadline only: what is left over is read the
    next time, and a ledger that cannot be read leaves the rest of the reading as it is.

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
        Where the circuit's state outlives this process. It is the account's own: one that fails stops no candles.
    fills
        Where fills and flows are kept.
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
                fees=policy.fees,
                clock=clock,
                timeout_s=exchange_policy.request_timeout.total_seconds(),
                base_url=base_url,
            )

        self._session = ExchangeSession(
            exchange,
            policy=exchange_policy,
            clock=clock,
            circuits=circuits,
            open_client=open_client,
            wall=wall,
            circuit=f"account:{exchange}",
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

    def look(self, symbols: Sequence[str]) -> AccountState:
        """What the account shows of symbols, whatever the settings say of it; raises as :meth:`check_key`."""

        def task(asking: Asking[KucoinAccountClient]) -> AccountState:
            self._checked_key(asking)
            now_ms = self._clock.now_ms() + asking.client.offset_ms
            return read_state(asking, symbols, now_ms=now_ms + 1, policy=self._policy)

        return self._session.run(task, closes_circuit=False, opens_circuit=False)

    def read(self, market: Market, *, start_ms: int) -> AccountReading:
        """Read the account, fills of the market and flows from ``start_ms`` on.

        Whether flows could be read is to be seen by ``flows_until_ms``, and not by an error.

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
            account = self._checked_key(asking).account + _STORED_AS[self._policy.order_api]
            client, symbol = asking.client, market.symbol
            if symbol not in asking.ask("its symbols", client.symbols):
                raise MarketNotFound(f"{KUCOIN} does not list {symbol}.", "Check the spelling; it may be delisted.")
            orders = self._open_orders(asking, symbol)
            prices = asking.ask("prices", lambda: client.prices(symbol))
            weighed_ms = self._clock.now_ms() + client.offset_ms
            balances = asking.ask("balances", client.balances)
            now_ms = self._clock.now_ms() + client.offset_ms
            update = self._update_fills(asking, account, market, start_ms=start_ms, end_ms=now_ms + 1)
            fills = (*self._fills.fills(account, market), *update.without_fee)
            if any(fill.time_ms >= weighed_ms for fill in fills):  # it may have come before or after the balances
                balances = asking.ask("balances", client.balances)
            return AccountReading(
                account=account,
                market=market,
                read_at_ms=now_ms,
                fills=fills,
                fills_from_ms=update.from_ms,
                unreadable=update.problems,
                orders=orders,
                balances=balances,
                increments=client.increments(symbol),
                bid=prices.bid,
                prices=prices.last,
                new_fills=update.added,
            )

        return self._with_flows(self._session.run(task, closes_circuit=True), start_ms)

    def _with_flows(self, reading: AccountReading, start_ms: int) -> AccountReading:
        """The reading with the flows that are known after asking for more of them."""
        account, end_ms = reading.account, reading.read_at_ms + 1

        def task(asking: Asking[KucoinAccountClient]) -> None:
            read_flows(asking, self._fills, account, start_ms=start_ms, end_ms=end_ms, policy=self._policy)

        limit_s = self._session.policy.deadline.total_seconds() * self._policy.flow_time_share
        try:
            self._session.run(task, closes_circuit=False, opens_circuit=False, limit_s=limit_s)
        except (ExchangeError, ConflictingFlows) as error:
            _logger.warning("flows of %s are not known up to now: %s", account, error)
        span = self._fills.flow_span(account)
        return replace(
            reading,
            flows=tuple(self._fills.flows(account)),
            flows_from_ms=None if span is None else span.start_ms,
            flows_until_ms=None if span is None else span.end_ms,
        )

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
    ) -> _Update:
        added, known = 0, self._fills.span(account, market)
        length_ms, overlap_ms = _ms(self._policy.window), _ms(self._policy.overlap)
        reach_ms = end_ms - _ms(asking.client.fills_reach)
        if known is not None and known.end_ms - overlap_ms < reach_ms:
            known = None  # a hole that cannot be asked for any more: fills from before it stay kept
        start_ms = max(start_ms, reach_ms)
        problems: list[str] = []
        without_fee: list[AccountFill] = []
        for window, span in windows(known, start_ms, end_ms, length_ms=length_ms, overlap_ms=overlap_ms):
            pages = [self._read_window(asking, market.symbol, window, api) for api in self._policy.order_api.read]
            found = [fill for page in pages for fill in page.items]
            problems += [problem for page in pages for problem in page.problems]
            without_fee += [fill for fill in found if math.isnan(fill.fee)]
            # What lacks something is asked for again at each reading, and nothing from it on counts as read.
            is_whole = not problems and not without_fee
            whole = [fill for fill in found if not math.isnan(fill.fee)]
            added += self._fills.append(account, market, whole, span=span if is_whole else None)
        kept = self._fills.span(account, market)
        return _Update(added, start_ms if kept is None else kept.start_ms, tuple(without_fee), tuple(problems))

    def _open_orders(self, asking: Asking[KucoinAccountClient], symbol: str) -> tuple[OpenOrder, ...]:
        client, rows = asking.client, self._policy.page_rows
        asked = [partial(client.open_orders, symbol, rows=rows, api=api) for api in self._policy.order_api.read]
        return tuple(order for ask in asked for order in asking.ask(f"open orders of {symbol}", ask))

    def _read_window(
        self, asking: Asking[KucoinAccountClient], symbol: str, window: ReadSpan, api: OrderApi
    ) -> Page[AccountFill]:
        def page_at(place: int | None) -> Page[AccountFill]:
            start_ms, end_ms, rows = window.start_ms, window.end_ms, self._policy.page_rows
            return asking.client.fills(symbol, start_ms=start_ms, end_ms=end_ms, rows=rows, page=place, api=api)

        return all_pages(asking, f"fills of {symbol}", page_at)


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
