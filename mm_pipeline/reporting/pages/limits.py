"""How a page is held within Pushover's limits, and what the moment of sending adds to it. What it says is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mm_pipeline.domain.notifications.channel import TEXT_LIMIT, TITLE_LIMIT
from mm_pipeline.reporting.pages.words import span_text

PARTING: Final = "\n\n"
"""Between the lines that are never left out and those that may be."""


@dataclass(frozen=True)
class PageText:
    """Title and text of a page: plain text, at most ``TITLE_LIMIT`` and ``TEXT_LIMIT`` characters."""

    title: str
    text: str


def marked(
    title: str, text: str, *, late_by: timedelta | None, may_be_duplicate: bool, is_test: bool = False
) -> PageText:
    """The page as it is sent: what the moment of sending adds stands in its first line and in its title.

    Parameters
    ----------
    title, text
        Of :func:`page_text`; lines after the blank one make room.
    late_by
        Age of what is told; None, or less than a minute, is not late.
    may_be_duplicate
        Whether an earlier attempt may have arrived.
    is_test
        Whether nothing of it is true.
    """
    marks = []
    if late_by is not None and late_by >= timedelta(minutes=1):
        marks.append(f"LATE {span_text(late_by)}")
    if may_be_duplicate:
        marks.append("POSSIBLE DUPLICATE")
    ending = f" ({', '.join(marks)})" if marks else ""
    beginning = "TEST: " if is_test else ""
    title = beginning + cut(title, TITLE_LIMIT - len(beginning) - len(ending)) + ending
    first = "; ".join([*(["TEST: nothing to do"] if is_test else []), *marks])
    essential, _, optional = text.partition(PARTING)
    lines = [*([first] if first else []), *essential.split("\n")]
    return PageText(cut(title, TITLE_LIMIT), fitted(lines, optional.split("\n") if optional else ()))


def fitted(essential: Sequence[str], optional: Sequence[str]) -> str:
    """The lines that have room, whole; cut by characters only where the essential ones alone are too long."""
    text, parting = "\n".join(essential), PARTING
    for line in optional:
        if len(text) + len(parting) + len(line) > TEXT_LIMIT:
            break
        text, parting = f"{text}{parting}{line}", "\n"
    return cut(text, TEXT_LIMIT)


def cut(text: str, limit: int) -> str:
    """At most this many characters."""
    return text if len(text) <= limit else text[: max(0, limit - 3)] + "..."
