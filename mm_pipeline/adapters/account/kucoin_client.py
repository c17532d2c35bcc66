"""KuCoin's signed questions over ccxt, every answer looked at before ccxt can turn it into an empty list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mm_pipeline.adapters.account.credentials import Credentials
from mm_pipeline.adapters.candle_sources.exchange_client import ExchangeClient
from mm_pipeline.adapters.clock import Clock
from mm_pipeline.domain.account import AccountFill, Balance, Increments, OpenOrder, OrderApi, Side
from mm_pipeline.domain.errors import ClockSkewed, ConfigError, KeyRefused

_SPOT_ACCOUNTS = {"trade", "trade_hf"}
_NO_CANDLES = 1


@dataclass(frozen=True, kw_only=True)
class KeyInfo:
    """Whose a key is (a name fit for paths), and what it may do."""

    account: str
    permissions: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class FillsPage:
    """Some fills of a window, and where the next page begins; None at the end."""

    fills: tuple[AccountFill, ...]
    next_page: int | None


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
        Through which of KuCoin's order APIs it trades.
    clock
        The pipeline's; requests are signed with its time and ``offset_ms``.
    timeout_s, base_url
        See :class:`~mm_pipeline.adapters.candle_sources.exchange_client.ExchangeClient`.

    Attributes
    ----------
    offset_ms
        Exchange's clock minus the pipeline's; set it once it is known.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        order_api: OrderApi,
        clock: Clock,
        timeout_s: float,
        base_url: str | None = None,
    ) -> None:
        super().__init__("kucoin", timeout_s=timeout_s, max_page_bars=_NO_CANDLES, base_url=base_url)
        self.offset_ms = 0
        self._is_hf = order_api is OrderApi.HF
        self._ccxt.apiKey, self._ccxt.secret = credentials.key, credentials.secret
        self._ccxt.password = credentials.passphrase
        self._ccxt.options["hf"] = self._is_hf
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

    def fills(self, symbol: str, *, start_ms: int, end_ms: int, rows: int, page: int | None) -> FillsPage:
        """One page of fills with ``start_ms <= time < end_ms``, at most 7 days.

        Parameters
        ----------
        rows
            Most rows to ask for.
        page
            ``next_page`` of the page before; None for the first.
        """
        window: dict[str, Any] = {"until": end_ms - 1}
        if self._is_hf:
            window |= {"lastId": page} if page is not None else {}
        else:
            window |= {"currentPage": page or 1, "pageSize": rows}
        with _refusals_named():
            trades = self._ccxt.fetch_my_trades(symbol, start_ms, rows if self._is_hf else None, window)
        items = self._items()
        if len(trades) != len(items):
            raise ValueError(f"{len(items)} fills were sent and {len(trades)} of them can be read")
        return FillsPage(fills=tuple(map(_fill, trades)), next_page=self._next_page(items, rows, page))

    def open_orders(self, symbol: str, *, rows: int) -> tuple[OpenOrder, ...]:
        """Every resting order of a symbol; classic ones page by page."""
        found: list[Any] = []
        page: int | None = None
        while True:
            paging = {} if self._is_hf else {"currentPage": page or 1, "pageSize": rows}
            with _refusals_named():
                orders = self._ccxt.fetch_open_orders(symbol, None, None, paging)
            if len(orders) != len(self._items()):
                raise ValueError("some of the orders cannot be read")
            found += orders
            page = None if self._is_hf else self._next_classic_page(page)
            if page is None:
                return tuple(map(_order, found))

    def balances(self) -> tuple[Balance, ...]:
        """What the spot accounts hold; margin and funding accounts are left out."""
        with _refusals_named():
            accounts = self._ccxt.privateGetAccounts()["data"]
        held: dict[str, list[float]] = {}
        for account in accounts:
            if account["type"] in _SPOT_ACCOUNTS:
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
        quote = f"/{symbol.split('/')[1]}"
        listed = (
            (name.removesuffix(quote), ticker["last"]) for name, ticker in tickers.items() if name.endswith(quote)
        )
        return Prices(bid=float(bid), last={name: float(last) for name, last in listed if last})

    def _items(self) -> list[Any]:
        """The list in the last answer, in whatever wrapping."""
        data = self._ccxt.last_json.get("data")
        items = data.get("items") if isinstance(data, dict) else data
        if items is None and isinstance(data, dict) and data.get("totalNum") == 0:
            return []  # seen where a classic list has nothing
        if not isinstance(items, list):
            raise ValueError("there is no list in it")
        return items

    def _next_page(self, items: list[Any], rows: int, page: int | None) -> int | None:
        if not self._is_hf:
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


def _fill(trade: dict[str, Any]) -> AccountFill:
    fee = trade["fee"] or {}
    return AccountFill(
        trade_id=str(_given(trade, "id")),
        order_id=str(_given(trade, "order")),
        symbol=str(_given(trade, "symbol")),
        time_ms=int(_given(trade, "timestamp")),
        side=Side(_given(trade, "side")),
        price=_positive(trade, "price"),
        quantity_base=_positive(trade, "amount"),
        fee=float(fee.get("cost") or 0.0),
        fee_currency=str(fee.get("currency") or trade["symbol"].split("/")[1]),
    )


def _order(order: dict[str, Any]) -> OpenOrder:
    return OpenOrder(
        order_id=str(_given(order, "id")),
        symbol=str(_given(order, "symbol")),
        time_ms=int(_given(order, "timestamp")),
        side=Side(_given(order, "side")),
        price=_positive(order, "price"),
        quantity_base=_positive(order, "amount"),
        filled_base=float(order["filled"] or 0.0),
    )


def _given(values: dict[str, Any], name: str) -> Any:
    if values.get(name) is None:
        raise ValueError(f"{name} is missing")
    return values[name]


def _positive(values: dict[str, Any], name: str) -> float:
    value = float(_given(values, name))
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} is {value}")
    return value
