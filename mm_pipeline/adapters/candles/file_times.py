"""Whether the times of a candle file can be times of candles. Nothing is allocated by them before they have passed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mm_pipeline.domain.arrays import Integers
from mm_pipeline.domain.errors import CandleFileError
from mm_pipeline.domain.instants import from_ms, to_ms

EARLIEST_MS = to_ms(datetime(2010, 1, 1, tzinfo=UTC))
"""No exchange had candles of a cryptocurrency before: the first one opened in March 2010."""
LATEST_MS = to_ms(datetime(2100, 1, 1, tzinfo=UTC))
LONGEST_GAP_DAYS = 366
"""Between two bars of a file. A market without a trade for a year is closed; a longer gap is a wrong time."""

_DAY_MS = 86_400_000
_UNITS = {"microseconds": 1000, "nanoseconds": 1_000_000, "seconds": -1000}
"""By name: how many of them are a millisecond; negative: how many milliseconds are in each."""


def check_times(times_ms: Integers, path: Path) -> None:
    """Refuse times that no candle can have.

    Parameters
    ----------
    times_ms
        Open times as epoch milliseconds, any order, any number.
    path
        The file, named in the error.

    Raises
    ------
    CandleFileError
        Naming the first row at fault and the unit that its time seems to be in.
    """
    wrong = np.flatnonzero((times_ms < EARLIEST_MS) | (times_ms >= LATEST_MS))
    if wrong.size:
        raise _impossible(times_ms, wrong, path)


def check_gaps(times_ms: Integers, names: str) -> None:
    """Refuse bars of one market that lie too far apart for the bars between to be made.

    Parameters
    ----------
    times_ms
        Open times of all files of the market as epoch milliseconds, any order.
    names
        The files, named in the error.

    Raises
    ------
    CandleFileError
        Naming the bars on both sides of the gap.
    """
    ordered = np.sort(times_ms)
    gaps_ms = np.diff(ordered)
    if gaps_ms.size and gaps_ms.max() > LONGEST_GAP_DAYS * _DAY_MS:
        before = int(np.argmax(gaps_ms))
        raise CandleFileError(
            f"{names}: no bar between {_shown(ordered[before])} and {_shown(ordered[before + 1])}, "
            f"{gaps_ms[before] // _DAY_MS:,} days.",
            "Correct the time of the bar that stands alone, or give the files before and after separately.",
        )


def _impossible(times_ms: Integers, wrong: Integers, path: Path) -> CandleFileError:
    row, value = int(wrong[0]) + 1, int(times_ms[wrong[0]])
    unit = next((name for name, factor in _UNITS.items() if EARLIEST_MS <= _as_ms(value, factor) < LATEST_MS), None)
    place = "all rows" if wrong.size == times_ms.size else f"row {row} and {wrong.size - 1} more"
    if unit is not None:
        problem = f"times are in {unit}, read as milliseconds, in {place}."
        return CandleFileError(f"{path}: {problem}", f"Convert them: open_time counts milliseconds, not {unit}.")
    which = "before 2010" if value < EARLIEST_MS else "after 2099"
    return CandleFileError(
        f"{path}: the time of row {row} ({value} ms since 1970) is {which}; "
        f"{wrong.size} of {times_ms.size} rows are out of range.",
        "Correct or drop what is out of range: open_time counts milliseconds since 1970 in UTC.",
    )


def _as_ms(value: int, factor: int) -> int:
    return value // factor if factor > 0 else value * -factor


def _shown(time_ms: int) -> str:
    return f"{from_ms(int(time_ms)):%Y-%m-%dT%H:%MZ}"
