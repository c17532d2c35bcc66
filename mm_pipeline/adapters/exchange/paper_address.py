"""Where the paper exchange serves each dialect; the server and everybody who asks it take it from here."""

from __future__ import annotations

from typing import Final

_VERSION_IN_BASE: Final = {"binance": "/api/v3"}
"""ccxt's kucoin appends ``/api/v1/...`` itself; its binance expects the version in the base."""


def paper_base_url(paper_url: str, exchange: str) -> str:
    """What every key of a ccxt client's ``urls["api"]`` is set to for this exchange."""
    return f"{paper_url}/{exchange}{_VERSION_IN_BASE.get(exchange, '')}"
