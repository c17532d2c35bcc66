"""Binance's spot dialect, the small second one: symbols, klines, time and 24h ticker under ``/api/v3``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mm_pipeline.paper.http.dialect import Listing
from mm_pipeline.paper.http.rate_limit import BINANCE_IP, RateLimit, WeightPool
from mm_pipeline.paper.http.wire import Answer, Bar, Request, decimal_text
from mm_pipeline.paper.markets.market_data import DayStats, MarketData, as_bars

_MINUTE_MS = 60_000
_INTERVALS_MS = {
    "1m": _MINUTE_MS,
    "3m": 3 * _MINUTE_MS,
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS,
    "1h": 60 * _MINUTE_MS,
    "2h": 120 * _MINUTE_MS,
    "4h": 240 * _MINUTE_MS,
    "6h": 360 * _MINUTE_MS,
    "8h": 480 * _MINUTE_MS,
    "12h": 720 * _MINUTE_MS,
    "1d": 1440 * _MINUTE_MS,
}
_DEFAULT_ROWS, _MOST_ROWS = 500, 1000
_DAY_MS = 86_400_000


class _Refusal(Exception):
    """An error answer with HTTP 400."""

    def __init__(self, code: int, message: str) -> None:
        self.payload = {"code": code, "msg": message}
        super().__init__(message)


class BinanceDialect:
    """Answers as Binance spot does.

    Parameters
    ----------
    markets
        The markets listed on ``binance``.
    limit
        Request weights per window; exhaustion is answered 429 / -1003.
    """

    def __init__(self, markets: Sequence[MarketData], *, limit: RateLimit = BINANCE_IP) -> None:
        self._listing = Listing(markets, separator="")
        self._limit = limit
        self._pool = WeightPool(limit)

    def answer(self, request: Request) -> Answer:
        """Answer one request."""
        route = _ROUTES.get(request.path) if request.method == "GET" else None
        if route is None:
            message = f"Path {request.path}, Method {request.method} is invalid"
            return Answer(status=404, payload={"code": -5000, "msg": message})
        weight, endpoint = route
        pool = self._pool.take(weight)
        headers = {"x-mbx-used-weight": str(pool.used), "x-mbx-used-weight-1m": str(pool.used)}
        if not pool.is_granted:
            wait_s = -(-pool.reset_ms // 1000)
            payload = {"code": -1003, "msg": "Too much request weight used; please use WebSocket Streams."}
            return Answer(status=429, payload=payload, headers={**headers, "Retry-After": str(wait_s)})
        try:
            return Answer(payload=endpoint(self._listing, request), headers=headers)
        except _Refusal as refusal:
            return Answer(status=400, payload=refusal.payload, headers=headers)


def _time(listing: Listing, request: Request) -> dict[str, int]:
    return {"serverTime": request.now_ms}


def _exchange_info(listing: Listing, request: Request) -> dict[str, Any]:
    return {
        "timezone": "UTC",
        "serverTime": request.now_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": BINANCE_IP.limit}
        ],
        "exchangeFilters": [],
        "symbols": [_symbol_entry(name, market) for name, market in listing.visible(request).items()],
    }


def _klines(listing: Listing, request: Request) -> list[list[Any]]:
    """Rows oldest first. With startTime the first ``limit`` from there, else the newest; quiet bars are sent flat."""
    market = _market(listing, request)
    interval_ms = _INTERVALS_MS.get(request.query.get("interval", ""))
    if interval_ms is None or not market.has_bars_of(interval_ms):
        raise _Refusal(-1120, "Invalid interval.")
    limit = min(_integer(request, "limit") or _DEFAULT_ROWS, _MOST_ROWS)
    start_ms, end_ms = _integer(request, "startTime"), _integer(request, "endTime")
    times, values = market.bars(
        now_ms=request.now_ms,
        interval_ms=interval_ms,
        start_ms=start_ms or 0,
        stop_ms=request.now_ms + 1 if end_ms is None else end_ms + 1,
        with_quiet=True,
    )
    chosen = slice(limit) if start_ms is not None else slice(-limit, None)
    return [_kline(bar, interval_ms) for bar in request.edited(as_bars(times[chosen], values[chosen]))]


def _kline(bar: Bar, interval_ms: int) -> list[Any]:
    prices = [decimal_text(price) for price in (bar.open, bar.high, bar.low, bar.close)]
    trades = 0 if not bar.volume else 1
    return [
        bar.open_time_ms,
        *prices,
        decimal_text(bar.volume),
        bar.open_time_ms + interval_ms - 1,
        decimal_text(bar.turnover),
        trades,
        decimal_text(bar.volume),
        decimal_text(bar.turnover),
        "0",
    ]


def _ticker_24h(listing: Listing, request: Request) -> dict[str, Any] | list[dict[str, Any]]:
    if "symbol" in request.query:
        return _ticker_entry(request.query["symbol"], _market(listing, request), request.now_ms)
    return [_ticker_entry(name, market, request.now_ms) for name, market in listing.visible(request).items()]


def _ticker_entry(name: str, market: MarketData, now_ms: int) -> dict[str, Any]:
    day = market.day_stats(now_ms) or DayStats(open=0.0, high=0.0, low=0.0, last=0.0)
    change_pct = (day.last / day.open - 1) * 100 if day.open else 0.0
    average = day.turnover / day.volume if day.volume else day.last
    bid = max(day.last - market.paper.price_increment, 0.0)
    lot = market.paper.base_increment
    numbers = {
        "priceChange": round(day.last - day.open, 8),
        "priceChangePercent": round(change_pct, 3),
        "weightedAvgPrice": round(average, 8),
        "prevClosePrice": day.open,
        "lastPrice": day.last,
        "lastQty": lot,
        "bidPrice": round(bid, 12),
        "bidQty": lot,
        "askPrice": day.last,
        "askQty": lot,
        "openPrice": day.open,
        "highPrice": day.high,
        "lowPrice": day.low,
        "volume": round(day.volume, 8),
        "quoteVolume": round(day.turnover, 8),
    }
    texts = {key: decimal_text(number) for key, number in numbers.items()}
    times = {"openTime": now_ms - _DAY_MS, "closeTime": now_ms}
    return {"symbol": name, **texts, **times, "firstId": 0, "lastId": 0, "count": 1}


def _symbol_entry(name: str, market: MarketData) -> dict[str, Any]:
    base, quote = market.paper.market.symbol.split("/")
    tick, lot = decimal_text(market.paper.price_increment), decimal_text(market.paper.base_increment)
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000", "stepSize": lot},
            {"filterType": "NOTIONAL", "minNotional": "5", "applyMinToMarket": True, "maxNotional": "9000000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _market(listing: Listing, request: Request) -> MarketData:
    market = listing.visible(request).get(request.query.get("symbol", ""))
    if market is None:
        raise _Refusal(-1121, "Invalid symbol.")
    return market


def _integer(request: Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise _Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


_ROUTES: Mapping[str, tuple[int, Callable[[Listing, Request], Any]]] = MappingProxyType(
    {
        "/api/v3/time": (1, _time),
        "/api/v3/exchangeInfo": (20, _exchange_info),
        "/api/v3/klines": (2, _klines),
        "/api/v3/ticker/24hr": (2, _ticker_24h),
    }
)
