"""A short name for everything an evaluation saw of its market: equal inputs, equal hash, and a revised candle another.

Hashes of single bars are added up (mod 2^64), so that a year of evaluations costs one pass over its bars.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Times
from mm_pipeline.domain.candles import epoch_ms
from mm_pipeline.domain.market import Timeframe

_Words = NDArray[np.uint64]
_CONTENT = ("open", "high", "low", "close", "volume")
_QUARANTINED = np.uint64(0x51A2_7C0D_9E3B_64F1)


def input_hashes(
    bars: pl.DataFrame, quarantined_ms: Times, evaluated_ms: Times, since_ms: Times, problems: pl.DataFrame
) -> pl.Series:
    """Name what each evaluation could see.

    Parameters
    ----------
    bars
        15m Bars frame of the market.
    quarantined_ms
        Open times (epoch ms) of refused candles.
    evaluated_ms, since_ms
        Shape (n,): the evaluations, and the open time of the first bar that each depends on (epoch ms).
    problems
        ``evaluated_at, problem``: what was wrong beside the bars.

    Returns
    -------
    Series ``input_hash`` of n strings of 16 hex digits.
    """
    opened_ms = epoch_ms(bars["open_time"])
    words = _mixed(opened_ms.view(np.uint64))
    for name in _CONTENT:
        words = _mixed(words ^ bars[name].to_numpy().view(np.uint64))
    seen = _summed(words, opened_ms, epoch_ms(bars["known_at"]), since_ms, evaluated_ms)
    refused = np.sort(quarantined_ms)
    refused_words = _mixed(refused.view(np.uint64) ^ _QUARANTINED)
    seen += _summed(refused_words, refused, refused + Timeframe.M15.ms, since_ms, evaluated_ms)
    seen += _problem_words(problems, evaluated_ms)
    return pl.Series("input_hash", [f"{word:016x}" for word in seen.tolist()], dtype=pl.String)


def text_hash(text: str) -> str:
    """The hash of an evaluation that saw nothing but a problem."""
    return f"{_text_word(text):016x}"


def _summed(words: _Words, opened_ms: Times, known_ms: Times, since_ms: Times, until_ms: Times) -> _Words:
    """Sum of the words from the first that opened at ``since_ms`` to the last known at ``until_ms``."""
    prefix = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)])
    end = np.searchsorted(known_ms, until_ms, side="right")
    start = np.minimum(np.searchsorted(opened_ms, since_ms, side="left"), end)
    total: _Words = prefix[end] - prefix[start]
    return total


def _mixed(words: _Words) -> _Words:
    """The finaliser of SplitMix64 (Steele et al. 2014): every input bit reaches every output bit."""
    words = words + np.uint64(0x9E37_79B9_7F4A_7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    mixed: _Words = words ^ (words >> np.uint64(31))
    return mixed


def _problem_words(problems: pl.DataFrame, evaluated_ms: Times) -> _Words:
    words = dict.fromkeys(evaluated_ms.tolist(), 0)
    times = epoch_ms(problems["evaluated_at"]).tolist()
    for at, text in zip(times, problems["problem"].to_list(), strict=True):
        if at in words:
            words[at] = (words[at] + _text_word(text)) % 2**64
    return np.array([words[at] for at in evaluated_ms.tolist()], dtype=np.uint64)


def _text_word(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
