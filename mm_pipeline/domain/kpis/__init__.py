"""How well operators are served and how they answer (SPEC 9), pure. Where the facts are kept does not belong here."""

from mm_pipeline.domain.kpis.facts import EVALUATED_SCHEMA, Notified, OperatorFacts, PageDelivery
from mm_pipeline.domain.kpis.outcomes import PageOutcome, outcomes
from mm_pipeline.domain.kpis.summary import COUNTS, KPI_SCHEMA, SHARES, TIMES, kpis

__all__ = [
    "COUNTS",
    "EVALUATED_SCHEMA",
    "KPI_SCHEMA",
    "SHARES",
    "TIMES",
    "Notified",
    "OperatorFacts",
    "PageDelivery",
    "PageOutcome",
    "kpis",
    "outcomes",
]
