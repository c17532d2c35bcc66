"""The journal: grid versions, evaluations, market notices and circuit states, in SQLite or Postgres."""

from mm_pipeline.adapters.journal.circuits import JournalCircuits
from mm_pipeline.adapters.journal.database import sqlite_url
from mm_pipeline.adapters.journal.journal import Journal
from mm_pipeline.adapters.journal.records import Evaluation, EvaluationKind, GridHistoryRow, MarketNotice

__all__ = [
    "Evaluation",
    "EvaluationKind",
    "GridHistoryRow",
    "Journal",
    "JournalCircuits",
    "MarketNotice",
    "sqlite_url",
]
