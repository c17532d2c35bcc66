"""Where candles come from: memory, Parquet files, any exchange that ccxt knows; and the update that asks them."""

from mm_pipeline.adapters.candles.candle_files import CandleFile, CandleFiles
from mm_pipeline.adapters.candles.exchange_candles import ExchangeCandles
from mm_pipeline.adapters.candles.memory_candles import MemoryCandles
from mm_pipeline.adapters.candles.stored import CandleUpdate, StoredCandles, quarantined_times
from mm_pipeline.adapters.candles.update import update_candles, update_markets
from mm_pipeline.adapters.exchange.memory_circuits import MemoryCircuits

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
