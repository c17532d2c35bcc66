"""KuCoin's REST dialect: routing, envelope, signatures, error codes, rate-limit headers.

Answers' data: ``kucoin_market_data`` for everybody, ``kucoin_private`` and ``kucoin_ledger`` for whoever signs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mm_pipeline.paper.clock import PaperClock
from mm_pipeline.paper.http.dialect import Listing
from mm_pipeline.paper.http.rate_limit import (
    KUCOIN_MANAGEMENT,
    KUCOIN_PUBLIC,
    KUCOIN_SPOT,
    PoolState,
    RateLimit,
    WeightPool,
)
from mm_pipeline.paper.http.wire import Answer, Request
from mm_pipeline.paper.kucoin import ledger, private
from mm_pipeline.paper.kucoin import market_data as data
from mm_pipeline.paper.kucoin.signature import check_signature
from mm_pipeline.paper.markets.market_data import MarketData
from mm_pipeline.paper.trading.account import GENERAL, SPOT, PaperAccount
from mm_pipeline.paper.trading.desk import TradingDesk
from mm_pipeline.paper.trading.grid_bot import GridBot

_SUCCESS = "200000"
_FORBIDDEN = 403


Endpoint = Callable[..., Any]
"""(listing, request, **path parameters) -> the answer's ``data``; raises ``kucoin_market_data.Refusal``.

A signed one is given (desk, key, request, **path parameters).
"""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One endpoint: method, path (``{name}`` is a segment), request weight and the pool that pays it.

    ``permission`` is what a key needs to call it; None for a public one.
    """

    path: str
    endpoint: Endpoint
    weight: int
    method: str = "GET"
    pool: str = "public"
    permission: str | None = None
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)))


PUBLIC_ROUTES = (
    Route(path="/api/v1/timestamp", endpoint=data.timestamp, weight=3),
    Route(path="/api/v1/status", endpoint=data.status, weight=3),
    Route(path="/api/v3/currencies", endpoint=data.currencies, weight=3),
    Route(path="/api/v3/currencies/{currency}", endpoint=data.currency, weight=3),
    Route(path="/api/v2/symbols", endpoint=data.symbols, weight=4),
    Route(path="/api/v2/symbols/{symbol}", endpoint=data.symbol, weight=4),
    Route(path="/api/v1/market/candles", endpoint=data.candles, weight=3),
    Route(path="/api/v1/market/stats", endpoint=data.stats, weight=15),
    Route(path="/api/v1/market/allTickers", endpoint=data.all_tickers, weight=15),
    Route(path="/api/v1/market/orderbook/level1", endpoint=data.level1, weight=2),
)
"""Weights: ``rate_limit_weight`` of the vendor's recorded samples."""


def _signed(
    path: str, endpoint: Endpoint, weight: int, *, method: str = "GET", pool: str = "spot", needs: str = GENERAL
) -> Route:
    path = path if path.startswith("/") else f"/api/v1/{path}"
    return Route(path=path, endpoint=endpoint, weight=weight, method=method, pool=pool, permission=needs)


PRIVATE_ROUTES = (
    _signed("user/api-key", private.api_key, 20, pool="management"),
    _signed("accounts", private.accounts, 5, pool="management"),
    _signed("accounts/ledgers", ledger.classic_ledgers, 2, pool="management"),
    _signed("hf/accounts/opened", private.is_hf_opened, 30),
    _signed("/api/ua/v1/account/mode", private.account_mode, 30),
    _signed("hf/accounts/ledgers", ledger.hf_ledgers, 2),
    _signed("/api/v3/margin/symbols", private.margin_symbols, 3),
    _signed("isolated/symbols", private.isolated_symbols, 20),
    _signed("hf/orders/active", private.hf_active, 2),
    _signed("hf/orders/done", private.hf_done, 2),
    _signed("hf/orders/{order_id}", private.hf_order, 2),
    _signed("hf/fills", private.hf_fills, 2),
    _signed("hf/orders", private.hf_place, 1, method="POST", needs=SPOT),
    _signed("hf/orders/sync", private.hf_place_sync, 1, method="POST", needs=SPOT),
    _signed("hf/orders", private.hf_cancel_symbol, 2, method="DELETE", needs=SPOT),
    _signed("hf/orders/cancelAll", private.hf_cancel_all, 30, method="DELETE", needs=SPOT),
    _signed("hf/orders/{order_id}", private.hf_cancel, 1, method="DELETE", needs=SPOT),
    _signed("orders", private.classic_orders, 2),
    _signed("orders/{order_id}", private.classic_order, 2),
    _signed("fills", private.classic_fills, 10),
    _signed("orders", private.classic_place, 2, method="POST", needs=SPOT),
    _signed("orders", private.classic_cancel_all, 20, method="DELETE", needs=SPOT),
    _signed("orders/{order_id}", private.classic_cancel, 3, method="DELETE", needs=SPOT),
)
"""Weights, pools and permissions: the vendor's recorded samples."""


