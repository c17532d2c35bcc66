"""Where candles come from: memory, Parquet files, any exchange that ccxt knows; and the update that asks them."""

from mm_pipeline.adapters.candle_sources.circuits import MemoryCircuits
from mm_pipeline.adapters.candle_sources.exchange import ExchangeCandles
from mm_pipeline.adapters.candle_sources.files import CandleFile, CandleFiles
from mm_pipeline.adapters.candle_sources.memory import MemoryCandles
from mm_pipeline.adapters.candle_sources.stored import CandleUpdate, StoredCandles, quarantined_times
from mm_pipeline.adapters.candle_sources.update import update_candles, update_markets

__all__ = [
    "CandleFile",
    "CandleFiles",
    "CandleUpdate",
    "ExchangeCandles",
    "MemoryCandles",
    "MemoryCircuits",
    "StoredCandles",
    "quarantined_times",
    "update_candles",
    "update_markets",
]
