"""KuCoin's signed spot endpoints: key, balances, orders and fills of both order APIs. Every answer is of one desk.

Before an endpoint is called the desk has been brought up to the clock.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any

from mm_pipeline.domain.account import OrderApi, Side
from mm_pipeline.paper.http.wire import Request
from mm_pipeline.paper.kucoin.market_data import Refusal
from mm_pipeline.paper.kucoin.orders import fill_entry, fill_id, order_entry, order_page_id, text
from mm_pipeline.paper.kucoin.paging import classic_page, hf_page, in_window
from mm_pipeline.paper.trading.account import BalanceInsufficient, PaperKey
from mm_pipeline.paper.trading.desk import TradingDesk, is_marketable
from mm_pipeline.paper.trading.orders import Order, OrderStatus, OrderTicket, Trade, is_multiple

_KEY_MADE_MS = 1_728_443_843_000
_NO_SUCH_ORDER = "order_not_exist_or_not_allow_to_cancel"


def api_key(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """What the key may do."""
    return {
        "remark": "paper",
        "apiKey": key.key,
        "apiVersion": 3,
        "permission": ",".join(key.permissions),
        "createdAt": _KEY_MADE_MS,
        "uid": desk.account.uid,
        "isMaster": True,
    }


def accounts(desk: TradingDesk, key: PaperKey, request: Request) -> list[dict[str, Any]]:
    """Balances by currency."""
    kind = desk.account.account_type
    wanted, currency = request.query.get("type", kind), request.query.get("currency")
    return [
        {
            "id": f"{desk.account.uid}{place:03d}",
            "currency": name,
            "type": kind,
            "balance": text(desk.balances.available(name) + desk.balances.held(name)),
            "available": text(desk.balances.available(name)),
            "holds": text(desk.balances.held(name)),
        }
        for place, name in enumerate(desk.balances.currencies())
        if wanted == kind and currency in {None, name}
    ]


def is_hf_opened(desk: TradingDesk, key: PaperKey, request: Request) -> bool:
    """Whether the account trades through the hf API."""
    return desk.account.order_api is OrderApi.HF


def account_mode(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Whether the account is in unified mode."""
    return {"selfAccountMode": "UNIFIED" if desk.account.is_unified else "CLASSIC", "subAccountModes": []}


