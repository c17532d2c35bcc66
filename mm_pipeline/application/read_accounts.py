"""The accounts of a live run: read once a market, whatever goes wrong with one of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mm_pipeline.adapters.account import AccountReading, FrameFills
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import ExchangeError, PipelineError
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Market

if TYPE_CHECKING:
    from mm_pipeline.application.account_view import AccountView

T = TypeVar("T")
_logger = logging.getLogger(__name__)


@dataclass
class Accounts:
    """Readings by market, every grid of which one of them knows something, and what stood in the way of others.

    ``old_imports`` are imported fills that are too old to decide anything.
    """

    readings: dict[Market, AccountReading] = field(default_factory=dict)
    known: dict[str, AccountView] = field(default_factory=dict)
    old_imports: dict[str, AccountView] = field(default_factory=dict)
    problems: dict[str, PipelineError] = field(default_factory=dict)

    def attempt(self, subject: str, work: Callable[[], T]) -> T | None:
        """Do something about one market or grid; what goes wrong is told, and stops no other."""
        try:
            return work()
        except PipelineError as error:
            self.problems[subject] = error
        except Exception as error:
            _logger.exception("account of %s", subject)
            told = f"{type(error).__name__} while looking at the account of {subject}: {error}"
            self.problems[subject] = PipelineError(told, "This is a fault of the program; the run's log has its trace.")
        return None


def read_accounts(watch: Watch, grids: Mapping[str, Grid]) -> Accounts:
    """Read the account of each exchange on which a grid trades, once a market.

    Fills are asked for from before the first start on: a start purchase may lie there. All together take no longer than
    one question to an exchange may, for states wait for it.
    """
    window_ms = watch.settings.account.start_window // timedelta(milliseconds=1)
    started = {
        market: min(grid.started_at_ms for grid in grids.values() if grid.market == market) - window_ms
        for market in sorted({grid.market for grid in grids.values()})
    }
    found = Accounts()
    readers: dict[str, Any] = {}
    ends_at = time.monotonic() + watch.settings.exchange_access.deadline.total_seconds()
    for market, start_ms in started.items():
        reading = found.attempt(str(market), partial(_read, watch, readers, market, start_ms, ends_at))
        if reading is not None:
            found.readings[market] = reading
    return found


def _read(
    watch: Watch, readers: dict[str, Any], market: Market, start_ms: int, ends_at: float
) -> AccountReading | None:
    if time.monotonic() > ends_at:
        raise ExchangeError(
            f"the account of {market} was not read: those before it took all of the time (exchange_access.deadline).",
            "The next evaluation tries again.",
        )
    if market.exchange not in readers:
        readers[market.exchange] = watch.installation.accounts.open(
            market.exchange,
            settings=watch.settings,
            clock=watch.installation.clock,
            circuits=watch.circuits(),
            fills=FrameFills(watch.frames_root),
        )
    reader = readers[market.exchange]
    return None if reader is None else reader.read(market, start_ms=start_ms)
