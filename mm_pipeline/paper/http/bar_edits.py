"""Ready-made edits of candle rows for the fault :class:`~mm_pipeline.paper.http.faults.EditedBars`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from mm_pipeline.paper.http.wire import Bar, BarEdit


def _changed(bar: Bar, changes: Mapping[str, float | None]) -> Bar:
    fields: dict[str, Any] = {**bar._asdict(), **changes}
    return Bar(**fields)


def revise_bar(open_time_ms: int, **changes: float | None) -> BarEdit:
    """Replace fields of the bar that opened then: a revision, or NaN, a negative price, high below low."""
    return lambda bars: [_changed(bar, changes) if bar.open_time_ms == open_time_ms else bar for bar in bars]


def drop_bar(open_time_ms: int) -> BarEdit:
    """Leave the bar out."""
    return lambda bars: [bar for bar in bars if bar.open_time_ms != open_time_ms]


def repeat_bar(open_time_ms: int, **changes: float | None) -> BarEdit:
    """Send the bar twice, the second time with ``changes`` (none: an identical duplicate)."""

    def edit(bars: list[Bar]) -> list[Bar]:
        copies = [_changed(bar, changes) for bar in bars if bar.open_time_ms == open_time_ms]
        return sorted([*bars, *copies], key=lambda bar: bar.open_time_ms)

    return edit


def shuffle_bars(seed: int = 0) -> BarEdit:
    """Send the bars out of order, the same way for the same seed."""

    def edit(bars: list[Bar]) -> list[Bar]:
        return random.Random(seed).sample(bars, len(bars))  # noqa: S311 - disorder, not secrecy

    return edit
