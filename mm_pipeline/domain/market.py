"""Names of things: a market (an exchange's symbol) and a timeframe. Everything that becomes a path is checked here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from mm_pipeline.domain.errors import ConfigError

_EXCHANGE = re.compile(r"[a-z0-9]{2,32}")
_SYMBOL = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{1,20}")


class Timeframe(StrEnum):
    """Length of a bar. ``M15`` is fetched; the coarser ones are resampled from it."""

    M15 = "15m"
    H1 = "1h"
    H4 = "4h"

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return {"15m": 900_000, "1h": 3_600_000, "4h": 14_400_000}[self.value]

    @property
    def bars_per_day(self) -> int:
        """Number of bars in 24 hours."""
        return 86_400_000 // self.ms


class FinerTimeframe(StrEnum):
    """Length of a bar that may stand in for a part of a 15m one; nothing else is made of them."""

    M5 = "5m"
    M1 = "1m"

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return {"5m": 300_000, "1m": 60_000}[self.value]


@dataclass(frozen=True, order=True)
class Market:
    """A symbol on an exchange, written ``kucoin:ETH/USDT`` (``kucoin_ETH-USDT`` in paths).

    Raises
    ------
    ConfigError
        When the exchange or symbol has a character that must never reach a path or a URL.
    """

    exchange: str
    symbol: str

    def __post_init__(self) -> None:
        if not _EXCHANGE.fullmatch(self.exchange):
            raise ConfigError(
                f"exchange {self.exchange!r} is not a ccxt exchange id.", "Use lower-case letters and digits."
            )
        if not _SYMBOL.fullmatch(self.symbol):
            raise ConfigError(f"symbol {self.symbol!r} is not BASE/QUOTE.", "Write it like ETH/USDT.")

    @classmethod
    def parse(cls, text: str) -> Market:
        """Read ``kucoin:ETH/USDT`` or the path form ``kucoin_ETH-USDT``."""
        exchange, separator, symbol = text.partition(":" if ":" in text else "_")
        if not separator:
            raise ConfigError(f"market {text!r} names no exchange.", "Write it like kucoin:ETH/USDT.")
        return cls(exchange, symbol.replace("-", "/"))

    @property
    def path_key(self) -> str:
        """The form used in file names: ``kucoin_ETH-USDT``."""
        return f"{self.exchange}_{self.symbol.replace('/', '-')}"

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"
