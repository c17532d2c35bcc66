"""Data of KuCoin's public spot endpoints, field by field as in its recorded answers."""

from __future__ import annotations

from typing import Any

from mm_pipeline.paper.http.dialect import Listing
from mm_pipeline.paper.http.wire import Bar, Request, decimal_text
from mm_pipeline.paper.markets.market_data import DayStats, MarketData, as_bars

_MINUTE_MS = 60_000
_INTERVALS_MS = {
    "1min": _MINUTE_MS,
    "3min": 3 * _MINUTE_MS,
    "5min": 5 * _MINUTE_MS,
    "15min": 15 * _MINUTE_MS,
    "30min": 30 * _MINUTE_MS,
    "1hour": 60 * _MINUTE_MS,
    "2hour": 120 * _MINUTE_MS,
    "4hour": 240 * _MINUTE_MS,
    "6hour": 360 * _MINUTE_MS,
    "8hour": 480 * _MINUTE_MS,
    "12hour": 720 * _MINUTE_MS,
    "1day": 1440 * _MINUTE_MS,
}
_ROWS_PER_ANSWER = 1500
_UNKNOWN_PAIR = "This pair is not provided at present"


class Refusal(Exception):
    """An error answer. KuCoin sends most of them with HTTP 200."""

    def __init__(self, code: str, message: str, *, status: int = 200) -> None:
        self.code = code
        self.message = message
        self.status = status
        super().__init__(f"{code} {message}")


def timestamp(listing: Listing, request: Request) -> int:
    """Server time in milliseconds."""
    return request.now_ms


def status(listing: Listing, request: Request) -> dict[str, str]:
    """Whether trading is open."""
    return {"status": "open", "msg": ""}


def currencies(listing: Listing, request: Request) -> list[dict[str, Any]]:
    """Every currency that a listed market trades."""
    symbols_listed = (market.paper.market.symbol for market in listing.visible(request).values())
    names = dict.fromkeys(name for symbol_listed in symbols_listed for name in symbol_listed.split("/"))
    return [_currency_entry(name) for name in names]


def currency(listing: Listing, request: Request, *, currency: str) -> dict[str, Any]:
    """One currency."""
    for entry in currencies(listing, request):
        if entry["currency"] == currency:
            return entry
    raise Refusal("900003", "currency not exists")


def symbols(listing: Listing, request: Request) -> list[dict[str, Any]]:
    """Every listed market."""
    return [_symbol_entry(name, market) for name, market in listing.visible(request).items()]


def symbol(listing: Listing, request: Request, *, symbol: str) -> dict[str, Any]:
    """One listed market."""
    market = listing.visible(request).get(symbol)
    if market is None:
        raise Refusal("900001", "symbol not exists")
    return _symbol_entry(symbol, market)


def candles(listing: Listing, request: Request) -> list[list[str | None]]:
    """``[seconds, open, close, high, low, volume, turnover]`` as text, newest first, at most 1500.

    Bars with ``startAt <= open time < endAt`` (seconds); when there are more, the newest are sent. The open bar is
    among them, built from what has passed of it. Without startAt and endAt: empty, as seen on the real one.
    """
    market = _market(listing, request)
    interval_ms = _INTERVALS_MS.get(request.query.get("type", ""))
    if interval_ms is None or not market.has_bars_of(interval_ms):
        raise Refusal("400100", "Incorrect candlestick type.")
    start_s, end_s = _seconds(request, "startAt"), _seconds(request, "endAt")
    if start_s is None and end_s is None:
        return []
    times, values = market.bars(
        now_ms=request.now_ms,
        interval_ms=interval_ms,
        start_ms=(start_s or 0) * 1000,
        stop_ms=end_s * 1000 if end_s else request.now_ms + 1,
        with_quiet=False,
    )
    bars = as_bars(times[-_ROWS_PER_ANSWER:], values[-_ROWS_PER_ANSWER:])
    return [_candle_row(bar) for bar in reversed(request.edited(bars))]


def stats(listing: Listing, request: Request) -> dict[str, Any]:
    """The last 24 hours of one market."""
    market = _market(listing, request)
    return {"time": request.now_ms, "symbol": request.query["symbol"], **_day(market, request.now_ms)}


def all_tickers(listing: Listing, request: Request) -> dict[str, Any]:
    """The last 24 hours of every market."""
    tickers = [
        {
            "symbol": name,
            "symbolName": name,
            **_day(market, request.now_ms),
            "bestBidSize": _size(market),
            "bestAskSize": _size(market),
        }
        for name, market in listing.visible(request).items()
    ]
    return {"time": request.now_ms, "ticker": tickers}


