"""KuCoin's REST dialect: routing, envelope, error codes, rate-limit headers. Answers' data: ``kucoin_market_data``.

Signed endpoints get their place as further :class:`Route` entries with their own pool: a request carries method,
headers and body, and ``path`` is what KuCoin's signature covers. Until then they are unknown URLs, as any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mm_pipeline.paper import kucoin_market_data as data
from mm_pipeline.paper.dialect import Listing
from mm_pipeline.paper.market_data import MarketData
from mm_pipeline.paper.rate_limit import KUCOIN_PUBLIC, PoolState, RateLimit, WeightPool
from mm_pipeline.paper.wire import Answer, Request

_SUCCESS = "200000"


Endpoint = Callable[..., Any]
"""(listing, request, **path parameters) -> the answer's ``data``; raises ``kucoin_market_data.Refusal``."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One endpoint: method, path (``{name}`` is a segment), request weight and the pool that pays it."""

    path: str
    endpoint: Endpoint
    weight: int
    method: str = "GET"
    pool: str = "public"
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


class KucoinDialect:
    """Answers as KuCoin does.

    Parameters
    ----------
    markets
        The markets listed on ``kucoin``.
    public_limit
        The public pool; its exhaustion is answered 429 / 429000.
    routes
        Endpoints served; everything else is 404 / 404000.
    """

    def __init__(
        self,
        markets: Sequence[MarketData],
        *,
        public_limit: RateLimit = KUCOIN_PUBLIC,
        routes: Sequence[Route] = PUBLIC_ROUTES,
    ) -> None:
        self._listing = Listing(markets, separator="-")
        self._pools = {"public": WeightPool(public_limit)}
        self._routes = tuple(routes)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        route, parameters = self._find(request)
        if route is None:
            return _envelope(404, {"code": "404000", "msg": "Url Not Found"}, _gateway_headers(request))
        pool = self._pools[route.pool].take(route.weight)
        headers = {**_gateway_headers(request), **_limit_headers(pool)}
        if not pool.is_granted:
            return _envelope(429, {"code": "429000", "msg": "Too Many Requests"}, headers)
        try:
            made = route.endpoint(self._listing, request, **parameters)
        except data.Refusal as refusal:
            return _envelope(refusal.status, {"code": refusal.code, "msg": refusal.message}, headers)
        return _envelope(200, {"code": _SUCCESS, "data": made}, headers)

    def _find(self, request: Request) -> tuple[Route | None, dict[str, str]]:
        for route in self._routes:
            match = route.pattern.fullmatch(request.path) if route.method == request.method else None
            if match:
                return route, match.groupdict()
        return None, {}


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
