"""15m bars that an answer did not bring: when they count as bars without trades, and which must be asked for again.

An exchange sends no candle for a bar without trades, and an answer with a hole looks the same. So a bar that one answer
lacks is asked for once more, later; only when it is missing then too does it count as quiet (without trades).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.columns import TIME, epoch_ms, times_of
from mm_pipeline.domain.market import Timeframe

_STEP_MS = Timeframe.M15.ms

MISSING_SCHEMA: dict[str, pl.DataType] = {"open_time": TIME, "missed_at": TIME, "quiet_at": TIME}
"""A 15m bar that was asked for and not sent.

``missed_at`` is the moment of the first answer without it, null where an answer of unknown time lacked it; ``quiet_at``
the moment from which on it counts as a bar without trades, null while it does not.
"""


def no_missing() -> pl.DataFrame:
    """Return a frame of missing bars without rows."""
    return pl.DataFrame(schema=MISSING_SCHEMA)


def missing_slots(candles: pl.DataFrame, quarantined_ms: Integers, *, start_ms: int, end_ms: int) -> Integers:
    """Open times (epoch ms) of the 15m bars in ``[start_ms, end_ms)`` that neither came nor were refused."""
    first_ms = -(-start_ms // _STEP_MS) * _STEP_MS
    slots_ms = np.arange(first_ms, max(end_ms, first_ms), _STEP_MS, dtype=np.int64)
    there_ms = np.concatenate([epoch_ms(candles["open_time"]), quarantined_ms // _STEP_MS * _STEP_MS])
    return slots_ms[~np.isin(slots_ms, there_ms)]


def gaps_to_confirm(candles: pl.DataFrame, quarantined_ms: Integers, missing: pl.DataFrame) -> Integers:
    """Open times (epoch ms) between the oldest and the newest candle that are missing and not known to be quiet."""
    if candles.is_empty():
        return np.empty(0, dtype=np.int64)
    opened_ms = epoch_ms(candles["open_time"])
    gaps_ms = missing_slots(candles, quarantined_ms, start_ms=int(opened_ms[0]), end_ms=int(opened_ms[-1]))
    return gaps_ms[~np.isin(gaps_ms, quiet_slots(missing))]


def quiet_slots(missing: pl.DataFrame) -> Integers:
    """Open times (epoch ms) that count as bars without trades."""
    return epoch_ms(missing.filter(pl.col("quiet_at").is_not_null())["open_time"])


def with_gaps_of_unknown_time(missing: pl.DataFrame, candles: pl.DataFrame, quarantined_ms: Integers) -> pl.DataFrame:
    """Add the gaps inside stored candles that no row tells of: an answer of an earlier version lacked them."""
    untold_ms = gaps_to_confirm(candles, quarantined_ms, missing)
    untold_ms = untold_ms[~np.isin(untold_ms, epoch_ms(missing["open_time"]))]
    return _sorted([missing, _rows(untold_ms, missed_ms=None)])


def after_answer(
    missing: pl.DataFrame, absent_ms: Integers, *, start_ms: int, end_ms: int, now_ms: int, quiet_after_ms: int
) -> pl.DataFrame:
    """What is known of missing bars once ``[start_ms, end_ms)`` was asked for and answered.

    Parameters
    ----------
    missing
        ``MISSING_SCHEMA``, what was known before.
    absent_ms
        Open times (epoch ms) in the range that were neither sent now nor stored before.
    now_ms
        When the answer came. A ``missed_at`` later than that was written by a clock that was ahead: it begins anew.
    quiet_after_ms
        How long after the first answer without it a bar must still be missing to count as quiet.
    """
    opened_ms = pl.col("open_time").to_physical()
    outside = missing.filter((opened_ms < start_ms) | (opened_ms >= end_ms))
    again = missing.filter(opened_ms.is_in(absent_ms.tolist()))
    now = pl.lit(now_ms).cast(TIME)
    missed_ms = pl.col("missed_at").to_physical()
    is_confirmed = missed_ms.is_null() | (missed_ms <= now_ms - quiet_after_ms)
    again = again.with_columns(
        quiet_at=pl.coalesce("quiet_at", pl.when(is_confirmed).then(now)),
        missed_at=pl.when(missed_ms > now_ms).then(now).otherwise("missed_at"),
    )
    new_ms = absent_ms[~np.isin(absent_ms, epoch_ms(again["open_time"]))]
    return _sorted([outside, again, _rows(new_ms, missed_ms=now_ms)])


def all_quiet(missing: pl.DataFrame, *, now_ms: int) -> pl.DataFrame:
    """Let every bar count as quiet: the source leaves nothing out."""
    return missing.with_columns(pl.col("quiet_at").fill_null(pl.lit(now_ms).cast(TIME)))


def forget_quiet(missing: pl.DataFrame, slot_ms: int, *, now_ms: int) -> pl.DataFrame:
    """Let a bar count as missed for the first time now."""
    others = missing.filter(pl.col("open_time").to_physical() != slot_ms)
    return _sorted([others, _rows(np.array([slot_ms], dtype=np.int64), missed_ms=now_ms)])


def _rows(slots_ms: Integers, *, missed_ms: int | None) -> pl.DataFrame:
    return (
        times_of(slots_ms, "open_time")
        .to_frame()
        .with_columns(missed_at=pl.lit(missed_ms, dtype=pl.Int64).cast(TIME), quiet_at=pl.lit(None, dtype=TIME))
    )


def _sorted(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(part.select(list(MISSING_SCHEMA)) for part in parts).sort("open_time")
