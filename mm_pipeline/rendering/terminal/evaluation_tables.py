"""Tables for a terminal: what each grid's state is and why, most urgent first. Colour never stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from mm_pipeline.rendering.terminal.risk_cells import RISK_STYLES, risk_cell, risk_facts
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading, by_severity
from mm_pipeline.reporting.price_words import NO_STOP_TEXT, age_text, price_text, stop_text
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS, comparison_text, fires_at_text, value_text

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

STATE_STYLES: Final = {
    "MANDATORY_EXIT": "bold white on red",
    "LATEST_ACCEPTABLE_EXIT": "bold black on dark_orange",
    "WARNING": "bold black on yellow",
    "UNKNOWN": "bold white on magenta",
    "NORMAL": "green",
    "ENTER": "bold green",
    "WAIT": "cyan",
    "AVOID": "yellow",
}
WIDE_COLUMNS: Final = 130
"""Columns of a terminal from which on the wide tables fit; below it the same is told in blocks of lines."""
SHOWN_REASONS: Final = 3
"""Reasons beside fired triggers in the table of all grids; the explanation of one grid has them all."""
_NOTHING = "-"


def state_text(state: str) -> Text:
    """A state (or any other name) in its colour."""
    from rich.text import Text

    return Text(state, style=STATE_STYLES.get(state, ""))


def shown_state_text(report: GridReport) -> Text:
    """A grid's state in its colour, with the moment that it is of where that is not its evaluation."""
    from rich.text import Text

    return Text(report.shown_state, style=STATE_STYLES.get(report.state, ""))


def state_and_moment(report: GridReport) -> Text:
    """The same in two lines, for a narrow column."""
    text = state_text(report.state)
    if report.shown_state != report.state:
        text.append(f"\n{report.shown_state.removeprefix(report.state).strip()}", style="bold default on default")
    return text


def price_age_text(report: GridReport, now: datetime) -> str:
    """How old the bar of the price is: ``16 min ago``; empty where that is not known."""
    return "" if report.as_of is None else f"{age_text(report.as_of, now)} ago"


def evaluation_table(reports: Sequence[GridReport], *, now: datetime, width: int = WIDE_COLUMNS) -> RenderableType:
    """Each grid's state, since when, price against bounds and stop, verdict, and what it rests on; most urgent first.

    Parameters
    ----------
    now
        Against which age is told.
    width
        Columns of the terminal: a table from ``WIDE_COLUMNS`` on, else a block of lines a grid.
    """
    from rich.console import Group
    from rich.text import Text

    evaluated = max((report.evaluated_at for report in reports), default=now)
    title = f"{len(reports)} grid{'s' * (len(reports) != 1)} at {evaluated:%Y-%m-%d %H:%M} UTC"
    ordered = by_severity(reports)
    if width < WIDE_COLUMNS:
        return Group(Text(title, style="italic"), *(_block(report, now) for report in ordered))
    return _wide_table(ordered, title, now)


def explanation(report: GridReport, *, now: datetime, width: int = WIDE_COLUMNS) -> Group:
    """Everything about one grid: the facts, then every trigger with its threshold and what would be without it.

    Below ``WIDE_COLUMNS`` columns margins, times and what a trigger measures are left out.
    """
    from rich.console import Group
    from rich.text import Text

    head = Text.assemble((report.grid_id, "bold"), "  ", shown_state_text(report))
    policy = f", policy {report.policy}" if report.policy else ""
    head.append(f"  at {report.evaluated_at:%Y-%m-%d %H:%M} UTC{policy}")
    parts: list[RenderableType] = [head, _facts(report, now)]
    if report.triggers:
        parts.append(_trigger_table(report.triggers, is_wide=width >= WIDE_COLUMNS))
    if report.other_reasons:
        parts += [Text("because", style="bold"), *(Text(f"  - {reason}") for reason in report.other_reasons)]
    return Group(*parts)


def _wide_table(reports: Sequence[GridReport], title: str, now: datetime) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, show_lines=True, pad_edge=False)
    for heading in ("grid", "state", "price and grid", "stop", "verdict", "risk"):
        table.add_column(heading, no_wrap=True)
    table.add_column("why", ratio=1, min_width=34)
    for report in reports:
        table.add_row(
            _grid(report),
            _state(report, now),
            _price(report, now),
            _stop(report),
            _verdict(report),
            risk_cell(report),
            reason_text(report),
        )
    return table


def _block(report: GridReport, now: datetime) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    since = f"  for {age_text(report.since, now)}" if report.since else ""
    head = Text.assemble("\n", shown_state_text(report), "  ", (report.grid_id, "bold"), since)
    return Group(head, _facts(report, now), Padding(reason_text(report), (0, 0, 0, 4)))


def reason_text(report: GridReport) -> Text:
    """Fired triggers with value and threshold, then every other reason, a line each."""
    from rich.text import Text

    lines = [Text.assemble((t.name, "bold"), "  ", comparison_text(t.name, t.value, t.threshold)) for t in report.fired]
    lines += [Text(reason) for reason in report.other_reasons[:SHOWN_REASONS]]
    if hidden := len(report.other_reasons[SHOWN_REASONS:]):
        lines.append(Text(f"and {hidden} more: mm evaluate --grid {report.grid_id}", style="dim"))
    if not lines:
        lines = [Text("no trigger has fired" if report.triggers else "nothing speaks against it", style="dim")]
    if doubt := (report.risk or {}).get("position_unknown"):
        lines.append(Text(f"position not known: {doubt}"))
    if problem := (report.risk or {}).get("pnl_unknown"):
        lines.append(Text(f"PnL not known: {problem}"))
    if report.state == "ENTER" and report.proposal:
        lines.append(Text(proposal_text(report), style="bold"))
    return Text("\n").join(lines)


