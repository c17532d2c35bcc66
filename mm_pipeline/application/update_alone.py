"""One market's candles apart from all others, so that what no source foresaw stays with its own market."""

from __future__ import annotations

from collections.abc import Callable

from mm_pipeline.adapters.candles.stored import CandleUpdate, StoredCandles
from mm_pipeline.domain.errors import ConfigError, ExchangeError, MarketNotFound
from mm_pipeline.domain.market import Market


def update_alone(
    update: Callable[[list[StoredCandles]], dict[Market, CandleUpdate]], known: StoredCandles
) -> CandleUpdate:
    """Update one market; whatever goes wrong is its own problem.

    Parameters
    ----------
    update
        Updates several markets at once, and may raise anything.
    """
    try:
        return update([known])[known.market]
    except ConfigError as error:
        return CandleUpdate(after=known, problem=MarketNotFound(error.problem, error.hint))
    except Exception as error:
        problem = f"{type(error).__name__} while fetching {known.market}: {error}"
        return CandleUpdate(after=known, problem=ExchangeError(problem, "This is a fault of the program."))
