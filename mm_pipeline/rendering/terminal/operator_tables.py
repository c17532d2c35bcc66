"""The operator's tables for a terminal: status, journal, KPIs. Wide ones are tables, narrow ones blocks of lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mm_pipeline.application.operator.journal_line import JournalLine
from mm_pipeline.application.operator.last_pages import Due, LastPage
from mm_pipeline.application.operator.status import GridStatus, Pulse, by_urgency
from mm_pipeline.rendering.terminal.evaluation_tables import (
    WIDE_COLUMNS,
    price_age_text,
    reason_text,
    shown_state_text,
    state_and_moment,
    state_text,
)
from mm_pipeline.rendering.terminal.risk_cells import risk_cell, waiting_text
from mm_pipeline.reporting.price_words import age_text, price_text

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_NOTHING: Final = "-"
_URGENT: Final = "bold red"


def status_table(statuses: Sequence[GridStatus], *, now: datetime, width: int = WIDE_COLUMNS) -> RenderableType:
    """Each grid's state, why, what was last sent, who answered and what is due; most urgent first.

    Parameters
    ----------
    now
        Against which ages are told.
    width
        Columns of the terminal: a table from ``WIDE_COLUMNS`` on, else a block of lines a grid.
    """
    from rich.console import Group
    from rich.text import Text

    title = f"{len(statuses)} grid{'s' * (len(statuses) != 1)} at {now:%Y-%m-%d %H:%M} UTC"
    ordered = by_urgency(statuses)
    if width < WIDE_COLUMNS:
        return Group(Text(title, style="italic"), *(_status_block(status, now) for status in ordered))
    table = _table(title, lines=True)
    for heading in ("grid", "state", "price", "risk"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why", ratio=1, min_width=24)
    for heading in ("last told", "answer and due"):
        table.add_column(heading, max_width=26)
    for status in ordered:
        table.add_row(*_status_cells(status, now))
    return table


def pulse_line(pulse: Pulse) -> Text:
    """Whether the watch itself is alive: its newest evaluation, and by when the next is due."""
    from rich.text import Text

    if pulse.evaluated_at is None:
        return Text("the watch has evaluated nothing yet", style=_URGENT if pulse.is_silent else "")
    last = f"{pulse.evaluated_at:%m-%d %H:%M} UTC, {seconds_text(pulse.age.total_seconds())} ago"
    if pulse.is_silent:
        return Text(f"THE WATCH IS SILENT: evaluated {last}. Start it: mm up", style=_URGENT)
    return Text(f"the watch is alive: evaluated {last}; next {pulse.next_at:%H:%M}", style="dim")


def alarm_lines(alarms: Iterable[tuple[datetime, str]]) -> list[Text]:
    """Pages about the watch itself, a line each."""
    from rich.text import Text

    return [Text.assemble((f"alarm {at:%m-%d %H:%M}  ", _URGENT), title) for at, title in alarms]


def journal_table(lines: Sequence[JournalLine], *, title: str, width: int = WIDE_COLUMNS) -> RenderableType:
    """What happened, newest last: when, what it is about, and what it says."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    if width < WIDE_COLUMNS:
        blocks: list[RenderableType] = [Text(title, style="italic")]
        for line in lines:
            head = Text.assemble(f"{line.at:%m-%d %H:%M:%S}  ", (line.kind.value, "dim"), f"  {line.subject}  ")
            blocks.append(Text.assemble(head, state_text(line.what)))
            if line.detail:
                blocks.append(Padding(Text(line.detail), (0, 0, 0, 4)))
        return Group(*blocks)
    table = _table(title)
    for heading in ("at (UTC)", "kind", "about", "what"):
        table.add_column(heading, no_wrap=True)
    table.add_column("", ratio=1, overflow="fold")
    for line in lines:
        told = (f"{line.at:%Y-%m-%d %H:%M:%S}", line.kind.value, line.subject, state_text(line.what), Text(line.detail))
        table.add_row(*told)
    return table


def kpi_table(frame: pl.DataFrame, *, title: str, width: int = WIDE_COLUMNS) -> RenderableType:
    """KPIs (``domain.kpis.KPI_SCHEMA``), a row a grid and notice."""
    from rich.console import Group
    from rich.text import Text

    rows = list(frame.iter_rows(named=True))
    if width < WIDE_COLUMNS:
        blocks: list[RenderableType] = [Text(title, style="italic")]
        for row in rows:
            blocks.append(Text.assemble("\n", (row["grid"], "bold"), "  ", state_text(row["notice"])))
            told = {name: said.replace("\n", ", ") for name, said in _kpi_cells(row).items() if said != _NOTHING}
            blocks += [Text(f"  {name}: {said}") for name, said in told.items()]
        return Group(*blocks)
    table = _table(title, lines=True)
    table.add_column("grid and notice", no_wrap=True)
    for heading in _KPI_HEADINGS:
        table.add_column(heading, justify="right")
    for row in rows:
        name = Text.assemble((row["grid"], "bold"), "\n", state_text(row["notice"]))
        table.add_row(name, *_kpi_cells(row).values())
    return table


def seconds_text(seconds: float | None) -> str:
    """A length of time in its two largest units."""
    if seconds is None:
        return _NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, hours, left = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {left} min" if hours else f"{left} min"


_KPI_HEADINGS: Final = (
    *("pages", "per 30 d", "deliveries", "acknowledged after", "flat after"),
    *("answered in window", "missed", "advice held"),
)
_RATE_FROM_DAYS: Final = 1.0
"""Less is no rate of 30 days: one page in the first quarter of an hour would be 2,880."""
_FLAWS: Final = ("held_back", "unsent", "late", "escalated")


