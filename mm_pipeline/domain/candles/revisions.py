"""When a later answer about a closed bar is believed: at once where it goes further, after several where it does not.

A low or high that was told may have breached a stop. Two servers of one exchange may disagree, and answer in turn.
Meanwhile the bar stands as it was, so that nobody is blind for it: nothing milder than what was told is judged by.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from mm_pipeline.domain.candles.clean import QUARANTINE_SCHEMA
from mm_pipeline.domain.candles.frames import RAW_SCHEMA

REPLACED: Final = "replaced"
"""Reason of a kept row that says what a bar was before a milder answer was believed."""

WAITING: Final = "revision_unconfirmed"
"""Reason of a kept row that says what a milder answer said; there is one for each such answer in a row."""

NOTES: Final = frozenset({REPLACED, WAITING})
"""Reasons of rows that are kept for later answers; unlike a refused row they hide no bar."""


def settle_revisions(
    stored: pl.DataFrame, noted: pl.DataFrame, fetched: pl.DataFrame, *, enough: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hold an answer against what is stored.

    Lows and highs that go further are taken at once. A bar whose low or high is milder than the stored one waits until
    ``enough`` answers in a row said the same. Where it went that way before and came back, the exchange contradicts
    itself: the furthest low and high stay for good, and no answer waits any more.

    Parameters
    ----------
    stored, fetched
        Clean raw candle frames (sorted, unique) of the same market.
    noted
        What is kept of earlier answers (``QUARANTINE_SCHEMA``).

    Returns
    -------
    candles
        The fetched ones that may supersede stored ones, with the furthest low and high where one side is milder.
    notes
        ``QUARANTINE_SCHEMA`` with the reasons ``NOTES``: answers that wait, and what bars were that were replaced.
    """
    both = stored.join(fetched, on="open_time", suffix="_now")
    milder = both.filter((pl.col("low_now") > pl.col("low")) | (pl.col("high_now") < pl.col("high")))
    if milder.is_empty():
        return fetched, pl.DataFrame(schema=QUARANTINE_SCHEMA)
    candles, notes = [fetched.join(milder, on="open_time", how="anti")], []
    for row in milder.rows(named=True):
        old = {name: row[name] for name in RAW_SCHEMA}
        new = old | {name: row[f"{name}_now"] for name in RAW_SCHEMA if name != "open_time"}
        about = noted.filter(pl.col("open_time") == row["open_time"])
        answers = 1 + about.filter(reason=WAITING, low=new["low"], high=new["high"]).height
        is_contradicted = _came_back(about, old, new)
        if answers >= enough and not is_contradicted:
            candles.append(_frame(new, RAW_SCHEMA))
            notes.append(_frame(old | {"reason": REPLACED}, QUARANTINE_SCHEMA))
            continue
        furthest = {"low": min(old["low"], new["low"]), "high": max(old["high"], new["high"])}
        goes_further = (furthest["low"], furthest["high"]) != (old["low"], old["high"])
        candles.append(_frame((new if goes_further else old) | furthest, RAW_SCHEMA))
        notes += [] if is_contradicted else [_frame(new | {"reason": WAITING}, QUARANTINE_SCHEMA)] * answers
    return pl.concat(candles).sort("open_time"), pl.concat([pl.DataFrame(schema=QUARANTINE_SCHEMA), *notes])


def _came_back(about: pl.DataFrame, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a bar that becomes milder was believed to be milder before, and is what it had been again."""
    was = about.filter(reason=REPLACED)
    is_low = new["low"] > old["low"] and bool((was["low"] >= old["low"]).any())
    return is_low or (new["high"] < old["high"] and bool((was["high"] <= old["high"]).any()))


def _frame(row: dict[str, Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([row], schema=schema, orient="row")
