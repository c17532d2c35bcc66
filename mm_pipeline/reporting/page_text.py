"""What a page says: title and text of a decided notification. When it is decided and how it is sent are elsewhere.

Lines stand in the order of their importance. Those that every reader needs come first; a blank line parts them from
the others, of which the last are left out where there is no room. Triggers of other states than the page's come last:
who must act needs the cost of waiting sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from mm_pipeline.domain.notifications.channel import EMERGENCY, TITLE_LIMIT
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.domain.notifications.delay_risk import DelayRisk
from mm_pipeline.domain.notifications.policy import (
    LatestExitNotice,
    MandatoryExitNotice,
    NotifyPolicy,
    WarningNotice,
)
from mm_pipeline.reporting.flat_page import Contradiction, flat_page
from mm_pipeline.reporting.grid_report import GridReport
from mm_pipeline.reporting.page_limits import PageText, cut, fitted, marked
from mm_pipeline.reporting.page_words import (
    TIERS,
    amount_text,
    clean_reason,
    grid_text,
    has_stop,
    notice_words,
    ordinal,
    other_trigger_lines,
    percent_text,
    position_line,
    proposal_line,
    quote_of,
    quote_text,
    risk_lines,
    some_of,
    span_text,
    stop_line,
    time_text,
    trigger_lines,
    triggers_among,
    verdict_line,
)

__all__ = ["PageText", "marked", "page_text"]


@dataclass(frozen=True)
class _Told:
    """One grid of a page, and what is known of it."""

    decision: Decision
    report: GridReport
    risk: DelayRisk | None = None

    @property
    def id(self) -> str:
        return self.decision.grid

    @property
    def quote(self) -> str:
        return quote_of(self.report.grid)

    @property
    def notes(self) -> list[str]:
        """Reasons beside the fired triggers, a line each."""
        return [f"Reason: {reason}" for text in self.report.other_reasons if (reason := clean_reason(text))]


def page_text(
    decisions: Sequence[Decision],
    reports: Mapping[str, GridReport],
    policy: NotifyPolicy,
    contradictions: Mapping[str, Contradiction] | None = None,
) -> PageText:
    """Title and text of one page.

    Parameters
    ----------
    decisions
        All that the page tells: of one notice; several only where it is UNKNOWN.
    reports
        By grid, at the decisions' evaluation; a grid without one is told of as far as its decision goes. Where nothing
        is known of what waiting may cost, the page says that it is not available.
    policy
        Windows and priorities.
    contradictions
        By grid, what an account showed against a report of flat.

    Raises
    ------
    ValueError
        When the decisions do not belong on one page.
    """
    notices = {decision.notice for decision in decisions}
    if len(notices) != 1 or (len(decisions) > 1 and notices != {Notice.UNKNOWN}):
        raise ValueError(f"a page has one notice, and one grid unless it is UNKNOWN: {sorted(notices)}")
    known = [(one, reports.get(one.grid) or _nothing_known(one)) for one in decisions]
    told = [_Told(one, report, report.delay_risk) for one, report in known]
    if notices == {Notice.UNKNOWN}:
        return _unknown(told, policy)
    if decisions[0].cause is Cause.CONTRADICTED:
        return flat_page(decisions[0], told[0].report, policy, (contradictions or {}).get(told[0].id))
    return _PAGES[decisions[0].notice](told[0], policy)


def _nothing_known(decision: Decision) -> GridReport:
    return GridReport(grid_id=decision.grid, grid=None, evaluated_at=decision.evaluated_at, state=decision.state)


def _page(
    told: _Told, asks: str, essential: Sequence[str], optional: Sequence[str], asks_short: str = "", *, others: int = 0
) -> PageText:
    """A page whose first line and title say what to do; ``others`` is how many grids it tells of beside this one."""
    words = notice_words(told.decision.notice)
    title = f"{words} {told.id}{f' and {others} more grid' + 's' * (others != 1) if others else ''}"
    is_state = told.report.state == told.decision.notice and not others
    since = f" since {time_text(told.report.since)}" if told.report.since is not None and is_state else ""
    lines = [f"{words}{since}: {asks}.", *essential]
    more = [*(line for line in optional if line), f"More: mm evaluate --grid {told.id}"]
    return PageText(cut(f"{title}: {asks_short or asks}", TITLE_LIMIT), fitted(lines, more))


def _exit(told: _Told, policy: NotifyPolicy) -> PageText:
    """A page that asks for an exit, or to prepare one."""
    notice, report = told.decision.notice, told.report
    verb = "prepare to exit, decide" if notice is Notice.WARNING else "exit"
    rules = _rules(notice, policy)
    essential = [
        grid_text(report),
        _why(told.decision, report, policy),
        *trigger_lines(report.fired, TIERS[notice], told.quote),
        *_answers(told.decision, rules.priority),
    ]
    optional = [
        verdict_line(report),
        stop_line(report),
        position_line(report, told.quote),
        *risk_lines(told.risk, told.quote, has_stop=has_stop(report)),
        *told.notes,
        *other_trigger_lines(report.fired, notice, told.quote),
    ]
    asks, asks_short = (_asked(told.decision, verb, rules.window, is_short=short) for short in (False, True))
    return _page(told, asks, essential, optional, asks_short)


def _rules(notice: Notice, policy: NotifyPolicy) -> MandatoryExitNotice | LatestExitNotice | WarningNotice:
    if notice is Notice.MANDATORY_EXIT:
        return policy.mandatory_exit
    return policy.latest_acceptable_exit if notice is Notice.LATEST_ACCEPTABLE_EXIT else policy.warning


def _asked(decision: Decision, verb: str, window: timedelta, *, is_short: bool) -> str:
    """What to do, and until when: the window of all pages of an episode begins with its first."""
    ends_at = decision.episode_at + window
    ends = time_text(ends_at, beside=decision.evaluated_at if is_short else None)
    left = ends_at - decision.evaluated_at
    if left > timedelta(0):
        return f"{verb} within {span_text(max(left, timedelta(minutes=1)))}, by {ends}"
    return f"{verb} NOW, the {span_text(window)} window ended {ends}"


def _normal(told: _Told, policy: NotifyPolicy) -> PageText:
    report = told.report
    essential = [grid_text(report), _why(told.decision, report, policy)]
    others = other_trigger_lines(report.fired, Notice.NORMAL, told.quote)
    return _page(told, "back to normal, nothing to do", essential, [verdict_line(report), stop_line(report), *others])


def _sold_out(told: _Told, policy: NotifyPolicy) -> PageText:
    """Above the grid there is nothing left to sell, so nothing is said that asks for it."""
    grid, price, decision = told.report.grid, told.report.price, told.decision
    optional = [verdict_line(told.report)]
    if grid is not None and price is not None and price > grid.upper:
        above = f"{amount_text(price - grid.upper)} {told.quote} ({percent_text(price / grid.upper - 1)})"
        optional.insert(0, f"Price is {above} above the upper bound.")
    essential = [
        grid_text(told.report),
        _why(decision, told.report, policy),
        "To set the range anew: lower, upper, stop_loss and a new started_at in the grid's file.",
        *_answers(decision, policy.sold_out.priority),
    ]
    asks = "above the grid, all is sold, set the range anew"
    return _page(told, asks, essential, optional)


def _enter(told: _Told, policy: NotifyPolicy) -> PageText:
    """Only what an operator needs who has no position: nothing about leaving one."""
    grid, report = told.report.grid, told.report
    market = "market not known" if grid is None else str(grid.market)
    essential = [
        f"{told.id} {market}: price {quote_text(report.price, told.quote)}, the grid is disabled.",
        proposal_line(report),
        _why(told.decision, report, policy),
        "To start: this range, enabled: true and a new started_at in the grid's file; else do nothing.",
        *_answers(told.decision, policy.enter.priority),
    ]
    return _page(told, "a good moment to start this grid", essential, [verdict_line(report)])


def _unknown(told: Sequence[_Told], policy: NotifyPolicy) -> PageText:
    """Grids that are blind for one cause; those whose exit stays in force come first."""
    ordered = sorted(told, key=lambda one: one.report.last_known_state != Notice.MANDATORY_EXIT)
    exits = [one.id for one in ordered if one.report.last_known_state == Notice.MANDATORY_EXIT]
    newest = max(told, key=lambda one: one.decision.number).decision
    first, are_several = ordered[0], len(told) > 1
    notes = list(dict.fromkeys(note for one in ordered for note in one.notes)) or ["Reason: not told"]
    rings_once = policy.unknown.priority != EMERGENCY
    where = [grid_text(one.report, price_name="last price") for one in ordered]
    last_known = [_last_known(one.report) for one in ordered]
    essential = [
        *_standing_lines(exits),
        *([f"Grids: {some_of([one.id for one in ordered], 'grid')}."] if are_several else [where[0], last_known[0]]),
        _why(newest, first.report, policy),
        notes[0],
        *([] if exits and rings_once else _answers(newest, policy.unknown.priority, are_several=are_several)),
    ]
    each = [f"{at} {state}" for at, state in zip(where, last_known, strict=True)]
    stop = stop_line(first.report, price_name="last price")
    optional = [*notes[1:], *(each if are_several else [stop]), "What is wrong: mm doctor"]
    asks = f"the watch is blind, check the grid{'s' * are_several} on the exchange"
    whose = f" of {some_of(exits, 'grid', room=45)}" if exits and are_several else ""
    standing = f"blind, MANDATORY EXIT{whose} stays in force, EXIT NOW if not done"
    return _page(first, asks, essential, optional, standing if exits else asks, others=len(told) - 1)


def _standing_lines(exits: Sequence[str]) -> list[str]:
    """What still holds of grids that were to be left when the watch went blind."""
    if not exits:
        return []
    said = f"MANDATORY EXIT of {some_of(exits, 'grid', room=90)} stays in force: EXIT NOW if not done."
    return [said, f"Acknowledge it with: mm ack {_only(exits)}", f"After exiting: mm flat {_only(exits)}"]


def _only(grids: Sequence[str]) -> str:
    return grids[0] if len(grids) == 1 else "GRID"


def _last_known(report: GridReport) -> str:
    state = report.last_known_state
    return f"Last known state: {'none' if state is None else state.replace('_', ' ')}."


def _why(decision: Decision, report: GridReport, policy: NotifyPolicy) -> str:
    """Why it is told now."""
    notice, page = decision.notice, f"{ordinal(decision.number)} page"
    if decision.cause is Cause.CHANGE:
        return f"Why now: {_change(notice, policy)}."
    if decision.cause is Cause.NEW_TRIGGER:
        mandatory = triggers_among(report.fired, TIERS[Notice.MANDATORY_EXIT])
        begun = [trigger.name for trigger in mandatory if trigger.since == decision.evaluated_at]
        return f"Why now: a new mandatory trigger{': ' + ', '.join(begun) if begun else ''}; {page}."
    if decision.cause is Cause.REISSUE:
        return f"Why now: the alarm expired unanswered and is issued anew; {page}."
    is_exit = notice in (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)
    still = "unacknowledged" if is_exit else "blind" if notice is Notice.UNKNOWN else "so"
    return f"Why now: still {still}; {page}."


def _change(notice: Notice, policy: NotifyPolicy) -> str:
    waited = {Notice.NORMAL: policy.normal.after_evaluations, Notice.UNKNOWN: policy.unknown.after_evaluations}
    if notice in waited:
        return f"{notice.value} for {waited[notice]} evaluation{'s' * (waited[notice] != 1)} in a row"
    return "price is above the grid and all is sold" if notice is Notice.SOLD_OUT else "the state changed"


def _answers(decision: Decision, priority: int, *, are_several: bool = False) -> list[str]:
    """How to answer: an emergency rings until it is acknowledged, another exit is told again until it is."""
    is_exit = decision.notice in (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)
    if priority != EMERGENCY and not is_exit:
        return ["No acknowledgement is needed."]
    ways = "in Pushover or with" if priority == EMERGENCY else "with"
    asked = [f"Acknowledge {ways}: mm ack {'GRID' if are_several else decision.grid}"]
    return [*asked, f"After exiting: mm flat {decision.grid}"] if is_exit else asked


_PAGES: Final[Mapping[Notice, Callable[[_Told, NotifyPolicy], PageText]]] = MappingProxyType(
    {
        Notice.MANDATORY_EXIT: _exit,
        Notice.LATEST_ACCEPTABLE_EXIT: _exit,
        Notice.WARNING: _exit,
        Notice.NORMAL: _normal,
        Notice.SOLD_OUT: _sold_out,
        Notice.ENTER: _enter,
    }
)