class KucoinDialect:
    """Answers as KuCoin does.

    Parameters
    ----------
    markets
        The markets listed on ``kucoin``.
    public_limit
        The public pool; its exhaustion is answered 429 / 429000.
    accounts
        Who can sign, and the grids that the exchange's bot trades for them.
    clock
        The time of their orders.
    spot_limit, management_limit
        The pools of each account.

    Attributes
    ----------
    desks
        The accounts at work, in the order of ``accounts``.
    """

    def __init__(
        self,
        markets: Sequence[MarketData],
        *,
        public_limit: RateLimit = KUCOIN_PUBLIC,
        accounts: Sequence[PaperAccount] = (),
        clock: PaperClock | None = None,
        spot_limit: RateLimit = KUCOIN_SPOT,
        management_limit: RateLimit = KUCOIN_MANAGEMENT,
    ) -> None:
        self._listing = Listing(markets, separator="-")
        self._public = WeightPool(public_limit)
        by_id = {market.paper.market.symbol.replace("/", "-"): market for market in markets}
        clock = clock or PaperClock.real()
        self.desks = [TradingDesk(account, by_id, clock) for account in accounts]
        self._bots = [GridBot(grid, desk) for desk in self.desks for grid in desk.account.grids]
        self._keys = {key.key: key for account in accounts for key in account.keys}
        self._desk_of = {key.key: desk for desk in self.desks for key in desk.account.keys}
        self._pools = [{"spot": WeightPool(spot_limit), "management": WeightPool(management_limit)} for _ in accounts]

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        headers = _gateway_headers(request)
        try:
            pool, call = self._opened(request)
            state = pool.take(call.route.weight)
            headers |= _limit_headers(state)
            if not state.is_granted:
                raise data.Refusal("429000", "Too Many Requests", status=429)
            return _envelope(200, {"code": _SUCCESS, "data": call.make()}, headers)
        except data.Refusal as refusal:
            return _envelope(refusal.status, {"code": refusal.code, "msg": refusal.message}, headers)

    def _opened(self, request: Request) -> tuple[WeightPool, _Call]:
        """Who pays for the request, and what makes its answer."""
        for route in (*PUBLIC_ROUTES, *PRIVATE_ROUTES):
            match = route.pattern.fullmatch(request.path) if route.method == request.method else None
            if match is None:
                continue
            if route.permission is None:
                return self._public, _Call(route, partial(route.endpoint, self._listing, request, **match.groupdict()))
            key = check_signature(request, self._keys)
            if route.permission not in key.permissions:
                raise data.Refusal("400007", "Access denied, require more permission.", status=_FORBIDDEN)
            desk = self._desk_of[key.key]
            endpoint = partial(route.endpoint, desk, key, request, **match.groupdict())
            return self._pools[self.desks.index(desk)][route.pool], _Call(route, partial(_at_present, desk, endpoint))
        raise data.Refusal("404000", "Url Not Found", status=404)


@dataclass(frozen=True)
class _Call:
    route: Route
    make: Callable[[], Any]


def _at_present(desk: TradingDesk, endpoint: Callable[[], Any]) -> Any:
    """What an endpoint says of a desk that has caught up with the clock; requests of one account take turns."""
    with desk.lock:
        desk.advance()
        return endpoint()


def _envelope(status: int, payload: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
    return Answer(status=status, payload=payload, headers={**headers, "X-RESULT-BIZ-CODE": payload["code"]})


def _gateway_headers(request: Request) -> dict[str, str]:
    return {"x-in-time": f"5-{request.now_ms * 1_000_000}", "x-out-time": f"5-{request.now_ms * 1_000_000}"}


def _limit_headers(pool: PoolState) -> dict[str, str]:
    return {
        "gw-ratelimit-limit": str(pool.limit),
        "gw-ratelimit-remaining": str(pool.remaining),
        "gw-ratelimit-reset": str(pool.reset_ms),
    }
