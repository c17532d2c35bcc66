"""Candles: which rows can be believed, how gaps are filled, and whether the rest is good enough to judge a market."""

from mm_pipeline.domain.candles.bars import fill_gaps, resample
from mm_pipeline.domain.candles.clean import QUARANTINE_SCHEMA, CleanCandles, QuarantineReason, clean_candles
from mm_pipeline.domain.candles.covers import (
    COVERS_SCHEMA,
    FINER,
    finer_pages,
    holes_in,
    make_covers,
    no_covers,
    used_covers,
    with_covers,
)
from mm_pipeline.domain.candles.data_policy import DataPolicy
from mm_pipeline.domain.candles.exchange_policy import ExchangePolicy
from mm_pipeline.domain.candles.frames import BARS_SCHEMA, RAW_SCHEMA, empty_candles
from mm_pipeline.domain.candles.merge import merge_candles
from mm_pipeline.domain.candles.missing import MISSING_SCHEMA, no_missing
from mm_pipeline.domain.candles.plan import AskedAgain, FetchRange, plan_fetch
from mm_pipeline.domain.candles.quality import QUALITY_SCHEMA, data_quality
from mm_pipeline.domain.candles.revisions import NOTES, REPLACED, WAITING, settle_revisions
from mm_pipeline.domain.candles.source import CandleSource, FinerSource, TickSource
from mm_pipeline.domain.circuit_breaker import (
    HEALTHY,
    CircuitPhase,
    CircuitState,
    CircuitStore,
    after_failure,
    circuit_phase,
)
from mm_pipeline.domain.columns import epoch_ms, times_of

__all__ = [
    "BARS_SCHEMA",
    "COVERS_SCHEMA",
    "FINER",
    "HEALTHY",
    "MISSING_SCHEMA",
    "NOTES",
    "QUALITY_SCHEMA",
    "QUARANTINE_SCHEMA",
    "RAW_SCHEMA",
    "REPLACED",
    "WAITING",
    "AskedAgain",
    "CandleSource",
    "CircuitPhase",
    "CircuitState",
    "CircuitStore",
    "CleanCandles",
    "DataPolicy",
    "ExchangePolicy",
    "FetchRange",
    "FinerSource",
    "QuarantineReason",
    "TickSource",
    "after_failure",
    "circuit_phase",
    "clean_candles",
    "data_quality",
    "empty_candles",
    "epoch_ms",
    "fill_gaps",
    "finer_pages",
    "holes_in",
    "make_covers",
    "merge_candles",
    "no_covers",
    "no_missing",
    "plan_fetch",
    "resample",
    "settle_revisions",
    "times_of",
    "used_covers",
    "with_covers",
]
