"""The page about a report of flat that the account contradicts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.domain.notifications.channel import TITLE_LIMIT
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.domain.notifications.judgement import ENTRY
from mm_pipeline.domain.notifications.policy import NotifyPolicy
from mm_pipeline.reporting.grid_report import GridReport
from mm_pipeline.reporting.pages.limits import PageText, cut, fitted
from mm_pipeline.reporting.pages.parts import why_line
from mm_pipeline.reporting.pages.words import (
    grid_text,
    ordinal,
    other_trigger_lines,
    position_line,
    quote_of,
    risk_lines,
    span_text,
    stop_line,
    time_text,
    verdict_line,
)

_NEARLY = 0.01
"""Below this share of the account's balance a difference to the grid's coins is rounding, and not told."""


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A report of flat, and what the account showed after it.

    Attributes
    ----------
    said_at, is_by_account
        When it was reported, and whether the account itself had shown the grid closed.
    base_total, held_base
        What the account holds of ``base``, and how much of it is the grid's by its fills.
    open_orders
        The grid's resting orders.
    """

    said_at: datetime
    is_by_account: bool
    base: str
    base_total: float
    held_base: float
    open_orders: int

    @property
    def text(self) -> str:
        """``you reported flat at 2025-03-20 12:06 UTC, the account holds 6.8 SOL and 3 orders``."""
        return f"{self._report} at {time_text(self.said_at)}, {self._holding}"

    @property
    def short_text(self) -> str:
        """The same without the date, for a title."""
        return f"{self._report} at {self.said_at:%H:%M} UTC, {self._holding}"

    @property
    def _report(self) -> str:
        return "the account showed it flat" if self.is_by_account else "you reported flat"

    @property
    def _holding(self) -> str:
        total = f"{self.base_total:,.6g} {self.base}"
        is_apart = self.base_total - self.held_base > _NEARLY * self.base_total
        mine = f" ({self.held_base:,.6g} of it the grid's by its fills)" if is_apart else ""
        return f"the account holds {total}{mine} and {self.open_orders} order{'s' * (self.open_orders != 1)}"


def tells_of_flat(decision: Decision) -> bool:
    """Whether a page tells that a report of flat is not true: the only emergency of a disabled grid is that."""
    is_of_disabled = decision.kind == ENTRY and decision.notice is Notice.MANDATORY_EXIT
    return decision.cause is Cause.CONTRADICTED or is_of_disabled


def flat_page(
    decision: Decision, report: GridReport, policy: NotifyPolicy, contradiction: Contradiction | None
) -> PageText:
    """Title and text of a page that says that a report of flat is not true, and counts no longer.

    Parameters
    ----------
    contradiction
        What the account showed; None where that is not known any more, as in a replay.
    """
    quote, window = quote_of(report.grid), span_text(policy.mandatory_exit.window)
    said = "you reported flat, the account still holds" if contradiction is None else contradiction.text
    short = said if contradiction is None else contradiction.short_text
    state = report.state.replace("_", " ")
    is_again = decision.cause is Cause.REISSUE
    again = f" ({ordinal(decision.number)} page, nobody answered)" if is_again else ""
    essential = [
        f"NOT FLAT {decision.grid}: {said}.",
        f"Your report counts no longer. Sell what is held and cancel what rests within {window}, or stop the bot.",
        *([why_line(decision, report, policy)] if is_again else []),
        f"State {state}. {grid_text(report)}",
        f"Acknowledge in Pushover or with: mm ack {decision.grid}",
        f"Once you are out: mm flat {decision.grid}",
    ]
    optional = [
        *other_trigger_lines(report.fired, decision.notice, quote),
        stop_line(report),
        position_line(report, quote),
        *risk_lines(report.delay_risk, quote),
        verdict_line(report),
        f"More: mm evaluate --grid {decision.grid}",
    ]
    return PageText(
        cut(f"NOT FLAT {decision.grid}: {short}{again}", TITLE_LIMIT),
        fitted(essential, [one for one in optional if one]),
    )
