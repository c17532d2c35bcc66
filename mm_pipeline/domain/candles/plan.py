"""What to ask a source for, given what is stored. Pure: the asking is the adapters'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.candles.exchange_policy import ExchangePolicy
from mm_pipeline.domain.columns import epoch_ms
from mm_pipeline.domain.market import Timeframe

_STEP_MS = Timeframe.M15.ms


@dataclass(frozen=True)
class FetchRange:
    """Bars with ``start_ms <= open_time < end_ms``, epoch milliseconds."""

    start_ms: int
    end_ms: int

    def covers(self, time_ms: int) -> bool:
        """Whether a bar that opens at ``time_ms`` is asked for."""
        return self.start_ms <= time_ms < self.end_ms


@dataclass(frozen=True)
class AskedAgain:
    """What is stored of a range and asked for once more.

    Attributes
    ----------
    span
        The bars.
    is_whole
        Whether all of them are asked for; else those alone that no answer brought.
    """

    span: FetchRange
    is_whole: bool = False

    def slots(self, stored: pl.DataFrame) -> Integers:
        """Open times (epoch ms) to ask for, in what is stored (a raw candle frame)."""
        if stored.is_empty():
            return np.empty(0, dtype=np.int64)
        opened_ms = epoch_ms(stored["open_time"])
        first_ms, last_ms = max(self.span.start_ms, int(opened_ms[0])), min(self.span.end_ms - 1, int(opened_ms[-1]))
        slots_ms = np.arange(-(-first_ms // _STEP_MS) * _STEP_MS, last_ms + 1, _STEP_MS, dtype=np.int64)
        return slots_ms if self.is_whole else slots_ms[~np.isin(slots_ms, opened_ms)]


def plan_fetch(
    stored: pl.DataFrame,
    *,
    quarantined_ms: Integers,
    start_ms: int,
    end_ms: int,
    policy: ExchangePolicy,
    asked_from_ms: int | None = None,
    missing_ms: Integers | None = None,
) -> tuple[FetchRange, ...]:
    """List the ranges to ask for, in the order in which to ask.

    What is stored is one stretch that was asked for. So it may only grow at its ends - forwards from the newest candle,
    backwards from the oldest, and no further once a range fails. Asked again are the last ``reask_bars`` bars (a late
    candle or a revision shows there), every quarantined time, and every missing bar that may not count as quiet yet:
    near ones together, so never more pages than the stretch has.

    Parameters
    ----------
    stored
        Clean raw candle frame (sorted, unique).
    quarantined_ms
        Open times in quarantine, epoch milliseconds.
    start_ms, end_ms
        What is wanted: closed bars with ``start_ms <= open_time < end_ms``.
    policy
        ``reask_bars``, ``bars_per_fetch`` and ``max_page_bars``.
    asked_from_ms
        From where on everything before the oldest stored candle was already asked for (a market listed later than
        ``start_ms``); None when that is not known.
    missing_ms
        Open times (epoch milliseconds) inside the stretch that are to be asked for once more.

    Returns
    -------
    tuple of FetchRange
        Each at most ``bars_per_fetch`` long.
    """
    part_ms = policy.bars_per_fetch * _STEP_MS
    if stored.is_empty():
        return tuple(_parts(start_ms, end_ms, part_ms))
    stored_ms = epoch_ms(stored["open_time"])
    reask_from_ms = int(stored_ms[-1]) + _STEP_MS * (1 - policy.reask_bars)
    trailing = _parts(max(reask_from_ms, int(stored_ms[0])), end_ms, part_ms)
    asked_ms = int(stored_ms[0]) if asked_from_ms is None else min(asked_from_ms, int(stored_ms[0]))
    leading = _parts(start_ms, asked_ms, part_ms)[::-1]
    ends = trailing + leading
    again_ms = np.concatenate([np.asarray(quarantined_ms, dtype=np.int64), [] if missing_ms is None else missing_ms])
    slots_ms = np.unique(again_ms.astype(np.int64) // _STEP_MS * _STEP_MS).tolist()
    left = [time for time in slots_ms if start_ms <= time < end_ms and not any(part.covers(time) for part in ends)]
    return tuple(ends + _pages_around(left, page_ms=policy.max_page_bars * _STEP_MS))


def _parts(start_ms: int, end_ms: int, part_ms: int) -> list[FetchRange]:
    return [FetchRange(start, min(start + part_ms, end_ms)) for start in range(start_ms, end_ms, part_ms)]


def _pages_around(times_ms: list[int], *, page_ms: int) -> list[FetchRange]:
    """Fewest ranges of at most one page that cover all times."""
    pages: list[FetchRange] = []
    for time in times_ms:
        if pages and time < pages[-1].start_ms + page_ms:
            pages[-1] = FetchRange(pages[-1].start_ms, time + _STEP_MS)
        else:
            pages.append(FetchRange(time, time + _STEP_MS))
    return pages
