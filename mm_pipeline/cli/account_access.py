"""The exchange's account for commands, with the key of the environment; nothing that it reads is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm_pipeline.adapters.account import ExchangeAccount
    from mm_pipeline.settings import Settings


def open_account(settings: Settings) -> ExchangeAccount | None:
    """The account that runs read; None where no key is in the environment.

    Raises
    ------
    ConfigError
        When some of the key's variables are set and others are not.
    """
    from mm_pipeline.adapters.account import MemoryFills
    from mm_pipeline.adapters.clock import SystemClock
    from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits
    from mm_pipeline.application.opening.accounts import READABLE, ExchangeAccounts

    return ExchangeAccounts().open(
        READABLE[0], settings=settings, clock=SystemClock(), circuits=MemoryCircuits(), fills=MemoryFills()
    )
