"""Prices as text: one function for tables, pages, charts and commands, so that two levels never look the same."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

NO_STOP_TEXT: Final = "no stop: all of the inventory"
"""What may be lost by a grid that was declared without a stop."""
_NOTHING: Final = "-"
_PLAIN_FROM, _PLAIN_BELOW = 1e-10, 1e10


def price_text(price: float | None) -> str:
    """A price with at least four significant digits; very small and very large ones with an exponent."""
    if price is None or not math.isfinite(price):
        return _NOTHING
    size = abs(price)
    if size >= _PLAIN_BELOW or 0 < size < _PLAIN_FROM:
        return f"{price:.3e}"
    if size >= 10:
        return f"{price:,.2f}"
    decimals = 4 if size >= 0.1 or size == 0 else 3 - math.floor(math.log10(size))
    return f"{price:,.{decimals}f}"


def stop_text(stop_loss: float | None) -> str:
    """The stop of a grid, in words where there is none."""
    return "none" if stop_loss is None else price_text(stop_loss)


def age_text(since: datetime | None, now: datetime) -> str:
    """How long something has been so, in the two largest units."""
    if since is None:
        return _NOTHING
    minutes = max(0, int((now - since).total_seconds() // 60))
    days, hours, left = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {left} min" if hours else f"{left} min"