def proposal_text(report: GridReport) -> str:
    """The range proposed to a disabled grid."""
    proposed = report.proposal
    bounds = f"{price_text(proposed.get('lower'))} to {price_text(proposed.get('upper'))}"
    levels = f", {proposed['levels']:.0f} levels" if proposed.get("levels") else ""
    return f"proposed {bounds}{levels}, stop {price_text(proposed.get('stop_loss'))}"


def _grid(report: GridReport) -> Text:
    from rich.text import Text

    grid = report.grid
    if grid is None:
        return Text.assemble((report.grid_id, "bold"), "\n", ("file unreadable", "dim"))
    return Text.assemble(
        (report.grid_id, "bold"), "\n", (str(grid.market), "dim"), "\n", ("" if grid.enabled else "disabled", "dim")
    )


def _state(report: GridReport, now: datetime) -> Text:
    from rich.text import Text

    text = state_and_moment(report)
    if report.since is not None:
        text.append(f"\nfor {age_text(report.since, now)}", style="not bold default on default")
    if report.last_known_state is not None:
        text = Text.assemble(text, ("\nlast known ", "dim"), state_text(report.last_known_state))
    return text


def _price(report: GridReport, now: datetime) -> Text:
    from rich.text import Text

    if report.price is None:
        return Text(_NOTHING)
    text = Text(price_text(report.price), style="bold")
    if age := price_age_text(report, now):
        text.append(f"\n{age}", style="not bold dim")
    if report.grid is not None and report.grid.enabled:
        text.append(f"\n{price_text(report.grid.lower)} to {price_text(report.grid.upper)}", style="not bold")
        text.append(f"\n{_HEALTH.get(report.position_health or '', '')}", style=_health_style(report))
    return text


_HEALTH = {"ABOVE_GRID": "above the grid", "IN_GRID": "in the grid", "BELOW_GRID": "below the grid"}


def _health_style(report: GridReport) -> str:
    return "not bold dim" if report.position_health == "IN_GRID" else "not bold yellow"


def _stop(report: GridReport) -> Text:
    from rich.text import Text

    if report.grid is None or not report.grid.enabled:
        return Text(_NOTHING)
    if report.grid.stop_loss is None:
        return Text(NO_STOP_TEXT.replace(": ", ":\n"))
    lines = [price_text(report.grid.stop_loss)]
    if report.distance_to_stop_atr is not None:
        lines.append(f"{report.distance_to_stop_atr:.1f} ATR away")
    text = Text("\n".join(lines))
    if report.stop_loss_risk is not None:
        text.append(f"\n{report.stop_loss_risk}", style=RISK_STYLES.get(report.stop_loss_risk, ""))
    return text


def _verdict(report: GridReport) -> Text:
    from rich.text import Text

    if report.verdict is None:
        return Text(_NOTHING)
    text = Text(report.verdict)
    if report.confidence is not None:
        text.append(f"\nconfidence {report.confidence:.2f}", style="dim")
    return text


def _facts(report: GridReport, now: datetime) -> Text:
    from rich.text import Text

    facts = []
    grid = report.grid
    if grid is not None:
        facts.append(f"{grid.market}, {'enabled' if grid.enabled else 'disabled'}")
    if report.price is not None:
        age = price_age_text(report, now)
        facts.append(f"price {price_text(report.price)}{', ' if age else ''}{age}")
    if grid is not None and grid.enabled:
        facts.append(f"grid {price_text(grid.lower)} to {price_text(grid.upper)}, {grid.levels} levels")
        distance = report.distance_to_stop_atr
        risk = report.stop_loss_risk or "risk not known now"
        away = "" if distance is None else f" ({distance:.1f} ATR away, {risk})"
        facts.append(NO_STOP_TEXT if grid.stop_loss is None else f"stop {stop_text(grid.stop_loss)}{away}")
    if report.verdict is not None:
        said = "" if report.confidence is None else f", confidence {report.confidence:.2f}"
        facts.append(f"verdict {report.verdict}{said}")
    facts += risk_facts(report)
    if report.proposal:
        facts.append(proposal_text(report))
    if report.last_known_state is not None:
        facts.append(f"last known state {report.last_known_state}")
    return Text("\n".join(f"  {fact}" for fact in facts))


def _trigger_table(triggers: Sequence[TriggerReading], *, is_wide: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if is_wide else (0, 1, 0, 0))
    headings = ["", "trigger", "value", "fires at", "without it"]
    if is_wide:
        headings[4:4] = ["margin", "since (UTC)"]
        headings.append("measures")
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in ("value", "margin") else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "measures")
    for trigger in triggers:
        cells = _trigger_cells(trigger, is_wide=is_wide)
        table.add_row(*(cells[heading] for heading in headings), style="" if trigger.fired else "dim")
    return table


def _trigger_cells(trigger: TriggerReading, *, is_wide: bool) -> dict[str, str | Text]:
    words = TRIGGER_WORDS[trigger.name]
    has_margin = trigger.margin is not None and not words.is_yes_no
    return {
        "": ("FIRED" if is_wide else "!") if trigger.fired else "",
        "trigger": trigger.name,
        "value": value_text(trigger.name, trigger.value),
        "fires at": fires_at_text(trigger.name, trigger.threshold),
        "margin": f"{trigger.margin:+,.{words.decimals}f}" if has_margin else _NOTHING,
        "since (UTC)": f"{trigger.since:%m-%d %H:%M}" if trigger.since else "",
        "without it": state_text(trigger.without) if trigger.without else "",
        "measures": words.measures,
    }
