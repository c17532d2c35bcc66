"""KuCoin's signed ledgers of both order APIs: trades, fees and what came and went, as its documentation tells them."""

from __future__ import annotations

import json
from typing import Any

from mm_pipeline.domain.account import OrderApi
from mm_pipeline.paper.http.wire import Request
from mm_pipeline.paper.kucoin.orders import text, trade_id
from mm_pipeline.paper.kucoin.paging import DAY_MS, classic_page, hf_items, in_window, integer
from mm_pipeline.paper.trading.account import PaperKey
from mm_pipeline.paper.trading.desk import TradingDesk
from mm_pipeline.paper.trading.ledger import LedgerEntry

_ENTRY_IDS = 254_000_000_000_000
_HF_ROWS, _HF_MOST = 100, 200
_HF_REACH_MS = 3 * DAY_MS


def hf_ledgers(desk: TradingDesk, key: PaperKey, request: Request) -> list[dict[str, Any]]:
    """The hf account's ledger, by ``lastId`` and ``limit``: a bare list.

    It reaches three days back; whoever asks for more is told those three days.
    """
    entries = _wanted(desk, request, is_hf=True)
    shown = in_window(request, entries, _at_ms, most_ms=DAY_MS)
    first_ms, start_ms = request.now_ms - _HF_REACH_MS, integer(request, "startAt")
    if start_ms is not None and start_ms < first_ms:
        shown = [entry for entry in reversed(entries) if entry.at_ms >= first_ms]
    page = hf_items(request, shown, _entry_id, rows=_HF_ROWS, most=_HF_MOST)
    return [{**_entry(entry, "TRADE_HF"), "tax": "0", "createdAt": str(entry.at_ms)} for entry in page]


def classic_ledgers(desk: TradingDesk, key: PaperKey, request: Request) -> dict[str, Any]:
    """The ledger of the funding account and, where it is no hf account, the trading account, page by page."""
    shown = in_window(request, _wanted(desk, request, is_hf=False), _at_ms, most_ms=DAY_MS)
    return classic_page(request, shown, lambda entry: _entry(entry, "MAIN" if entry.is_funding else "TRADE"))


def _wanted(desk: TradingDesk, request: Request, *, is_hf: bool) -> list[LedgerEntry]:
    """What one of the ledgers is of, by ``currency`` (with commas between several), ``direction`` and ``bizType``."""
    query, is_hf_account = request.query, desk.account.order_api is OrderApi.HF
    currencies = set(query.get("currency", "").split(",")) - {""}
    return [
        entry
        for entry in desk.ledger
        if (is_hf == is_hf_account if not entry.is_funding else not is_hf)
        and (not currencies or entry.currency in currencies)
        and query.get("direction") in {None, "", _direction(entry)}
        and query.get("bizType") in {None, "", entry.kind.value}
    ]


def _entry(entry: LedgerEntry, account_type: str) -> dict[str, Any]:
    return {
        "id": str(_entry_id(entry)),
        "currency": entry.currency,
        "amount": text(abs(entry.amount)),
        "fee": text(entry.fee),
        "balance": text(entry.balance),
        "accountType": account_type,
        "bizType": entry.kind.value,
        "direction": _direction(entry),
        "createdAt": entry.at_ms,
        "context": _context(entry),
    }


def _context(entry: LedgerEntry) -> str:
    """Compact JSON that names the trade; empty for flows."""
    trade = entry.trade
    if trade is None:
        return ""
    named = {"symbol": trade.symbol, "orderId": trade.order_id, "tradeId": str(trade_id(trade))}
    return json.dumps(named, separators=(",", ":"))


def _direction(entry: LedgerEntry) -> str:
    return "in" if entry.amount > 0 else "out"


def _entry_id(entry: LedgerEntry) -> int:
    return _ENTRY_IDS + entry.number


def _at_ms(entry: LedgerEntry) -> int:
    return entry.at_ms
