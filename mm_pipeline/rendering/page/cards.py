"""What the card of a grid says: values for templates, which escape them.

A blind grid has no figure of cost or risk: figures of an earlier price would comfort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mm_pipeline.application.operator.last_pages import Due, LastPage
from mm_pipeline.application.operator.status import UNKNOWN, GridStatus
from mm_pipeline.rendering.page.drawings import Strip, strip_of
from mm_pipeline.rendering.page.grid_pages import GridPages, action_of
from mm_pipeline.rendering.page.words import age_s, ago_text, due_text, moment_text, spoken
from mm_pipeline.rendering.terminal.evaluation_tables import price_age_text, proposal_text
from mm_pipeline.rendering.terminal.operator_tables import seconds_text
from mm_pipeline.reporting.grid_report import GridReport
from mm_pipeline.reporting.next_trigger import edges_text, next_worse
from mm_pipeline.reporting.pages.lead import led_by
from mm_pipeline.reporting.pages.words import amount_text, clean_reason, quote_of
from mm_pipeline.reporting.price_words import age_text, price_text, stop_text

_HORIZONS: Final = (("1h", "1 h"), ("4h", "4 h"), ("24h", "24 h"))
_STOP_WITHIN: Final = ("4h", "24h")
_SHOWN_REASONS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Card:
    """One grid.

    Attributes
    ----------
    age_s
        Age of its evaluation when the page was made, seconds: the browser counts on from there.
    figures
        Name and value of what is known of money and risk.
    sent
        What was sent, answered and is due, a line each.
    shown
        Ids of the pages that an answer given here is about.
    may_acknowledge, may_be_flat
        Whether there is anything to acknowledge, or a position to report closed.
    """

    grid_id: str
    market: str
    state: str
    shown_state: str
    since: str
    age_s: int
    action: str
    sentence: str
    reasons: tuple[str, ...]
    price: str
    bounds: str
    strip: Strip | None
    edges: str
    next_worse: str
    figures: tuple[tuple[str, str], ...]
    sent: tuple[str, ...]
    due: str
    is_overdue: bool
    shown: tuple[str, ...]
    may_acknowledge: bool
    may_be_flat: bool


def card_of(seen: GridPages, *, now: datetime) -> Card:
    """The card of a grid."""
    status, report = seen.status, seen.status.report
    is_blind, shown = report.state == UNKNOWN, tuple(one.decision.page for one in seen.pages)
    worse = next_worse(report)
    age = price_age_text(report, now)
    return Card(
        grid_id=report.grid_id,
        market="file unreadable" if report.grid is None else str(report.grid.market),
        state=report.state,
        shown_state=spoken(report.shown_state),
        since="" if report.since is None else f"for {age_text(report.since, now)}",
        age_s=age_s(report, now),
        action=action_of(seen),
        sentence=_sentence(status),
        reasons=tuple(clean_reason(reason) for reason in report.other_reasons[:_SHOWN_REASONS]),
        price=""
        if report.price is None
        else f"{price_text(report.price)} {quote_of(report.grid)}, {age or 'age unknown'}",
        bounds=_bounds(report),
        strip=strip_of(report),
        edges="" if is_blind else edges_text(report),
        next_worse="" if worse is None else worse.text(report),
        figures=() if is_blind else tuple(_figures(report)),
        sent=(*_last_page(status.last_page, now), *_answered(status, now), *_undelivered(status.due)),
        due=due_text(status.due, now),
        is_overdue=status.due.is_window_over,
        shown=shown,
        may_acknowledge=bool(shown) and _is_open(status),
        may_be_flat=report.grid is not None and report.grid.enabled and status.flat_at is None,
    )


def _is_open(status: GridStatus) -> bool:
    """Whether anything that was paged has no answer yet."""
    page = status.last_page
    is_seen = page is not None and page.acknowledged_at is not None
    return not is_seen or status.due.respond_by is not None or bool(status.due.open_emergencies)


def _sentence(status: GridStatus) -> str:
    """What happened and what waiting costs, as a page says it; of a blind grid that nothing is known."""
    report = status.report
    if report.state == UNKNOWN:
        known = "" if report.last_known_state is None else f" Last known: {spoken(report.last_known_state)}."
        return f"Nobody knows how it stands.{known}"
    if report.grid is not None and not report.grid.enabled:
        proposal = f" {proposal_text(report).capitalize()}." if report.proposal else ""
        return f"No bot runs on it.{proposal}"
    said = led_by((), report, report.delay_risk, is_held=status.flat_at is None)[0]
    calm = "" if report.fired else "Nothing that asks to leave has fired."
    return f"{calm} {said}".strip()


def _figures(report: GridReport) -> list[tuple[str, str]]:
    quote, risk = quote_of(report.grid), report.delay_risk
    pnl = None if report.risk is None else report.risk.get("total_pnl_quote")
    found = [] if pnl is None else [("PnL since the start", f"{'+' * (pnl > 0)}{amount_text(pnl)} {quote}")]
    if risk is None:
        return found
    at_risk = [
        (f"At risk in {words}", f"{amount_text(risk.capital_at_risk_quote[horizon])} {quote}")
        for horizon, words in _HORIZONS
    ]
    stops = [
        (f"Stop touched within {horizon.replace('h', ' h')}", f"{risk.stop_probability[horizon]:.0%}")
        for horizon in _STOP_WITHIN
        if horizon in risk.stop_probability
    ]
    return [*found, *at_risk, *stops]


def _last_page(page: LastPage | None, now: datetime) -> list[str]:
    if page is None:
        return ["Nothing was paged yet."]
    lines = [f"Paged {spoken(page.notice)} at {moment_text(page.decided_at)}, {ago_text(page.decided_at, now)}."]
    if page.sent_on:
        lines.append("Sent: " + ", ".join(f"{name} {at:%H:%M:%S}" for name, at in page.sent_on.items()) + ".")
    elif page.delivery != "waiting":
        lines.append(f"Delivery: {page.delivery}.")
    if page.waiting_on:
        tries = ", ".join(f"{name} (next try {at:%H:%M:%S})" for name, at in page.waiting_on.items())
        lines.append(f"Waiting for {tries}.")
    return lines


def _answered(status: GridStatus, now: datetime) -> list[str]:
    lines, page = [], status.last_page
    if page is not None and page.acknowledged_at is not None:
        who = page.acknowledged_by or page.acknowledged_through
        lines.append(f"Acknowledged by {who} after {seconds_text(page.acknowledge_s)}.")
    if status.flat_at is not None:
        lines.append(
            f"Flat since {moment_text(status.flat_at)}, {ago_text(status.flat_at, now)}, said {status.flat_by}."
        )
    return lines


def _undelivered(due: Due) -> list[str]:
    lines = ["An alarm still rings."] if due.open_emergencies else []
    if due.overdue:
        return [*lines, f"{_pages(due.overdue)} overdue: no channel took it."]
    return [*lines, f"{_pages(due.waiting)} waiting to be sent."] if due.waiting else lines


def _bounds(report: GridReport) -> str:
    grid = report.grid
    if grid is None:
        return ""
    bounds = f"grid {price_text(grid.lower)} to {price_text(grid.upper)}, {grid.levels} levels"
    return f"{bounds}, stop {stop_text(grid.stop_loss)}"


def _pages(pages: Sequence[str]) -> str:
    return f"{len(pages)} page{'s' * (len(pages) != 1)}"
