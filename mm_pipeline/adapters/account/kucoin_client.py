"""KuCoin's signed questions over ccxt, every answer looked at before ccxt can turn it into an empty list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mm_pipeline.adapters.account.credentials import Credentials
from mm_pipeline.adapters.account.kucoin_entries import TRADE_ACCOUNTS, fill_of, flow_of, is_execution, order_of
from mm_pipeline.adapters.account.paging import Page
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.domain.account import (
    AccountFill,
    AccountFlow,
    Balance,
    FeeBounds,
    Increments,
    OpenOrder,
    OrderApi,
    OrderApis,
)
from mm_pipeline.domain.account.rates import rates_in
from mm_pipeline.domain.errors import ClockSkewed, ConfigError, KeyRefused

LEDGER_WINDOW = timedelta(days=1)
"""KuCoin's documentation of ``accounts/ledgers``: the time range cannot exceed 24 hours."""
_HF_LEDGER_REACH, _CLASSIC_LEDGER_REACH = timedelta(days=3), timedelta(days=365)
"""Its documentation of either ledger; asked for more, the hf one tells of its three days instead."""
FILLS_REACH = timedelta(days=180)
"""Its staff: fills are kept for six months; a question about older ones is answered with success and an empty list."""
_LEDGER_MARGIN = timedelta(minutes=10)
"""The reach moves on while questions are put."""
_NO_CANDLES = 1


@dataclass(frozen=True, kw_only=True)
class KeyInfo:
    """Whose a key is (a name fit for paths), and what it may do."""

    account: str
    permissions: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a market's quote currency buys: its own bid, and the last price of every currency that is listed in it."""

    bid: float
    last: dict[str, float]


