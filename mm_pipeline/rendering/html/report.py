"""A report that stands in one file: each grid's state, its triggers against their thresholds, and its picture."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from mm_pipeline.rendering.terminal.evaluation_tables import price_age_text, proposal_text
from mm_pipeline.rendering.terminal.risk_cells import risk_facts
from mm_pipeline.reporting.charts import STATE_COLOURS
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading, by_severity
from mm_pipeline.reporting.pages.limits import PageText
from mm_pipeline.reporting.price_words import age_text, price_text, stop_text
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS, fires_at_text, value_text

_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b2a3a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.state { padding: .1rem .5rem; border-radius: .3rem; font-weight: 600; white-space: nowrap; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #e3e7ea; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.fired { font-weight: 600; } tr.quiet { color: #7a8691; }
img { max-width: 100%; } .note { color: #52616e; } .wide { overflow-x: auto; }
blockquote { border-left: .25rem solid #c5ced6; margin: .8rem 0; padding: 0 0 0 .9rem; white-space: pre-line; }
"""


def html_report(
    reports: Sequence[GridReport],
    *,
    title: str,
    now: datetime,
    charts: Mapping[str, bytes],
    notes: Mapping[str, str] | None = None,
    preface: Sequence[str] = (),
    pages: Mapping[str, Sequence[PageText]] | None = None,
) -> str:
    """One HTML page without outside parts.

    Parameters
    ----------
    reports
        The grids, printed most urgent first.
    now
        Against which ages are told.
    charts
        PNG by grid id.
    notes
        A sentence by grid id.
    preface
        Paragraphs before the grids.
    pages
        What was paged, by grid id.
    """
    ordered = by_severity(reports)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p class=note>{now:%Y-%m-%d %H:%M} UTC</p>",
        *(f"<p>{escape(paragraph)}</p>" for paragraph in preface),
        _overview(ordered, now),
        *(
            _section(
                report,
                now,
                charts.get(report.grid_id),
                (notes or {}).get(report.grid_id),
                (pages or {}).get(report.grid_id, ()),
            )
            for report in ordered
        ),
    ]
    head = f"{_META}<title>{escape(title)}</title><style>{_STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _overview(reports: Sequence[GridReport], now: datetime) -> str:
    rows = [
        [
            f'<a href="#{escape(report.grid_id)}">{escape(report.grid_id)}</a>',
            _state(report),
            age_text(report.since, now),
            f"{price_text(report.price)} {_age(report, now)}".strip(),
            escape(_bounds(report)),
            escape(report.verdict or "-"),
            escape(", ".join(trigger.name for trigger in report.fired) or "; ".join(report.reasons) or "-"),
        ]
        for report in reports
    ]
    return _table(["grid", "state", "for", "price", "grid bounds", "verdict", "why"], rows)


def _section(
    report: GridReport, now: datetime, chart: bytes | None, note: str | None, pages: Sequence[PageText]
) -> str:
    grid = report.grid
    market = f", {grid.market}" if grid is not None else ""
    parts = [f'<h2 id="{escape(report.grid_id)}">{escape(report.grid_id + market)} {_state(report)}</h2>']
    if note:
        parts.append(f"<p class=note>{escape(note)}</p>")
    parts.append(f"<p>{escape(_facts(report, now))}</p>")
    parts += [f"<p>{escape(line[:1].upper() + line[1:])}.</p>" for line in risk_facts(report)]
    parts += [f"<blockquote><b>{escape(page.title)}</b>\n{escape(page.text)}</blockquote>" for page in pages]
    if report.other_reasons:
        parts.append("<ul>" + "".join(f"<li>{escape(reason)}</li>" for reason in report.other_reasons) + "</ul>")
    if chart is not None:
        encoded = base64.b64encode(chart).decode()
        alt = f"price and states of {report.grid_id} over the last days"
        parts.append(f'<img alt="{escape(alt)}" src="data:image/png;base64,{encoded}">')
    if report.triggers:
        parts.append(_triggers(report.triggers))
    return "".join(parts)


def _facts(report: GridReport, now: datetime) -> str:
    facts = [f"In this state for {age_text(report.since, now)}."] if report.since else []
    if report.price is not None:
        facts.append(f"Price {price_text(report.price)} {_age(report, now)}; {_bounds(report)}.".replace(" ;", ";"))
    if report.distance_to_stop_atr is not None:
        risk = report.stop_loss_risk or "risk not known now"
        facts.append(f"The stop is {report.distance_to_stop_atr:.1f} ATR away ({risk}).")
    if report.verdict is not None:
        said = "" if report.confidence is None else f" with confidence {report.confidence:.2f}"
        facts.append(f"Verdict {report.verdict}{said}.")
    if report.proposal:
        facts.append(f"{proposal_text(report).capitalize()}.")
    if report.last_known_state is not None:
        facts.append(f"Last known state {report.last_known_state}.")
    return " ".join(facts)


def _age(report: GridReport, now: datetime) -> str:
    age = price_age_text(report, now)
    return f"({age})" if age else ""


def _bounds(report: GridReport) -> str:
    if report.grid is None:
        return "-"
    if not report.grid.enabled:
        return "disabled"
    bounds = f"{price_text(report.grid.lower)} to {price_text(report.grid.upper)}"
    return f"{bounds}, stop {stop_text(report.grid.stop_loss)}"


def _triggers(triggers: Sequence[TriggerReading]) -> str:
    headings = ["trigger", "measures", "value", "fires at", "since (UTC)", "state without it"]
    rows, classes = [], []
    for trigger in triggers:
        words = TRIGGER_WORDS[trigger.name]
        rows.append(
            [
                escape(trigger.name),
                escape(words.measures),
                value_text(trigger.name, trigger.value),
                escape(fires_at_text(trigger.name, trigger.threshold)),
                f"{trigger.since:%Y-%m-%d %H:%M}" if trigger.since else "",
                _state_named(trigger.without) if trigger.without else "",
            ]
        )
        classes.append("fired" if trigger.fired else "quiet")
    return _table(headings, rows, classes)


def _state(report: GridReport) -> str:
    shown = report.shown_state.removeprefix(report.state)
    return _state_named(report.state) + (f" <b>{escape(shown.strip())}</b>" if shown else "")


def _state_named(state: str) -> str:
    text = "white" if state == "MANDATORY_EXIT" else "inherit"
    style = f"background: {STATE_COLOURS[state]}; color: {text}"
    return f'<span class=state style="{style}">{escape(state.replace("_", " "))}</span>'


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f'<tr class="{classes[number] if classes else ""}">{"".join(f"<td>{cell}</td>" for cell in row)}</tr>'
        for number, row in enumerate(rows)
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"
