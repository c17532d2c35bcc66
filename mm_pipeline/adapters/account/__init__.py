"""Where accounts come from: KuCoin through ccxt, or a file of fills; and where their fills are kept."""

from mm_pipeline.adapters.account.account_state import AccountState, StateProblem
from mm_pipeline.adapters.account.credentials import Credentials
from mm_pipeline.adapters.account.exchange_account import ExchangeAccount
from mm_pipeline.adapters.account.fill_stores import FrameFills, MemoryFills
from mm_pipeline.adapters.account.fills_columns import zone_named
from mm_pipeline.adapters.account.fills_file import IMPORTED, ImportedFills, RowProblem, import_fills
from mm_pipeline.adapters.account.import_records import FrameImports
from mm_pipeline.adapters.account.import_values import ImportOutcome, ImportRecord, ListedImport, digest_of
from mm_pipeline.adapters.account.kucoin_client import KeyInfo
from mm_pipeline.adapters.account.reading import AccountReading

__all__ = [
    "IMPORTED",
    "AccountReading",
    "AccountState",
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
    "StateProblem",
    "digest_of",
    "import_fills",
    "zone_named",
]
