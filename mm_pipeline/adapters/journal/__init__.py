"""The journal in SQLite or Postgres: grids, evaluations, notices, circuits; pages, deliveries and responses."""

from mm_pipeline.adapters.journal.circuits import CircuitChange, JournalCircuits
from mm_pipeline.adapters.journal.database import sqlite_url
from mm_pipeline.adapters.journal.flat_checks import FlatCheck, FlatFinding, JournalFlatChecks
from mm_pipeline.adapters.journal.journal import Journal
from mm_pipeline.adapters.journal.page_records import (
    Claim,
    DecisionRecord,
    DeliveryEvent,
    DeliveryOutcome,
    OpenReceipt,
    Page,
    ResponseRecord,
    Waiting,
)
from mm_pipeline.adapters.journal.records import Evaluation, GridHistoryRow, Incident
from mm_pipeline.adapters.journal.responses import words_in_force
from mm_pipeline.domain.evaluation_kind import EvaluationKind

__all__ = [
    "CircuitChange",
    "Claim",
    "DecisionRecord",
    "DeliveryEvent",
    "DeliveryOutcome",
    "Evaluation",
    "EvaluationKind",
    "FlatCheck",
    "FlatFinding",
    "GridHistoryRow",
    "Incident",
    "Journal",
    "JournalCircuits",
    "JournalFlatChecks",
    "OpenReceipt",
    "Page",
    "ResponseRecord",
    "Waiting",
    "sqlite_url",
    "words_in_force",
]
