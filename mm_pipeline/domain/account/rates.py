"""What currencies are worth in a quote currency, by the last prices of an exchange's symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BRIDGES: Final = ("USDT", "USDC", "BTC", "EUR", "USD")


def rates_in(quote: str, last: Mapping[str, float]) -> dict[str, float]:
    """Quote per unit of each currency: by its own pair, the reverse one, or over one currency that both trade against.

    Parameters
    ----------
    last
        Last price by symbol (``KCS/USDT``); none is 0.
    """
    found = _direct(quote, last)
    for bridge in _BRIDGES:
        if bridge in found and bridge != quote:
            across = {name: rate * found[bridge] for name, rate in _direct(bridge, last).items() if name != quote}
            found = across | found
    return found


def _direct(quote: str, last: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for symbol, price in last.items():
        base, _, priced = symbol.partition("/")
        if base == quote:
            found.setdefault(priced, 1.0 / price)
    return found | {
        symbol.removesuffix(f"/{quote}"): price for symbol, price in last.items() if symbol.endswith(f"/{quote}")
    }
