"""What a fill cannot be, wherever it was read: its time, its names and its fee."""

from __future__ import annotations

from typing import Final, NamedTuple

from mm_pipeline.domain.account.values import AccountFill

EARLIEST_MS: Final = 1_262_304_000_000
"""2010-01-01 in epoch milliseconds: no exchange of coins is older (the first one traded in July 2010)."""
_LONGEST_NAME: Final = 200
_ROUNDING: Final = 1e-9


class FeeBounds(NamedTuple):
    """Fees as a share of what was paid or received; a rebate is a fee below 0."""

    lowest: float
    highest: float

    def holds(self, fill: AccountFill, fee_quote: float) -> bool:
        """Whether a fill's fee, told in quote, is within the bounds."""
        worth = fill.price * fill.quantity_base
        return self.lowest * worth * (1 + _ROUNDING) <= fee_quote <= self.highest * worth * (1 + _ROUNDING)

    def problem(self, fill: AccountFill, fee_quote: float) -> str:
        """In words, what is wrong with a fee that is out of bounds."""
        share = fee_quote / (fill.price * fill.quantity_base)
        return f"{fee_quote:,.6g} is {100 * share:,.4g} % of what was traded, out of {self.text}."

    @property
    def text(self) -> str:
        """``-0.1 % to 5 %``."""
        return f"{100 * self.lowest:g} % to {100 * self.highest:g} %"


def is_name(text: str) -> bool:
    """Whether an exchange may call something so: printable, which no control character is, and not too long."""
    return text.isprintable() and len(text) <= _LONGEST_NAME
