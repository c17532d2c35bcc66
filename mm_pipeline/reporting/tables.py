"""Tables for a terminal: what each grid's state is and why, most urgent first. Colour never stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mm_pipeline.reporting.grid_report import GridReport, TriggerReading, by_severity
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS, comparison_text, value_text

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
SHOWN_REASONS: Final = 3
"""Reasons beside fired triggers in the table of all grids; the explanation of one grid has them all."""
_NOTHING = "-"


def state_text(state: str) -> Text:
    """A state (or any other name) in its colour."""
    from rich.text import Text

    return Text(state, style=STATE_STYLES.get(state, ""))


def evaluation_table(reports: Sequence[GridReport], *, now: datetime) -> Table:
    """One block a grid: state, since when, price against bounds and stop, verdict, and what it rests on.

    Parameters
    ----------
    now
        Against which age is told.
    """
    from rich import box
    from rich.table import Table

    evaluated = max((report.evaluated_at for report in reports), default=now)
    title = f"{len(reports)} grids at {evaluated:%Y-%m-%d %H:%M} UTC"
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, show_lines=True, pad_edge=False)
    table.add_column("grid", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("price and grid", no_wrap=True)
    table.add_column("stop", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why", ratio=1, min_width=34)
    for report in by_severity(reports):
        table.add_row(
            _grid(report), _state(report, now), _price(report), _stop(report), _verdict(report), reason_text(report)
        )
    return table


def explanation(report: GridReport) -> Group:
    """Everything about one grid: the facts, then every trigger with its threshold and what would be without it."""
    from rich.console import Group
    from rich.text import Text

    head = Text.assemble((report.grid_id, "bold"), "  ", state_text(report.state))
    head.append(
        f"  at {report.evaluated_at:%Y-%m-%d %H:%M} UTC" + (f", policy {report.policy}" if report.policy else "")
    )
    parts: list[RenderableType] = [head, _facts(report)]
    if report.triggers:
        parts.append(_trigger_table(report.triggers))
    if report.other_reasons:
        parts += [Text("because", style="bold"), *(Text(f"  - {reason}") for reason in report.other_reasons)]
    return Group(*parts)


def reason_text(report: GridReport) -> Text:
    """Fired triggers with value and threshold, then every other reason, a line each."""
    from rich.text import Text

    lines = [Text.assemble((t.name, "bold"), "  ", comparison_text(t.name, t.value, t.threshold)) for t in report.fired]
    lines += [Text(reason) for reason in report.other_reasons[:SHOWN_REASONS]]
    if hidden := len(report.other_reasons[SHOWN_REASONS:]):
        lines.append(Text(f"and {hidden} more: mm evaluate --grid {report.grid_id}", style="dim"))
    if not lines:
        lines = [Text("no trigger has fired" if report.triggers else "nothing speaks against it", style="dim")]
    if report.state == "ENTER" and report.proposal:
        lines.append(Text(proposal_text(report), style="bold"))
    return Text("\n").join(lines)


def proposal_text(report: GridReport) -> str:
    """The range proposed to a disabled grid."""
    proposed = report.proposal
    bounds = f"{price_text(proposed.get('lower'))} to {price_text(proposed.get('upper'))}"
    levels = f", {proposed['levels']:.0f} levels" if proposed.get("levels") else ""
    return f"proposed {bounds}{levels}, stop {price_text(proposed.get('stop_loss'))}"


def price_text(price: float | None) -> str:
    """A price with as many digits as tell it apart."""
    if price is None:
        return _NOTHING
    decimals = 2 if abs(price) >= 10 else 4 if abs(price) >= 0.1 else 8
    return f"{price:,.{decimals}f}"


def age_text(since: datetime | None, now: datetime) -> str:
    """How long something has been so, in the two largest units."""
    if since is None:
        return _NOTHING
    minutes = max(0, int((now - since).total_seconds() // 60))
    days, hours, left = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {left} min" if hours else f"{left} min"


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

    text = state_text(report.state)
    if report.since is not None:
        text.append(f"\nfor {age_text(report.since, now)}", style="not bold default on default")
    if report.last_known_state is not None:
        text = Text.assemble(text, ("\nlast known ", "dim"), state_text(report.last_known_state))
    return text


def _price(report: GridReport) -> Text:
    from rich.text import Text

    if report.price is None:
        return Text(_NOTHING)
    text = Text(price_text(report.price), style="bold")
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
    lines = [price_text(report.grid.stop_loss)]
    if report.distance_to_stop_atr is not None:
        lines.append(f"{report.distance_to_stop_atr:.1f} ATR away")
    text = Text("\n".join(lines))
    if report.stop_loss_risk is not None:
        text.append(f"\n{report.stop_loss_risk}", style=_RISK_STYLES.get(report.stop_loss_risk, ""))
    return text


_RISK_STYLES = {"BREACHED": "bold red", "CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow", "SAFE": "dim"}


def _verdict(report: GridReport) -> Text:
    from rich.text import Text

    if report.verdict is None:
        return Text(_NOTHING)
    text = Text(report.verdict)
    if report.confidence is not None:
        text.append(f"\nconfidence {report.confidence:.2f}", style="dim")
    return text


def _facts(report: GridReport) -> Text:
    from rich.text import Text

    facts = []
    grid = report.grid
    if grid is not None:
        facts.append(f"{grid.market}, {'enabled' if grid.enabled else 'disabled'}")
    if report.price is not None:
        facts.append(f"price {price_text(report.price)}")
    if grid is not None and grid.enabled:
        facts.append(f"grid {price_text(grid.lower)} to {price_text(grid.upper)}, {grid.levels} levels")
        distance = report.distance_to_stop_atr
        away = "" if distance is None else f" ({distance:.1f} ATR away, {report.stop_loss_risk})"
        facts.append(f"stop {price_text(grid.stop_loss)}{away}")
    if report.verdict is not None:
        said = "" if report.confidence is None else f", confidence {report.confidence:.2f}"
        facts.append(f"verdict {report.verdict}{said}")
    if report.proposal:
        facts.append(proposal_text(report))
    if report.last_known_state is not None:
        facts.append(f"last known state {report.last_known_state}")
    return Text("\n".join(f"  {fact}" for fact in facts))


def _trigger_table(triggers: Sequence[TriggerReading]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("trigger", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("fires at", no_wrap=True)
    table.add_column("margin", justify="right", no_wrap=True)
    table.add_column("since (UTC)", no_wrap=True)
    table.add_column("without it", no_wrap=True)
    table.add_column("measures")
    for trigger in triggers:
        table.add_row(*_trigger_row(trigger), style="" if trigger.fired else "dim")
    return table


def _trigger_row(trigger: TriggerReading) -> tuple[str | Text, ...]:
    words = TRIGGER_WORDS[trigger.name]
    threshold = "yes" if words.is_yes_no else f"{words.sign} {value_text(trigger.name, trigger.threshold)} {words.unit}"
    margin = _NOTHING if trigger.margin is None or words.is_yes_no else f"{trigger.margin:+,.{max(words.decimals, 0)}f}"
    return (
        "FIRED" if trigger.fired else "",
        trigger.name,
        value_text(trigger.name, trigger.value),
        threshold.rstrip(),
        margin,
        f"{trigger.since:%m-%d %H:%M}" if trigger.since else "",
        state_text(trigger.without) if trigger.without else "",
        words.measures,
    )
