"""A grid's past for a terminal: the strip of its states in 80 columns, and what was decided about paging."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mm_pipeline.application.operator.past import StateRun
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications import Decision
from mm_pipeline.rendering.terminal.evaluation_tables import state_text
from mm_pipeline.reporting.pages.words import notice_words, span_text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def history_table(runs: Sequence[StateRun], *, title: str) -> Table:
    """A row for each run: when it began (UTC), how long it lasted, its state, triggers and pages."""
    from datetime import timedelta

    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, pad_edge=False)
    table.add_column("from", no_wrap=True)
    table.add_column("for", no_wrap=True, justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("triggers and pages", overflow="fold")
    for run in runs:
        lasted = run.ends - run.begins + timedelta(milliseconds=Timeframe.M15.ms)
        pages = [f"paged {notice_words(one.notice)} at {one.evaluated_at:%d %H:%M}" for one in run.pages]
        lines = [*([", ".join(run.fired)] if run.fired else []), *pages]
        table.add_row(f"{run.begins:%Y-%m-%d %H:%M}", span_text(lasted), state_text(run.state), Text("\n".join(lines)))
    return table


def decision_lines(decisions: Iterable[Decision]) -> list[Text]:
    """What was decided about paging, a line each; that nothing was, where there is no decision."""
    from rich.text import Text

    lines = [Text(_words(one)) for one in decisions]
    return lines or [Text("there was nothing new to page", style="dim")]


def _words(decision: Decision) -> str:
    words = notice_words(decision.notice)
    if decision.held_back is None:
        return f"paged: {words} ({decision.cause.value.replace('_', ' ')}), page {decision.page}"
    return f"held back: {words}, {decision.held_back.value.replace('_', ' ')}"
