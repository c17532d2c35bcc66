"""Short words that cards and pages of the page share: names, moments, ages, and what is due."""

from __future__ import annotations

from datetime import datetime

from mm_pipeline.application.operator.last_pages import Due
from mm_pipeline.reporting.grid_report import GridReport
from mm_pipeline.reporting.price_words import age_text


def spoken(name: str) -> str:
    """A state or notice as it is spoken: ``MANDATORY EXIT``."""
    return name.replace("_", " ")


def moment_text(at: datetime) -> str:
    """A moment of this year."""
    return f"{at:%m-%d %H:%M} UTC"


def ago_text(at: datetime, now: datetime) -> str:
    """How long ago a moment is."""
    return f"{age_text(at, now)} ago"


def age_s(report: GridReport, now: datetime) -> int:
    """Age of an evaluation, seconds."""
    return max(0, int((now - report.evaluated_at).total_seconds()))


def due_text(due: Due, now: datetime) -> str:
    """Until when an answer is due; empty where none is."""
    if due.respond_by is None:
        return ""
    if due.is_window_over:
        return f"ANSWER OVERDUE since {moment_text(due.respond_by)}"
    return f"Answer by {moment_text(due.respond_by)}, in {age_text(now, due.respond_by)}"
