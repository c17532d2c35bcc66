"""Reads what came into an account and left it, day by day, and keeps each day as soon as it is whole."""

from __future__ import annotations

from datetime import timedelta

from mm_pipeline.adapters.account.kucoin_client import LEDGER_WINDOW, KucoinAccountClient
from mm_pipeline.adapters.account.paging import Page, all_pages, windows
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.domain.account import AccountFlow, AccountPolicy, FillStore, OrderApi, ReadSpan

_SPARE_SHARE = 1 / 3
"""Of the time that flows have, kept for the last question, so that a long ledger ends in no error."""


def read_flows(
    asking: Asking[KucoinAccountClient],
    store: FillStore,
    account: str,
    *,
    start_ms: int,
    end_ms: int,
    policy: AccountPolicy,
) -> None:
    """Bring the flows of an account up to date, or as far as the time allows.

    Where the ledger does not reach back to ``start_ms``, or to what was read last, the span that is known begins as far
    back as it reaches; flows from before a hole stay kept.

    Raises
    ------
    CandleSourceError
        Windows that were read in full before are kept all the same.
    ConflictingFlows, StorageError
        When the store cannot take what was read.
    """
    reach_ms = end_ms - _ms(asking.client.ledger_reach)
    length_ms, overlap_ms = _ms(min(policy.window, LEDGER_WINDOW)), _ms(policy.overlap)
    known = store.flow_span(account)
    if known is not None and known.end_ms - overlap_ms < reach_ms:
        known = None
    spare_s = asking.remaining_s * _SPARE_SHARE
    ways = windows(known, max(start_ms, reach_ms), end_ms, length_ms=length_ms, overlap_ms=overlap_ms)
    for window, span in ways:
        if asking.remaining_s < spare_s:
            return
        found = [flow for api in policy.order_api.read for flow in _read_window(asking, window, policy.page_rows, api)]
        store.append_flows(account, found, span=span)


def _read_window(asking: Asking[KucoinAccountClient], window: ReadSpan, rows: int, api: OrderApi) -> list[AccountFlow]:
    def page_at(place: int | None) -> Page[AccountFlow]:
        return asking.client.flows(start_ms=window.start_ms, end_ms=window.end_ms, rows=rows, page=place, api=api)

    return list(all_pages(asking, "the account's ledger", page_at).items)


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
