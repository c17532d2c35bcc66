"""Parts that the pages of every notice share: the frame of a page, why it is told now, and how to answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.domain.notifications.channel import EMERGENCY, TITLE_LIMIT
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.domain.notifications.delay_risk import DelayRisk
from mm_pipeline.domain.notifications.policy import NotifyPolicy
from mm_pipeline.reporting.grid_report import GridReport
from mm_pipeline.reporting.pages.limits import PageText, cut, fitted
from mm_pipeline.reporting.pages.words import (
    TIERS,
    clean_reason,
    notice_words,
    ordinal,
    quote_of,
    time_text,
    triggers_among,
)


@dataclass(frozen=True)
class Subject:
    """One grid of a page, what is known of it, and when the page is decided."""

    decision: Decision
    report: GridReport
    decided_at: datetime
    risk: DelayRisk | None = None

    @property
    def id(self) -> str:
        """Id of the grid."""
        return self.decision.grid

    @property
    def quote(self) -> str:
        """Currency of its prices."""
        return quote_of(self.report.grid)

    @property
    def notes(self) -> list[str]:
        """Reasons beside the fired triggers, a line each."""
        return [f"Reason: {reason}" for text in self.report.other_reasons if (reason := clean_reason(text))]


def page_of(
    told: Subject,
    asks: str,
    essential: Sequence[str],
    optional: Sequence[str],
    asks_short: str = "",
    *,
    others: int = 0,
) -> PageText:
    """A page whose first line and title say what to do; ``others`` is how many grids it tells of beside this one."""
    words = notice_words(told.decision.notice)
    title = f"{words} {told.id}{f' and {others} more grid' + 's' * (others != 1) if others else ''}"
    is_state = told.report.state == told.decision.notice and not others
    begun = None if told.report.since is None else time_text(told.report.since, beside=told.decided_at)
    since = f" since {begun}" if begun is not None and is_state else ""
    as_of = told.report.shown_state.removeprefix(told.report.state) if is_state else ""
    lines = [f"{words}{as_of}{since}: {asks}.", *(line for line in essential if line)]
    more = [*(line for line in optional if line), f"More: mm evaluate --grid {told.id}"]
    return PageText(cut(f"{title}: {asks_short or asks}", TITLE_LIMIT), fitted(lines, more))


def why_line(decision: Decision, report: GridReport, policy: NotifyPolicy) -> str:
    """Why it is told now."""
    notice, page = decision.notice, f"{ordinal(decision.number)} page"
    if decision.cause is Cause.CHANGE and notice is not Notice.REMINDER:
        return f"Why now: {_change(notice, policy)}."
    if decision.cause is Cause.NEW_TRIGGER:
        mandatory = triggers_among(report.fired, TIERS[Notice.MANDATORY_EXIT])
        begun = [trigger.name for trigger in mandatory if trigger.since == decision.evaluated_at]
        return f"Why now: a new mandatory trigger{': ' + ', '.join(begun) if begun else ''}; {page}."
    if decision.cause is Cause.REISSUE:
        return f"Why now: the alarm expired unanswered and is issued anew; {page}."
    if notice is Notice.REMINDER:
        return f"Why now: acknowledged, and neither flat nor verified; {page}."
    is_exit = notice in (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)
    still = "unacknowledged" if is_exit else "blind" if notice is Notice.UNKNOWN else "so"
    return f"Why now: still {still}; {page}."


def _change(notice: Notice, policy: NotifyPolicy) -> str:
    waited = {Notice.NORMAL: policy.normal.after_evaluations, Notice.UNKNOWN: policy.unknown.after_evaluations}
    if notice in waited:
        return f"{notice.value} for {waited[notice]} evaluation{'s' * (waited[notice] != 1)} in a row"
    return "price is above the grid and all is sold" if notice is Notice.SOLD_OUT else "the state changed"


def answer_lines(decision: Decision, priority: int, *, are_several: bool = False) -> list[str]:
    """How to answer: an emergency rings until it is acknowledged, another exit is told again until it is."""
    is_exit = decision.notice in (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)
    if priority != EMERGENCY and not is_exit:
        return ["No acknowledgement is needed."]
    ways = "in Pushover or with" if priority == EMERGENCY else "with"
    asked = [f"Acknowledge {ways}: mm ack {'GRID' if are_several else decision.grid}"]
    return [*asked, f"Once you are out: mm flat {decision.grid}"] if is_exit else asked
