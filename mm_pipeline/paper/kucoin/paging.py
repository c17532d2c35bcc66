"""Time windows and pages of KuCoin's private lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mm_pipeline.paper.http.wire import Request
from mm_pipeline.paper.kucoin.market_data import Refusal

T = TypeVar("T")

DAY_MS = 86_400_000
_WINDOW_MS = 7 * DAY_MS
_CLASSIC_ROWS, _CLASSIC_MOST = 50, 500
_HF_ROWS, _HF_MOST = 20, 100


def in_window(request: Request, items: Sequence[T], at_ms: Callable[[T], int], *, most_ms: int = _WINDOW_MS) -> list[T]:
    """Items between ``startAt`` and ``endAt`` (milliseconds, both included), newest first.

    With one of them the other lies ``most_ms`` away (7 days), with none the window is the last day; more than
    ``most_ms`` are refused.
    """
    start_ms, end_ms = integer(request, "startAt"), integer(request, "endAt")
    if start_ms is None and end_ms is None:
        start_ms, end_ms = request.now_ms - DAY_MS, request.now_ms
    elif end_ms is None:
        end_ms = (start_ms or 0) + most_ms
    elif start_ms is None:
        start_ms = end_ms - most_ms
    if end_ms - (start_ms or 0) > most_ms:
        raise Refusal("400100", "validation.queryOrder.timeRangeInvalid")
    return [item for item in reversed(items) if (start_ms or 0) <= at_ms(item) <= end_ms]


def classic_page(request: Request, items: Sequence[T], entry: Callable[[T], Any]) -> dict[str, Any]:
    """``currentPage``, counted from 1, of ``pageSize`` items (50 where it is left out)."""
    size = integer(request, "pageSize") or _CLASSIC_ROWS
    page = integer(request, "currentPage") or 1
    if size > _CLASSIC_MOST:
        raise Refusal("400100", f"pageSize should not greater than {_CLASSIC_MOST}")
    return {
        "currentPage": page,
        "pageSize": size,
        "totalNum": len(items),
        "totalPage": -(-len(items) // size),
        "items": [entry(item) for item in items[(page - 1) * size : page * size]],
    }


def hf_page(
    request: Request, items: Sequence[T], entry: Callable[[T], Any], page_id: Callable[[T], int]
) -> dict[str, Any]:
    """The newest ``limit`` items (20 where it is left out, 100 at most), or those with ids below ``lastId``."""
    shown = hf_items(request, items, page_id, rows=_HF_ROWS, most=_HF_MOST)
    return {"items": [entry(item) for item in shown], "lastId": page_id(shown[-1]) if shown else 0}


def hf_items(request: Request, items: Sequence[T], page_id: Callable[[T], int], *, rows: int, most: int) -> Sequence[T]:
    """What is on the page: ``limit`` items, ``rows`` where it is left out; more than ``most`` are refused."""
    limit = integer(request, "limit") or rows
    if limit > most:
        raise Refusal("400100", f"limit should not greater than {most}")
    last_id = integer(request, "lastId")
    return [item for item in items if not last_id or page_id(item) < last_id][:limit]


def integer(request: Request, name: str) -> int | None:
    """A whole number of the query; None where it is left out or empty."""
    value = request.query.get(name, "")
    if not value:
        return None
    if not value.isdecimal():
        raise Refusal("400100", f"{name} must be a number.", status=400)
    return int(value)