def margin_symbols(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Symbols traded on margin: none. Clients with a key ask for them beside the spot symbols."""
    return {"timestamp": request.now_ms, "items": []}


def isolated_symbols(desk: TradingDesk, key: PaperKey, request: Request) -> list[Any]:
    """Symbols traded on isolated margin: none."""
    return []


def hf_place(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Place an order through the hf API."""
    order = _placed(desk, request, OrderApi.HF)
    return {"orderId": order.order_id, "clientOid": order.ticket.client_oid}


def hf_place_sync(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Place an order and say what became of it at once."""
    order = _placed(desk, request, OrderApi.HF)
    is_open = order.status is OrderStatus.OPEN
    return {
        "orderId": order.order_id,
        "clientOid": order.ticket.client_oid,
        "orderTime": order.created_ms,
        "originSize": text(order.ticket.size),
        "dealSize": text(order.filled),
        "remainSize": text(order.remaining if is_open else Decimal(0)),
        "canceledSize": "0",
        "status": "open" if is_open else "done",
        "matchTime": order.updated_ms,
    }


def classic_place(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Place an order through the classic API."""
    return {"orderId": _placed(desk, request, OrderApi.CLASSIC).order_id}


def hf_cancel(desk: TradingDesk, key: PaperKey, request: Request, *, order_id: str) -> dict[str, Any]:
    """Cancel one order of the hf API."""
    return {"orderId": _cancelled(desk, order_id, OrderApi.HF).order_id}


def classic_cancel(desk: TradingDesk, key: PaperKey, request: Request, *, order_id: str) -> dict[str, Any]:
    """Cancel one order of the classic API."""
    return {"cancelledOrderIds": [_cancelled(desk, order_id, OrderApi.CLASSIC).order_id]}


def hf_cancel_symbol(desk: TradingDesk, key: PaperKey, request: Request) -> str:
    """Cancel every open hf order of a symbol."""
    for order in _open(desk, OrderApi.HF, _symbol(desk, request.query.get("symbol", ""))):
        desk.cancel(order.order_id)
    return "success"


def hf_cancel_all(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Cancel every open hf order."""
    orders = _open(desk, OrderApi.HF, None)
    for order in orders:
        desk.cancel(order.order_id)
    return {"succeedSymbols": sorted({order.ticket.symbol for order in orders}), "failedSymbols": []}


def classic_cancel_all(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Cancel every open classic order, or those of a symbol."""
    orders = _open(desk, OrderApi.CLASSIC, request.query.get("symbol"))
    for order in orders:
        desk.cancel(order.order_id)
    return {"cancelledOrderIds": [order.order_id for order in orders]}


def hf_order(desk: TradingDesk, key: PaperKey, request: Request, *, order_id: str) -> dict[str, Any]:
    """One hf order."""
    return order_entry(_order(desk, order_id, OrderApi.HF, "order not exist."))


def classic_order(desk: TradingDesk, key: PaperKey, request: Request, *, order_id: str) -> dict[str, Any]:
    """One classic order."""
    return order_entry(_order(desk, order_id, OrderApi.CLASSIC, "order not exist."))


def hf_active(desk: TradingDesk, key: PaperKey, request: Request) -> list[dict[str, Any]]:
    """Open hf orders of a symbol, newest first."""
    symbol = _symbol(desk, request.query.get("symbol", ""))
    return [order_entry(order) for order in reversed(_open(desk, OrderApi.HF, symbol))]


def hf_done(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Filled and cancelled hf orders of a symbol, by ``lastId`` and ``limit``."""
    symbol = _symbol(desk, request.query.get("symbol", ""))
    done = [order for order in _orders(desk, OrderApi.HF, request, symbol) if order.status is not OrderStatus.OPEN]
    return hf_page(request, in_window(request, done, lambda order: order.created_ms), order_entry, order_page_id)


def classic_orders(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Classic orders by ``currentPage`` and ``pageSize``; open ones of any age, done ones of a window of time."""
    is_active = request.query.get("status", "done") == "active"
    orders = _orders(desk, OrderApi.CLASSIC, request, request.query.get("symbol"))
    orders = [order for order in orders if (order.status is OrderStatus.OPEN) == is_active]
    shown = orders[::-1] if is_active else in_window(request, orders, lambda order: order.created_ms)
    return classic_page(request, shown, order_entry)


def hf_fills(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Fills of a symbol's hf orders, by ``lastId`` and ``limit``."""
    symbol = _symbol(desk, request.query.get("symbol", ""))
    return hf_page(request, _trades(desk, OrderApi.HF, request, symbol), fill_entry, fill_id)


def classic_fills(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """Fills of classic orders, by ``currentPage`` and ``pageSize``."""
    return classic_page(request, _trades(desk, OrderApi.CLASSIC, request, request.query.get("symbol")), fill_entry)


def _orders(desk: TradingDesk, api: OrderApi, request: Request, symbol: str | None) -> list[Order]:
    side = request.query.get("side")
    return [
        order
        for order in desk.orders
        if order.ticket.api is api
        and (symbol is None or order.ticket.symbol == symbol)
        and (side is None or order.ticket.side.value == side)
    ]


def _open(desk: TradingDesk, api: OrderApi, symbol: str | None) -> list[Order]:
    return [
        order
        for order in desk.orders
        if order.status is OrderStatus.OPEN
        and order.ticket.api is api
        and (symbol is None or order.ticket.symbol == symbol)
    ]


def _trades(desk: TradingDesk, api: OrderApi, request: Request, symbol: str | None) -> list[Trade]:
    side, order_id = request.query.get("side"), request.query.get("orderId")
    trades = [
        trade
        for trade in desk.trades
        if trade.api is api
        and (symbol is None or trade.symbol == symbol)
        and (side is None or trade.side.value == side)
        and (order_id is None or trade.order_id == order_id)
    ]
    return in_window(request, trades, lambda trade: trade.at_ms)


def _order(desk: TradingDesk, order_id: str, api: OrderApi, message: str) -> Order:
    for order in desk.orders:
        if order.order_id == order_id and order.ticket.api is api:
            return order
    raise Refusal("400100", message)


def _cancelled(desk: TradingDesk, order_id: str, api: OrderApi) -> Order:
    if desk.cancel(_order(desk, order_id, api, _NO_SUCH_ORDER).order_id) is None:
        raise Refusal("400100", _NO_SUCH_ORDER)
    return _order(desk, order_id, api, _NO_SUCH_ORDER)


def _symbol(desk: TradingDesk, symbol: str) -> str:
    if symbol not in desk.symbols():
        raise Refusal("900001", "symbol not exists")
    return symbol


def _placed(desk: TradingDesk, request: Request, api: OrderApi) -> Order:
    ticket = _ticket(desk, request, api)
    if ticket.is_post_only and is_marketable(ticket, desk.market(ticket.symbol).price):
        raise Refusal("300000", "The order would fill at once, which postOnly forbids.")
    try:
        return desk.place(ticket)
    except BalanceInsufficient:
        raise Refusal("200004", "Balance insufficient!") from None


def _ticket(desk: TradingDesk, request: Request, api: OrderApi) -> OrderTicket:
    body = _body(request)
    symbol = _symbol(desk, str(body.get("symbol", "")))
    paper = desk.market(symbol).data.paper
    kind, side = body.get("type", "limit"), body.get("side")
    if kind not in {"limit", "market"} or side not in {"buy", "sell"} or body.get("timeInForce", "GTC") != "GTC":
        raise Refusal("400100", "Invalid Parameter.")
    if not body.get("clientOid"):
        raise Refusal("400100", "validation.createOrder.clientOidIsRequired")
    size = _decimal(body, "size")
    price = _decimal(body, "price") if kind == "limit" else None
    if size < Decimal(str(paper.base_increment)):
        raise Refusal("400100", "Order size below the minimum requirement.")
    if not is_multiple(size, paper.base_increment):
        raise Refusal("400100", "Order size increment invalid.")
    if price is not None and (price <= 0 or not is_multiple(price, paper.price_increment)):
        raise Refusal("400100", "Price increment invalid.")
    return OrderTicket(
        symbol=symbol,
        side=Side(side),
        size=size,
        price=price,
        api=api,
        client_oid=str(body["clientOid"]),
        is_post_only=bool(body.get("postOnly", False)),
    )


def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal("400100", "Invalid Parameter.", status=400)
    return body


def _decimal(body: dict[str, Any], name: str) -> Decimal:
    try:
        value = Decimal(str(body.get(name)))
    except InvalidOperation:
        raise Refusal("400100", "Invalid Parameter.") from None
    if not value.is_finite():
        raise Refusal("400100", "Invalid Parameter.")
    return value
