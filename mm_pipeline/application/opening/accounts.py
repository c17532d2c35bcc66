"""Whose accounts a run reads: the exchange's, where its key is in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.exchange.paper_address import paper_base_url
from mm_pipeline.domain.account import FillStore, PositionSource
from mm_pipeline.domain.candles import CircuitStore
from mm_pipeline.settings import Settings

if TYPE_CHECKING:
    from mm_pipeline.adapters.account import ExchangeAccount

READABLE = ("kucoin",)
"""Exchanges whose accounts can be read."""


class AccountFactory(Protocol):
    """Makes the reader of an exchange's account; tests give their own."""

    def open(
        self, exchange: str, *, settings: Settings, clock: Clock, circuits: CircuitStore, fills: FillStore
    ) -> ExchangeAccount | None:
        """The reader; None where there is no account to read.

        Raises
        ------
        ConfigError
            When some of the key's variables are set and others are not.
        """
        ...


@dataclass(frozen=True)
class ExchangeAccounts:
    """Accounts over ccxt: of the real exchange, or of the paper exchange where the settings say so."""

    def open(
        self, exchange: str, *, settings: Settings, clock: Clock, circuits: CircuitStore, fills: FillStore
    ) -> ExchangeAccount | None:
        """See :class:`AccountFactory`."""
        from mm_pipeline.adapters.account import Credentials, ExchangeAccount

        if exchange not in READABLE or PositionSource.EXCHANGE not in settings.account.sources:
            return None
        credentials = Credentials.from_environment(settings.account)
        if credentials is None:
            return None
        return ExchangeAccount(
            exchange,
            credentials,
            policy=settings.account,
            exchange_policy=settings.exchange_access,
            clock=clock,
            circuits=circuits,
            fills=fills,
            base_url=paper_base_url(settings.paper_url, exchange) if settings.is_paper else None,
        )
