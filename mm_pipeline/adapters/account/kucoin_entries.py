"""Fills, orders and ledger entries as ccxt tells them, in our own values; ``ValueError`` for what is amiss in them."""

from __future__ import annotations

import math
from typing import Any

from mm_pipeline.domain.account import (
    EARLIEST_MS,
    AccountFill,
    AccountFlow,
    FeeBounds,
    OpenOrder,
    Side,
    fee_in_quote,
    is_name,
    third_currencies,
)

TRADE_ACCOUNTS = frozenset({"trade", "trade_hf"})
"""What KuCoin calls spot trading accounts; ledgers write it in capitals."""
_OF_TRADING = frozenset({"fee", "rebate"})
"""ccxt's types of what trading does to a balance beside its fills."""
_FILLS = frozenset({"exchange", "trade_exchange", "spot_exchange"})
"""KuCoin's own kinds of what a fill on the spot market does, in small letters."""


def is_execution(trade: dict[str, Any]) -> bool:
    """Whether one of ``fetch_my_trades`` traded anything: KuCoin has listed cancelled orders there, at a price of 0."""
    return bool(_given(trade, "price")) and bool(_given(trade, "amount"))


def fill_of(trade: dict[str, Any], *, end_ms: int, fees: FeeBounds) -> AccountFill:
    """One of ``fetch_my_trades``; where no fee is told it is NaN.

    Parameters
    ----------
    end_ms
        No fill that was asked for is as late (epoch milliseconds).
    fees
        How much a fee may be; one in a third currency is not judged, for its rate is not in the answer.
    """
    fee = trade["fee"] or {}
    cost = fee.get("cost")
    fill = AccountFill(
        trade_id=_name(trade, "id"),
        order_id=_name(trade, "order"),
        symbol=str(_given(trade, "symbol")),
        time_ms=int(_given(trade, "timestamp")),
        side=Side(_given(trade, "side")),
        price=_positive(trade, "price"),
        quantity_base=_positive(trade, "amount"),
        fee=math.nan if cost is None else float(cost) + float(trade.get("info", {}).get("tax") or 0.0),
        fee_currency="" if cost is None else str(fee.get("currency") or trade["symbol"].split("/")[1]),
    )
    if not EARLIEST_MS <= fill.time_ms < end_ms:
        raise ValueError(f"the time of fill {fill.trade_id} is {fill.time_ms} ms")
    if cost is not None and math.isnan(fill.fee):
        raise ValueError(f"the fee of fill {fill.trade_id} is no number, and so no share of what was traded")
    if cost is None or third_currencies([fill]):
        return fill
    worth = fee_in_quote(fill, {})
    if not fees.holds(fill, worth):
        raise ValueError(f"the fee of fill {fill.trade_id}: {fees.problem(fill, worth)} (account.max_fee_share)")
    return fill


def order_of(order: dict[str, Any]) -> OpenOrder:
    """One of ``fetch_open_orders``."""
    return OpenOrder(
        order_id=_name(order, "id"),
        symbol=str(_given(order, "symbol")),
        time_ms=int(_given(order, "timestamp")),
        side=Side(_given(order, "side")),
        price=_positive(order, "price"),
        quantity_base=_positive(order, "amount"),
        filled_base=float(order["filled"] or 0.0),
    )


def flow_of(entry: dict[str, Any]) -> AccountFlow | None:
    """One of ``fetch_ledger``; None where it is of trading, moves nothing, or is another account's.

    The classic ledger tells of funding and margin accounts too. What a fill did names its trade or is of
    KuCoin's kinds for it: a purchase by card, a conversion or an instant exchange is a flow, though ccxt calls it a
    trade. The direction is KuCoin's own: where it is missing ccxt would have the amount come in.
    """
    kind, account = str(_given(entry, "type")), str(_given(entry, "account"))
    told = entry["info"]
    is_fill = str(told.get("bizType")).lower() in _FILLS or "tradeId" in str(told.get("context"))
    if account.lower() not in TRADE_ACCOUNTS or is_fill or kind in _OF_TRADING:
        return None
    amount, direction = float(_given(entry, "amount")), _given(entry["info"], "direction")
    if not 0.0 <= amount < float("inf") or direction not in {"in", "out"}:
        raise ValueError(f"{amount} went {direction}")
    flow = AccountFlow(
        ledger_id=str(_given(entry, "id")),
        time_ms=int(_given(entry, "timestamp")),
        currency=str(_given(entry, "currency")),
        amount=amount if direction == "in" else -amount,
    )
    return flow if amount > 0.0 else None


def _name(values: dict[str, Any], name: str) -> str:
    """An id that can be stored and shown as it is."""
    text = str(_given(values, name))
    if not is_name(text):
        raise ValueError(f"{name} is {text[:40]!a}")
    return text


def _given(values: dict[str, Any], name: str) -> Any:
    if values.get(name) is None:
        raise ValueError(f"{name} is missing")
    return values[name]


def _positive(values: dict[str, Any], name: str) -> float:
    value = float(_given(values, name))
    if not 0.0 < value < float("inf"):
        raise ValueError(f"{name} is {value}")
    return value
