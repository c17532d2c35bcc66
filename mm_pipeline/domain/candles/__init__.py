"""Candles: which rows can be believed, how gaps are filled, and whether the rest is good enough to judge a market."""

from mm_pipeline.domain.candles.bars import fill_gaps, resample
from mm_pipeline.domain.candles.clean import QUARANTINE_SCHEMA, CleanCandles, QuarantineReason, clean_candles
from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.candles.frames import BARS_SCHEMA, RAW_SCHEMA, empty_candles, epoch_ms, times_of
from mm_pipeline.domain.candles.merge import merge_candles
from mm_pipeline.domain.candles.quality import QUALITY_SCHEMA, data_quality

__all__ = [
    "BARS_SCHEMA",
    "QUALITY_SCHEMA",
    "QUARANTINE_SCHEMA",
    "RAW_SCHEMA",
    "CleanCandles",
    "DataPolicy",
    "QuarantineReason",
    "clean_candles",
    "data_quality",
    "empty_candles",
    "epoch_ms",
    "fill_gaps",
    "merge_candles",
    "resample",
    "times_of",
]