class KucoinAccountClient(ExchangeClient):
    """The questions about an account that a reader asks; not thread-safe.

    Parameters
    ----------
    credentials
        Of the account.
    order_api
        Through which of KuCoin's order APIs it trades. The questions about orders, fills and flows say which they ask.
    fees
        How much the fee of a fill may be.
    clock
        The pipeline's; requests are signed with its time and ``offset_ms``.
    timeout_s, base_url
        See :class:`~mm_pipeline.adapters.exchange.client.ExchangeClient`.

    Attributes
    ----------
    offset_ms
        Exchange's clock minus the pipeline's; set it once it is known.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        order_api: OrderApis,
        fees: FeeBounds,
        clock: Clock,
        timeout_s: float,
        base_url: str | None = None,
    ) -> None:
        super().__init__("kucoin", timeout_s=timeout_s, max_page_bars=_NO_CANDLES, base_url=base_url)
        self.offset_ms = 0
        self._api = order_api
        self._fees = fees
        self._ccxt.apiKey, self._ccxt.secret = credentials.key, credentials.secret
        self._ccxt.password = credentials.passphrase
        self._ccxt.options["hf"] = OrderApi.HF in order_api.read
        self._ccxt.enableRateLimit = False  # the session's budget paces; ccxt would wait again by its own weights
        self._ccxt.check_required_credentials = _only_where_needed(self._ccxt.check_required_credentials)
        self._ccxt.nonce = lambda: clock.now_ms() + self.offset_ms

    def key_info(self) -> KeyInfo:
        """Whose the key is, and what it may do."""
        with _refusals_named():
            data = self._ccxt.privateGetUserApiKey()["data"]
        granted = frozenset(name.strip() for name in data["permission"].split(",") if name.strip())
        return KeyInfo(account=f"kucoin-{int(data['uid'])}", permissions=granted)

    def increments(self, symbol: str) -> Increments:
        """The symbol's steps; its markets have been loaded."""
        precision = self._ccxt.market(symbol)["precision"]
        return Increments(price=float(precision["price"]), base=float(precision["amount"]))

    def is_hf_opened(self) -> bool:
        """Whether the account may trade through the hf API."""
        with _refusals_named():
            return bool(self._ccxt.privateGetHfAccountsOpened()["data"])

    def is_unified(self) -> bool | None:
        """Whether the account is in unified mode, whose orders no spot list shows; None where it is not told."""
        import ccxt

        with suppress(ccxt.BaseError, ValueError, KeyError, TypeError):
            return bool(self._ccxt.utaPrivateGetAccountMode()["data"]["selfAccountMode"] == "UNIFIED")
        return None

    def fills(
        self, symbol: str, *, start_ms: int, end_ms: int, rows: int, page: int | None, api: OrderApi
    ) -> Page[AccountFill]:
        """One page of fills with ``start_ms <= time < end_ms``, at most 7 days.

        Parameters
        ----------
        rows
            Most rows to ask for.
        page
            ``next_page`` of the page before; None for the first.
        api
            Of which order API.

        A row that cannot be read is a problem of the page; the others are read.
        """
        window = self._window(end_ms, rows, page, api)
        with _refusals_named():
            trades = self._ccxt.fetch_my_trades(symbol, start_ms, rows if api is OrderApi.HF else None, window)
        items = self._items()
        if len(trades) != len(items):
            raise ValueError(f"{len(items)} fills were sent and {len(trades)} of them can be read")
        made, problems = [], []
        for trade in trades:
            try:
                if is_execution(trade):
                    made.append(fill_of(trade, end_ms=end_ms, fees=self._fees))
            except ValueError as error:
                problems.append(f"fill {str(trade.get('id'))[:40]!a} cannot be read: {error}")
        return Page(items=tuple(made), next_page=self._next_page(items, rows, page, api), problems=tuple(problems))

    @property
    def fills_reach(self) -> timedelta:
        """How far back fills can be asked for."""
        return FILLS_REACH - _LEDGER_MARGIN

    @property
    def ledger_reach(self) -> timedelta:
        """How far back the ledger of this order API can be asked for."""
        return (_HF_LEDGER_REACH if OrderApi.HF in self._api.read else _CLASSIC_LEDGER_REACH) - _LEDGER_MARGIN

    def flows(self, *, start_ms: int, end_ms: int, rows: int, page: int | None, api: OrderApi) -> Page[AccountFlow]:
        """The flows on one page of the ledger with ``start_ms <= time < end_ms``, at most :data:`LEDGER_WINDOW`.

        The page is of everything that changed balances; trades, fees and rebates among it are no flows, nor is what
        happened to other accounts than the trading one. Parameters as of :meth:`fills`.
        """
        window = self._window(end_ms, rows, page, api)
        with _refusals_named():
            entries = self._ccxt.fetch_ledger(None, start_ms, rows if api is OrderApi.HF else None, window)
        items = self._items()
        if len(entries) != len(items):
            raise ValueError(f"{len(items)} ledger entries were sent and {len(entries)} of them can be read")
        if any(entry["timestamp"] >= end_ms for entry in entries):
            raise ValueError("some ledger entries are of another time than was asked for")
        flows = [flow for flow in map(flow_of, entries) if flow is not None]
        return Page(items=tuple(flows), next_page=self._next_page(items, rows, page, api))

    def open_orders(self, symbol: str, *, rows: int, api: OrderApi) -> tuple[OpenOrder, ...]:
        """Every resting order of a symbol; classic ones page by page. A market order on its way rests nowhere."""
        found: list[Any] = []
        page: int | None = None
        while True:
            is_hf = api is OrderApi.HF
            paging = {"hf": True} if is_hf else {"hf": False, "currentPage": page or 1, "pageSize": rows}
            with _refusals_named():
                orders = self._ccxt.fetch_open_orders(symbol, None, None, paging)
            if len(orders) != len(self._items()):
                raise ValueError("some of the orders cannot be read")
            found += orders
            page = None if is_hf else self._next_classic_page(page)
            if page is None:
                return tuple(order_of(order) for order in found if order["type"] != "market")

    def balances(self) -> tuple[Balance, ...]:
        """What the spot accounts hold; margin and funding accounts are left out."""
        with _refusals_named():
            accounts = self._ccxt.privateGetAccounts()["data"]
        held: dict[str, list[float]] = {}
        for account in accounts:
            if account["type"] in TRADE_ACCOUNTS:
                sums = held.setdefault(account["currency"], [0.0, 0.0, 0.0])
                for place, name in enumerate(("balance", "available", "holds")):
                    sums[place] += float(account[name])
        return tuple(
            Balance(currency=name, total=total, available=available, locked=locked)
            for name, (total, available, locked) in sorted(held.items())
        )

    def prices(self, symbol: str) -> Prices:
        """Prices in the quote currency of a symbol, from one answer."""
        tickers = self._ccxt.fetch_tickers()
        bid = tickers[symbol]["bid"]
        if not bid:
            raise ValueError(f"{symbol} has no bid")
        last = {name: float(ticker["last"]) for name, ticker in tickers.items() if ticker["last"]}
        return Prices(bid=float(bid), last=rates_in(symbol.split("/")[1], last))

    def _window(self, end_ms: int, rows: int, page: int | None, api: OrderApi) -> dict[str, Any]:
        window: dict[str, Any] = {"until": end_ms - 1, "hf": api is OrderApi.HF}
        if api is not OrderApi.HF:
            return window | {"currentPage": page or 1, "pageSize": rows}
        return window if page is None else window | {"lastId": page}

    def _items(self) -> list[Any]:
        """The list in the last answer, in whatever wrapping."""
        data = self._ccxt.last_json.get("data")
        items = data.get("items") if isinstance(data, dict) else data
        if items is None and isinstance(data, dict) and data.get("totalNum") == 0:
            return []  # seen where a classic list has nothing
        if not isinstance(items, list):
            raise ValueError("there is no list in it")
        return items

    def _next_page(self, items: list[Any], rows: int, page: int | None, api: OrderApi) -> int | None:
        if api is not OrderApi.HF:
            return self._next_classic_page(page)
        if len(items) < rows:
            return None
        oldest = min(int(item["id"]) for item in items)
        if page is not None and oldest >= page:
            raise ValueError(f"the page after {page} does not go on from there")
        return oldest

    def _next_classic_page(self, page: int | None) -> int | None:
        at, pages = page or 1, int(self._ccxt.last_json["data"]["totalPage"])
        return at + 1 if at < pages else None


def _only_where_needed(check: Callable[[bool], bool]) -> Callable[..., bool]:
    """Say that there is no key where ccxt only wonders: with one it asks for margin markets beside the spot ones."""
    return lambda error=True: check(error) if error else False


@contextmanager
def _refusals_named() -> Iterator[None]:
    """Tell a refused key from an answer that cannot be read; no text of either names the key."""
    import ccxt

    try:
        yield
    except ccxt.InvalidNonce as error:
        raise ClockSkewed(
            f"kucoin refused the time of a signed request ({error}).", "Let this machine's clock follow a time server."
        ) from error
    except ccxt.AuthenticationError as error:
        raise KeyRefused(
            f"kucoin refused the API key ({error}).",
            "Check key, secret, passphrase and allowed addresses; the variables are named in the settings (account).",
        ) from error
    except ccxt.ArgumentsRequired as error:
        raise ConfigError(f"ccxt cannot ask kucoin: {error}.", "This is a fault of the program.") from error