def _kpi_cells(row: dict[str, Any]) -> dict[str, str]:
    rate = row["pages_per_30d"] if row["watched_days"] >= _RATE_FROM_DAYS else None
    flaws = [f"{row[name]} {name.replace('_', ' ')}" for name in _FLAWS if row[name]]
    said = (
        str(row["pages"]),
        _NOTHING if rate is None else f"{rate:.1f}",
        "\n".join(flaws) or _NOTHING,
        _quantiles(row, "acknowledge"),
        _quantiles(row, "flat"),
        _share(row["answered_in_window_share"], row["windows"]),
        str(row["missed"]) if row["windows"] else _NOTHING,
        _share(row["actionable_share"], row["exits_judged"]),
    )
    return dict(zip(_KPI_HEADINGS, said, strict=True))


def _share(share: float | None, count: int) -> str:
    return _NOTHING if share is None else f"{share:.0%} of {count}"


def _quantiles(row: dict[str, Any], name: str) -> str:
    median, slow = row[f"{name}_p50_s"], row[f"{name}_p90_s"]
    return _NOTHING if median is None else f"p50 {seconds_text(median)}\np90 {seconds_text(slow)}"


def _table(title: str, *, lines: bool = False) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.HORIZONTALS, show_lines=lines, pad_edge=False)


def _status_cells(status: GridStatus, now: datetime) -> list[Text]:
    from rich.text import Text

    report = status.report
    market = "file unreadable" if report.grid is None else str(report.grid.market)
    is_off = report.grid is not None and not report.grid.enabled
    name = Text.assemble((report.grid_id, "bold"), "\n", (market, "dim"), ("\ndisabled" if is_off else "", "dim"))
    price = Text(price_text(report.price), style="bold")
    if age := price_age_text(report, now):
        price.append(f"\n{age}", style="not bold dim")
    cells = [_told(status.last_page), [*_answer(status), *_due(status.due)]]
    joined = [Text("\n").join(lines) if lines else Text(_NOTHING) for lines in cells]
    return [name, _state(status, now), price, risk_cell(report), reason_text(report), *joined]


def _status_block(status: GridStatus, now: datetime) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    report = status.report
    since = f"  for {age_text(report.since, now)}" if report.since else ""
    head = Text.assemble("\n", shown_state_text(report), "  ", (report.grid_id, "bold"), since)
    facts = [] if report.last_known_state is None else [Text(f"last known state {report.last_known_state}")]
    if report.price is not None:
        age = price_age_text(report, now)
        facts.append(Text(f"price {price_text(report.price)}, {age or 'of a bar of unknown age'}"))
    if costs := waiting_text(report):
        facts.append(Text(costs))
    lines = [*facts, *_told(status.last_page), *_answer(status), *_due(status.due)]
    return Group(head, Padding(Text("\n").join(lines), (0, 0, 0, 2)), Padding(reason_text(report), (0, 0, 0, 4)))


def _state(status: GridStatus, now: datetime) -> Text:
    from rich.text import Text

    text = state_and_moment(status.report)
    if status.report.since is not None:
        text.append(f"\nfor {age_text(status.report.since, now)}", style="not bold default on default")
    if status.report.last_known_state is not None:
        text = Text.assemble(text, ("\nlast known\n", "dim"), state_text(status.report.last_known_state))
    return text


def _told(page: LastPage | None) -> list[Text]:
    from rich.text import Text

    if page is None:
        return []
    lines = [Text(f"told {page.notice} of {page.evaluated_at:%m-%d %H:%M}", style="bold")]
    if page.sent_on:
        lines.append(Text("sent " + ", ".join(f"{name} {at:%H:%M:%S}" for name, at in page.sent_on.items())))
    elif page.delivery != "waiting":
        lines.append(Text(page.delivery.upper(), style=_URGENT if page.delivery == "undeliverable" else ""))
    if page.waiting_on:
        tries = ", ".join(f"{name} (next try {at:%H:%M:%S})" for name, at in page.waiting_on.items())
        lines.append(Text(f"waiting for {tries}", style="" if page.sent_on else _URGENT))
    return lines


def _answer(status: GridStatus) -> list[Text]:
    from rich.text import Text

    lines = []
    page = status.last_page
    if page is not None and page.acknowledged_at is not None:
        who = page.acknowledged_by or page.acknowledged_through
        lines.append(Text(f"acknowledged by {who} after {seconds_text(page.acknowledge_s)}"))
    if status.flat_at is not None:
        lines.append(Text(f"flat since {status.flat_at:%m-%d %H:%M}, said {status.flat_by}"))
    return lines


def _due(due: Due) -> list[Text]:
    from rich.text import Text

    lines = []
    if due.respond_by is not None:
        said = "ANSWER OVERDUE since" if due.is_window_over else "answer by"
        lines.append(Text(f"{said} {due.respond_by:%m-%d %H:%M}", style=_URGENT if due.is_window_over else "bold"))
    if due.open_emergencies:
        lines.append(Text("an alarm still rings", style=_URGENT))
    if due.overdue:
        lines.append(Text(f"{_pages(due.overdue)} OVERDUE: no channel took it", style=_URGENT))
    elif due.waiting:
        lines.append(Text(f"{_pages(due.waiting)} waiting to be sent"))
    return lines


def _pages(pages: Sequence[str]) -> str:
    return f"{len(pages)} page{'s' * (len(pages) != 1)}"
