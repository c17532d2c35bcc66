"""Where accounts come from: KuCoin through ccxt, or a file of fills; and where their fills are kept."""

from mm_pipeline.adapters.account.credentials import Credentials
from mm_pipeline.adapters.account.exchange_account import AccountReading, ExchangeAccount
from mm_pipeline.adapters.account.fill_stores import FrameFills, MemoryFills
from mm_pipeline.adapters.account.fills_columns import zone_named
from mm_pipeline.adapters.account.fills_file import IMPORTED, ImportedFills, RowProblem, import_fills
from mm_pipeline.adapters.account.import_records import FrameImports
from mm_pipeline.adapters.account.import_values import ImportOutcome, ImportRecord, ListedImport, digest_of
from mm_pipeline.adapters.account.kucoin_client import KeyInfo

__all__ = [
    "IMPORTED",
    "AccountReading",
    "Credentials",
    "ExchangeAccount",
    "FrameFills",
    "FrameImports",
    "ImportOutcome",
    "ImportRecord",
    "ImportedFills",
    "KeyInfo",
    "ListedImport",
    "MemoryFills",
    "RowProblem",
    "digest_of",
    "import_fills",
    "zone_named",
]
