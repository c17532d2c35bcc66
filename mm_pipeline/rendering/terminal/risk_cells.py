"""How risky a grid is and what waiting may cost, as a table's cell and as lines; the words are those of pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mm_pipeline.reporting.grid_report import GridReport

if TYPE_CHECKING:
    from rich.text import Text

RISK_STYLES: Final = {
    "BREACHED": "bold red",
    "CRITICAL": "bold red",
    "HIGH": "red",
    "MEDIUM": "yellow",
    "SAFE": "dim",
    "LOW": "dim",
}
"""Colours of stop risks and risk levels."""
_NOTHING: Final = "-"
_STOP_WITHIN: Final = "24h"
_UNKNOWN: Final = "UNKNOWN"
_BLIND: Final = "Cost of waiting: not known while the watch is blind."


def risk_cell(report: GridReport) -> Text:
    """Level, PnL and what an hour's delay costs one time in twenty, in quote, and how likely the stop is."""
    from rich.text import Text

    if report.risk_level is None:
        return Text(_NOTHING)
    text = Text(report.risk_level, style=RISK_STYLES.get(report.risk_level, ""))
    pnl = None if report.risk is None else report.risk["total_pnl_quote"]
    if pnl is not None:
        text.append(f"\nPnL {pnl:+,.2f}", style="not bold default")
    if report.delay_risk is not None and report.state != _UNKNOWN:
        text.append(f"\n1 h: -{report.delay_risk.capital_at_risk_quote['1h']:,.2f}", style="not bold dim")
    if (likely := _stop_likely(report)) is not None:
        text.append(f"\nstop 24 h: {likely:.0%}", style="not bold dim")
    return text


def waiting_text(report: GridReport) -> str:
    """PnL, what an hour's delay costs one time in twenty, and how likely the stop is, in a line.

    Empty where nothing is known, and of a blind grid: figures of an earlier price would comfort.
    """
    from mm_pipeline.reporting.pages.words import quote_of

    if report.state == _UNKNOWN:
        return ""
    said, quote = [], quote_of(report.grid)
    pnl = None if report.risk is None else report.risk["total_pnl_quote"]
    if pnl is not None:
        said.append(f"PnL {pnl:+,.2f} {quote}")
    if report.delay_risk is not None:
        said.append(f"1 h at risk {report.delay_risk.capital_at_risk_quote['1h']:,.2f} {quote}")
    if (likely := _stop_likely(report)) is not None:
        said.append(f"stop within 24 h {likely:.0%}")
    return ", ".join(said)


def _stop_likely(report: GridReport) -> float | None:
    """The probability that the stop is touched within 24 h; None of a blind grid."""
    if report.delay_risk is None or report.state == _UNKNOWN:
        return None
    return report.delay_risk.stop_probability.get(_STOP_WITHIN)


def risk_facts(report: GridReport) -> list[str]:
    """What is held and what waiting may cost, as a page says it; of a blind grid no forecast of an earlier price."""
    from mm_pipeline.reporting.pages.words import has_stop, position_line, quote_of, risk_lines

    if report.risk_level is None:
        return []
    quote = quote_of(report.grid)
    costs = [_BLIND] if report.state == _UNKNOWN else risk_lines(report.delay_risk, quote, has_stop=has_stop(report))
    lines = [f"risk {report.risk_level}", position_line(report, quote), *costs]
    return [line[:1].lower() + line[1:].removesuffix(".") for line in lines if line]
