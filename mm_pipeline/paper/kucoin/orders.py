"""Orders and fills as KuCoin's two spot order APIs print them, field by field as in its recorded answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mm_pipeline.domain.account import OrderApi
from mm_pipeline.paper.trading.orders import ZERO, Order, OrderStatus, Trade

_TRADE_IDS = 11_000_000_000_000
_FILL_IDS = 19_000_000_000_000
_PARTNER_ORDER = "f" * 24


def order_entry(order: Order) -> dict[str, Any]:
    """An order in the form of the API through which it was placed."""
    return _hf_order(order) if order.ticket.api is OrderApi.HF else _classic_order(order)


def fill_entry(trade: Trade) -> dict[str, Any]:
    """A trade in the form of the API through which its order was placed."""
    common = {
        "symbol": trade.symbol,
        "orderId": trade.order_id,
        "counterOrderId": _PARTNER_ORDER,
        "side": trade.side.value,
        "liquidity": "maker" if trade.is_maker else "taker",
        "forceTaker": False,
        "price": text(trade.price),
        "size": text(trade.size),
        "funds": text(trade.funds),
        "fee": text(trade.fee),
        "feeRate": text(trade.fee_rate),
        "feeCurrency": trade.fee_currency,
        "stop": "",
        "tradeType": "TRADE",
        "type": "limit" if trade.is_limit else "market",
        "createdAt": trade.at_ms,
    }
    if trade.api is OrderApi.HF:
        return {"id": fill_id(trade), "tradeId": trade_id(trade), "taxRate": "0", "tax": "0", **common}
    return {"tradeId": str(trade_id(trade)), **common}


def trade_id(trade: Trade) -> int:
    """What fills and ledgers name a trade by."""
    return _TRADE_IDS + trade.number


def fill_id(trade: Trade) -> int:
    """What hf lists are paged by."""
    return _FILL_IDS + trade.number


def order_page_id(order: Order) -> int:
    """What lists of done hf orders are paged by."""
    return _FILL_IDS + order.number


def text(amount: Decimal) -> str:
    """An amount as exchanges print it: exact, without exponent or trailing zeros."""
    plain = format(amount, "f")
    return (plain.rstrip("0").rstrip(".") or "0") if "." in plain else plain


def _common(order: Order) -> dict[str, Any]:
    ticket = order.ticket
    return {
        "id": order.order_id,
        "symbol": ticket.symbol,
        "opType": "DEAL",
        "type": "market" if ticket.price is None else "limit",
        "side": ticket.side.value,
        "price": text(ticket.price or ZERO),
        "size": text(ticket.size),
        "dealFunds": text(order.filled_funds),
        "dealSize": text(order.filled),
        "fee": text(order.fee),
        "feeCurrency": order.fee_currency or ticket.symbol.split("-")[1],
        "timeInForce": "GTC",
        "postOnly": ticket.is_post_only,
        "hidden": False,
        "iceberg": False,
        "visibleSize": "0",
        "cancelAfter": 0,
        "channel": "API",
        "clientOid": ticket.client_oid,
        "remark": None,
        "tags": None,
        "cancelExist": order.status is OrderStatus.CANCELLED,
        "createdAt": order.created_ms,
        "tradeType": "TRADE",
    }


def _classic_order(order: Order) -> dict[str, Any]:
    return {
        **_common(order),
        "funds": "0",
        "stp": "",
        "stop": "",
        "stopTriggered": False,
        "stopPrice": "0",
        "isActive": order.status is OrderStatus.OPEN,
    }


def _hf_order(order: Order) -> dict[str, Any]:
    price = order.ticket.price or ZERO
    is_open, is_cancelled = order.status is OrderStatus.OPEN, order.status is OrderStatus.CANCELLED
    left = order.remaining
    return {
        **_common(order),
        "funds": text(order.ticket.size * price),
        "stp": None,
        "lastUpdatedAt": order.updated_ms,
        "inOrderBook": is_open,
        "cancelledSize": text(left if is_cancelled else ZERO),
        "cancelledFunds": text(left * price if is_cancelled else ZERO),
        "remainSize": text(left if is_open else ZERO),
        "remainFunds": text(left * price if is_open else ZERO),
        "tax": "0",
        "active": is_open,
    }
