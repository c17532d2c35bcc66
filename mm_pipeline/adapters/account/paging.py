"""Long questions cut into windows of time, and windows into pages. What is asked for is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from mm_pipeline.adapters.exchange.client import ExchangeClient
from mm_pipeline.adapters.exchange.retries import Asking
from mm_pipeline.domain.account import ReadSpan

C = TypeVar("C", bound=ExchangeClient)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Some items of a window, what of it cannot be read, and where the next page begins; None at the end."""

    items: tuple[T, ...]
    next_page: int | None
    problems: tuple[str, ...] = ()


def all_pages(asking: Asking[C], task: str, page_at: Callable[[int | None], Page[T]]) -> Page[T]:
    """Every page as one, each a question of its own.

    Parameters
    ----------
    task
        What is asked for, for messages.
    page_at
        Asks for the first page (None), or for the one that begins there.
    """
    page = asking.ask(task, partial(page_at, None))
    items, problems = [*page.items], [*page.problems]
    while page.next_page is not None:
        page = asking.ask(task, partial(page_at, page.next_page))
        items += page.items
        problems += page.problems
    return Page(items=tuple(items), next_page=None, problems=tuple(problems))


def windows(
    known: ReadSpan | None, start_ms: int, end_ms: int, *, length_ms: int, overlap_ms: int
) -> Iterator[tuple[ReadSpan, ReadSpan]]:
    """Windows to ask for, each with what will have been read in full after it.

    What lies before the known span is asked for from its beginning backwards, so that no hole is left in between. A
    known span that ends after ``end_ms`` was read by a clock that was ahead: nothing of the future is known.
    """
    known = ReadSpan(start_ms, start_ms) if known is None else known.until(end_ms)
    at_ms = known.start_ms
    while at_ms > start_ms:
        window = ReadSpan(max(start_ms, at_ms - length_ms), at_ms)
        at_ms = window.start_ms
        yield window, ReadSpan(at_ms, known.end_ms)
    first_ms = min(start_ms, known.start_ms)
    at_ms = max(first_ms, known.end_ms - overlap_ms)
    while at_ms < end_ms:
        window = ReadSpan(at_ms, min(at_ms + length_ms, end_ms))
        at_ms = window.end_ms
        yield window, ReadSpan(first_ms, max(at_ms, known.end_ms))
