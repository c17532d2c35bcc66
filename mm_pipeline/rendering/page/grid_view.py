"""What the page of one grid says beside its card: chart, triggers, PnL that adds up, and what happened when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mm_pipeline.application.operator.grid_story import GridStory
from mm_pipeline.application.operator.journal_line import JournalLine, LineKind
from mm_pipeline.application.operator.past import StateRun
from mm_pipeline.application.operator.status import UNKNOWN
from mm_pipeline.domain.grid import Grid
from mm_pipeline.rendering.page.drawings import Chart, chart_of, trigger_bar
from mm_pipeline.rendering.page.words import spoken
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.pages.words import amount_text, quote_of
from mm_pipeline.reporting.price_words import price_text
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS, fires_at_text, value_text

_MARKS: Final = {LineKind.PAGE: "paged", LineKind.RESPONSE: "answered"}
_OPENED: Final = (LineKind.CHANGE, LineKind.PAGE)
"""Lines whose moment opens with its triggers."""


@dataclass(frozen=True, kw_only=True)
class TriggerRow:
    """One trigger of an evaluation: its value against its threshold, as words and as the length of a bar."""

    name: str
    measures: str
    value: str
    fires_at: str
    since: str
    without: str
    has_fired: bool
    bar: float | None


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run of a state, with the price in it."""

    state: str
    words: str
    begins: datetime
    ends: datetime
    prices: str
    fired: str
    pages: str


@dataclass(frozen=True, kw_only=True)
class LineRow:
    """One thing that happened, and whether its moment opens."""

    at: datetime
    kind: str
    what: str
    detail: str
    opens: bool


@dataclass(frozen=True, kw_only=True)
class AmountRow:
    """A part of the PnL, or its total."""

    name: str
    amount: str
    is_total: bool


def trigger_rows(report: GridReport) -> list[TriggerRow]:
    """Every trigger of an evaluation, in the order of the table of triggers."""
    return [_trigger(one) for one in report.triggers]


def run_rows(story: GridStory) -> list[RunRow]:
    """The table beside the chart, newest first."""
    return [_run(run, story) for run in reversed(story.runs)]


def line_rows(story: GridStory) -> list[LineRow]:
    """What happened, newest first."""
    return [
        LineRow(
            at=line.at, kind=line.kind.value, what=spoken(line.what), detail=line.detail, opens=line.kind in _OPENED
        )
        for line in reversed(story.lines)
    ]


def story_chart(story: GridStory, *, grid: Grid | None) -> Chart | None:
    """Price, states, pages and answers of the stretch."""
    runs, ends = story.runs, [run.begins for run in story.runs[1:]]
    bands = [
        (run.begins, end, run.state, f"{spoken(run.state)} from {run.begins:%m-%d %H:%M}")
        for run, end in zip(runs, [*ends, story.until], strict=False)
    ]
    return chart_of(
        [(one.evaluated_at, one.price) for one in story.evaluations],
        bands,
        [_mark(line) for line in story.lines if line.kind in _MARKS],
        grid=grid,
        since=story.since,
        until=story.until,
    )


def pnl_rows(report: GridReport) -> list[AmountRow]:
    """PnL as a sum whose parts add up; empty of a blind grid, and where it is not known.

    What total and parts differ by is fees of buys that are not sold again yet, and rounding.
    """
    risk = report.risk
    if report.state == UNKNOWN or risk is None or risk.get("total_pnl_quote") is None:
        return []
    total, profit, open_ = (float(risk[name] or 0.0) for name in _PARTS)
    if not all(math.isfinite(amount) for amount in (total, profit, open_)):
        return []
    parts = {
        "Profit of closed rounds, fees taken off": profit,
        "Unrealised: what is held, at the price now": open_,
        "Fees of buys that are not sold again, and rounding": total - profit - open_,
    }
    quote = quote_of(report.grid)
    rows = [AmountRow(name=name, amount=_amount(amount, quote), is_total=False) for name, amount in parts.items()]
    return [*rows, AmountRow(name="What you would have gained in all now", amount=_amount(total, quote), is_total=True)]


_PARTS: Final = ("total_pnl_quote", "grid_profit_quote", "unrealised_quote")


def _amount(amount: float, quote: str) -> str:
    return f"{'+' * (amount > 0)}{amount_text(amount)} {quote}"


def _trigger(one: TriggerReading) -> TriggerRow:
    return TriggerRow(
        name=one.name,
        measures=TRIGGER_WORDS[one.name].measures,
        value=value_text(one.name, one.value),
        fires_at=fires_at_text(one.name, one.threshold),
        since=f"{one.since:%m-%d %H:%M}" if one.since else "",
        without=spoken(one.without or ""),
        has_fired=one.fired,
        bar=trigger_bar(one),
    )


def _run(run: StateRun, story: GridStory) -> RunRow:
    inside = [
        one.price for one in story.evaluations if run.begins <= one.evaluated_at <= run.ends and one.price is not None
    ]
    return RunRow(
        state=run.state,
        words=spoken(run.state),
        begins=run.begins,
        ends=run.ends,
        prices=_prices(inside),
        fired=", ".join(run.fired),
        pages=", ".join(spoken(one.notice.value) for one in run.pages),
    )


def _prices(prices: Sequence[float]) -> str:
    if not prices:
        return "not known"
    return f"{price_text(prices[0])} to {price_text(prices[-1])}, low {price_text(min(prices))}"


def _mark(line: JournalLine) -> tuple[datetime, str, str]:
    return line.at, _MARKS[line.kind], f"{spoken(line.what)} at {line.at:%m-%d %H:%M}"


def moment_words(report: GridReport) -> dict[str, Any]:
    """Title and reasons of an evaluation."""
    return {
        "at": report.evaluated_at,
        "state": report.state,
        "words": spoken(report.shown_state),
        "price": price_text(report.price),
        "reasons": report.other_reasons,
    }