def level1(listing: Listing, request: Request) -> dict[str, Any] | None:
    """Best bid, best ask and last price; None before the first trade."""
    market = _market(listing, request)
    last = market.last_price(request.now_ms)
    if last is None:
        return None
    bid, ask = _bid_ask(market, last)
    return {
        "time": request.now_ms,
        "sequence": str(request.now_ms),
        "price": decimal_text(last),
        "size": _size(market),
        "bestBid": bid,
        "bestBidSize": _size(market),
        "bestAsk": ask,
        "bestAskSize": _size(market),
    }


def _market(listing: Listing, request: Request) -> MarketData:
    market = listing.visible(request).get(request.query.get("symbol", ""))
    if market is None:
        raise Refusal("400100", _UNKNOWN_PAIR)
    return market


def _seconds(request: Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise Refusal("400100", f"{name} must be a number.", status=400)
    return int(text)


def _candle_row(bar: Bar) -> list[str | None]:
    numbers = (bar.open, bar.close, bar.high, bar.low, bar.volume, bar.turnover)
    return [str(bar.open_time_ms // 1000), *(decimal_text(number) for number in numbers)]


def _day(market: MarketData, now_ms: int) -> dict[str, Any]:
    day = market.day_stats(now_ms)
    fee = decimal_text(market.paper.fee_rate)
    fees = {"takerFeeRate": fee, "makerFeeRate": fee, "takerCoefficient": "1", "makerCoefficient": "1"}
    if day is None:
        fields = ("buy", "sell", "changeRate", "changePrice", "high", "low", "vol", "volValue", "last", "averagePrice")
        return dict.fromkeys(fields) | fees
    bid, ask = _bid_ask(market, day.last)
    return {
        "buy": bid,
        "sell": ask,
        "changeRate": decimal_text(round(day.last / day.open - 1, 4)),
        "changePrice": decimal_text(round(day.last - day.open, 8)),
        "high": decimal_text(day.high),
        "low": decimal_text(day.low),
        "vol": decimal_text(round(day.volume, 8)),
        "volValue": decimal_text(round(day.turnover, 8)),
        "last": decimal_text(day.last),
        "averagePrice": decimal_text(round(_average_price(day), 8)),
    } | fees


def _average_price(day: DayStats) -> float:
    return day.turnover / day.volume if day.volume else day.last


def _bid_ask(market: MarketData, last: float) -> tuple[str | None, str | None]:
    """The last trade was at the ask; the bid lies one tick below."""
    return decimal_text(round(last - market.paper.price_increment, 12)), decimal_text(last)


def _size(market: MarketData) -> str | None:
    return decimal_text(market.paper.base_increment)


def _symbol_entry(name: str, market: MarketData) -> dict[str, Any]:
    base, quote = market.paper.market.symbol.split("/")
    return {
        "symbol": name,
        "name": name,
        "baseCurrency": base,
        "quoteCurrency": quote,
        "feeCurrency": quote,
        "market": "USDS",
        "baseMinSize": decimal_text(market.paper.base_increment),
        "quoteMinSize": "0.1",
        "baseMaxSize": "10000000000",
        "quoteMaxSize": "99999999",
        "baseIncrement": decimal_text(market.paper.base_increment),
        "quoteIncrement": "0.000001",
        "priceIncrement": decimal_text(market.paper.price_increment),
        "priceLimitRate": "0.1",
        "minFunds": "0.1",
        "isMarginEnabled": False,
        "enableTrading": True,
        "feeCategory": 1,
        "makerFeeCoefficient": "1.00",
        "takerFeeCoefficient": "1.00",
        "st": False,
        "callauctionIsEnabled": False,
        "callauctionPriceFloor": None,
        "callauctionPriceCeiling": None,
        "callauctionFirstStageStartTime": None,
        "callauctionSecondStageStartTime": None,
        "callauctionThirdStageStartTime": None,
        "tradingStartTime": None,
    }


def _currency_entry(name: str) -> dict[str, Any]:
    chain = {
        "chainName": name,
        "withdrawalMinSize": "0.001",
        "depositMinSize": "0.0002",
        "withdrawFeeRate": "0",
        "withdrawalMinFee": "0.0005",
        "isWithdrawEnabled": False,
        "isDepositEnabled": False,
        "confirms": 3,
        "preConfirms": 1,
        "contractAddress": "",
        "withdrawPrecision": 8,
        "maxWithdraw": None,
        "maxDeposit": None,
        "needTag": False,
        "chainId": name.lower(),
    }
    return {
        "currency": name,
        "name": name,
        "fullName": name,
        "precision": 8,
        "confirms": None,
        "contractAddress": None,
        "isMarginEnabled": False,
        "isDebitEnabled": False,
        "chains": [chain],
    }
