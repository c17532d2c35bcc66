"""Decided notifications as a frame, and the frame that a replay of states gives. Sending does not belong here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import Decision, History, Notice, NotifyPolicy, Response, judged_in, replay
from mm_pipeline.domain.notifications.frame import NOTIFICATIONS_SCHEMA
from mm_pipeline.reporting.grid_report import GridReport, report_of
from mm_pipeline.reporting.pages.text import PageText, page_text

_DECISION = tuple(field.name for field in fields(Decision))


@dataclass(frozen=True, kw_only=True)
class GridStates:
    """Exit or entry states of one grid, ascending, and its declarations by ``version_hash``."""

    rows: pl.DataFrame
    grids: Mapping[str, Grid]
    kind: str


def notification_frame(
    decisions: Sequence[Decision], texts: Mapping[str, PageText], policy: NotifyPolicy, *, is_live: bool
) -> pl.DataFrame:
    """``NOTIFICATIONS_SCHEMA``; ``texts`` by page."""
    rows = [_row(decision, texts.get(decision.page), policy, is_live=is_live) for decision in decisions]
    return pl.DataFrame(rows, schema=NOTIFICATIONS_SCHEMA, orient="row")


def replayed_notifications(
    states: Sequence[GridStates],
    responses: Iterable[Response],
    policy: NotifyPolicy,
    *,
    since: datetime | None = None,
    histories: Mapping[str, History] | None = None,
) -> pl.DataFrame:
    """Notifications that live ticks over these states would have decided, marked as not live.

    Parameters
    ----------
    states
        Of any number of grids.
    responses
        What operators did, or are assumed to have done.
    since
        First evaluation that is returned; those before it are folded into the histories alone.
    histories
        What was before the first evaluation, by grid.
    """
    judged = [one for found in states for one in judged_in(found.rows, found.grids, policy, kind=found.kind)]
    judged.sort(key=lambda one: (one.evaluated_at, one.grid))
    decisions = [
        decision
        for decision in replay(judged, responses, policy, histories)
        if since is None or decision.evaluated_at >= since
    ]
    pages: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.is_told:
            pages.setdefault(decision.page, []).append(decision)
    by_grid = {(found.rows["grid"][0], found.kind): found for found in states if found.rows.height}
    texts = {page: _text(together, by_grid, policy) for page, together in pages.items()}
    return notification_frame(decisions, texts, policy, is_live=False)


def grid_report_at(states: GridStates, at: datetime) -> GridReport:
    """What is known of a grid at one of its evaluations."""
    end = int(states.rows["evaluated_at"].search_sorted(at, side="right"))
    rows = states.rows.slice(max(0, end - _LOOKED_BACK), min(end, _LOOKED_BACK))
    return report_of(states.grids.get(rows["grid_version"][-1] or ""), rows)


_LOOKED_BACK: Final = 96 * 7
"""Evaluations that a report looks back for the beginning of its state."""


def priority_of(notice: Notice, policy: NotifyPolicy) -> int:
    """Priority of a notice's pages."""
    rules: Any = getattr(policy, notice.value.lower())
    return int(rules.priority)


def window_of(notice: Notice, policy: NotifyPolicy) -> timedelta | None:
    """Within what time a notice asks for an answer; None where it asks for none."""
    window: timedelta | None = getattr(getattr(policy, notice.value.lower()), "window", None)
    return window


def _row(decision: Decision, text: PageText | None, policy: NotifyPolicy, *, is_live: bool) -> dict[str, Any]:
    window = window_of(decision.notice, policy)
    values = {name: getattr(decision, name) for name in _DECISION}
    return values | {
        "notice": decision.notice.value,
        "cause": decision.cause.value,
        "triggers": list(decision.triggers),
        "held_back": None if decision.held_back is None else decision.held_back.value,
        "priority": priority_of(decision.notice, policy),
        "respond_by": None if window is None else decision.evaluated_at + policy.decided_after + window,
        "title": None if text is None else text.title,
        "text": None if text is None else text.text,
        "is_live": is_live,
    }


def _text(
    together: Sequence[Decision], by_grid: Mapping[tuple[str, str], GridStates], policy: NotifyPolicy
) -> PageText:
    reports = {one.grid: grid_report_at(by_grid[one.grid, one.kind], one.evaluated_at) for one in together}
    return page_text(together, reports, policy)
