"""What a page says: title and text of a decided notification. When it is decided and how it is sent are elsewhere.

Lines stand in the order of their importance. Those that every reader needs come first; a blank line parts them from
the others, of which the last are left out where there is no room. Triggers of other states than the page's come last:
who must act needs the cost of waiting sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from mm_pipeline.domain.notifications.channel import EMERGENCY
from mm_pipeline.domain.notifications.decision import Cause, Decision, Notice
from mm_pipeline.domain.notifications.judgement import ENTRY, STOP, is_held
from mm_pipeline.domain.notifications.policy import LatestExitNotice, MandatoryExitNotice, NotifyPolicy, WarningNotice
from mm_pipeline.reporting.grid_report import GridReport
from mm_pipeline.reporting.pages.flat import Contradiction, flat_page, tells_of_flat
from mm_pipeline.reporting.pages.lead import led_by
from mm_pipeline.reporting.pages.limits import PageText, marked
from mm_pipeline.reporting.pages.parts import Subject, answer_lines, page_of, why_line
from mm_pipeline.reporting.pages.words import (
    TIERS,
    amount_text,
    capital_line,
    grid_text,
    has_stop,
    ordinal,
    other_trigger_lines,
    percent_text,
    position_line,
    proposal_line,
    quote_text,
    some_of,
    span_text,
    stop_line,
    time_text,
    trigger_lines,
    verdict_line,
)

__all__ = ["PageText", "marked", "page_text"]


def page_text(
    decisions: Sequence[Decision],
    reports: Mapping[str, GridReport],
    policy: NotifyPolicy,
    contradictions: Mapping[str, Contradiction] | None = None,
    *,
    decided_at: datetime | None = None,
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
    decided_at
        When the page is decided, with which its window begins; ``decided_after`` the evaluation if None.

    Raises
    ------
    ValueError
        When the decisions do not belong on one page.
    """
    notices = {decision.notice for decision in decisions}
    if len(notices) != 1 or (len(decisions) > 1 and notices != {Notice.UNKNOWN}):
        raise ValueError(f"a page has one notice, and one grid unless it is UNKNOWN: {sorted(notices)}")
    known = [(one, reports.get(one.grid) or _nothing_known(one)) for one in decisions]
    begins_at = decided_at or decisions[0].evaluated_at + policy.decided_after
    told = [Subject(one, report, begins_at, report.delay_risk) for one, report in known]
    if notices == {Notice.UNKNOWN}:
        return _unknown(told, policy)
    if tells_of_flat(decisions[0]):
        return flat_page(decisions[0], told[0].report, policy, (contradictions or {}).get(told[0].id))
    return _PAGES[decisions[0].notice](told[0], policy)


def _nothing_known(decision: Decision) -> GridReport:
    return GridReport(grid_id=decision.grid, grid=None, evaluated_at=decision.evaluated_at, state=decision.state)


def _exit(told: Subject, policy: NotifyPolicy) -> PageText:
    """A page that asks for an exit, or to prepare one."""
    notice, report = told.decision.notice, told.report
    rules, is_stopped_out = _rules(notice, policy), _is_stopped_out(told, policy)
    essential = [
        grid_text(report),
        *([] if told.decision.cause is Cause.CHANGE else [why_line(told.decision, report, policy)]),
        *_milder_now(told),
        *trigger_lines(report.fired, TIERS[notice], told.quote),
        *answer_lines(told.decision, rules.priority),
    ]
    essential = led_by(essential, report, told.risk, is_held=not is_stopped_out)
    optional = [
        stop_line(report),
        capital_line(told.risk, told.quote, has_stop=has_stop(report), is_touched=_is_touched(report)),
        verdict_line(report),
        position_line(report, told.quote),
        *told.notes,
        *other_trigger_lines(report.fired, notice, told.quote),
    ]
    if is_stopped_out:
        return page_of(told, "the stop was touched, nothing is held: CHECK that nothing is left", essential, optional)
    asks, is_again = _asked(told, policy, rules.window), told.decision.cause is Cause.REISSUE
    unanswered = f" ({ordinal(told.decision.number)} page, nobody answered)" if is_again else ""
    return page_of(told, asks, essential, optional, asks + unanswered)


def _is_stopped_out(told: Subject, policy: NotifyPolicy) -> bool:
    """Whether the stop was touched, and the position is known to hold nothing."""
    risk = told.report.risk
    if told.decision.notice is not Notice.MANDATORY_EXIT or not _is_touched(told.report) or risk is None:
        return False
    held = risk["inventory_base"]
    return held is not None and not is_held(held, str(risk["source"]), told.report.grid, policy)


def _is_touched(report: GridReport) -> bool:
    return any(one.name == STOP for one in report.fired)


def _milder_now(told: Subject) -> list[str]:
    """Of an emergency that is issued anew while the state is milder: why it is not over."""
    decision = told.decision
    if decision.notice is not Notice.MANDATORY_EXIT or decision.state == Notice.MANDATORY_EXIT:
        return []
    named = f" It named: {some_of(decision.triggers, 'trigger')}." if decision.triggers else ""
    state = decision.state.replace("_", " ")
    return [f"It looks milder now ({state}), but the emergency stands until the watch says NORMAL.{named}"]


def _rules(notice: Notice, policy: NotifyPolicy) -> MandatoryExitNotice | LatestExitNotice | WarningNotice:
    if notice is Notice.MANDATORY_EXIT:
        return policy.mandatory_exit
    return policy.latest_acceptable_exit if notice is Notice.LATEST_ACCEPTABLE_EXIT else policy.warning


def _asked(told: Subject, policy: NotifyPolicy, window: timedelta) -> str:
    """What to do, and until when: the window of a page that is news begins when it is decided."""
    decision, decided_at = told.decision, told.decided_at
    verb = "prepare to exit, decide" if decision.notice is Notice.WARNING else "exit"
    is_news = decision.episode_at == decision.evaluated_at or decision.cause is Cause.NEW_TRIGGER
    ends_at = (decided_at if is_news else decision.episode_at + policy.decided_after) + window
    ends = time_text(ends_at, beside=decided_at)
    left = ends_at - decided_at
    if left > timedelta(0):
        return f"{verb} within {span_text(max(left, timedelta(minutes=1)))}, by {ends}"
    return f"{verb} NOW, the {span_text(window)} window ended {ends}"


def _normal(told: Subject, policy: NotifyPolicy) -> PageText:
    report = told.report
    essential = [grid_text(report), why_line(told.decision, report, policy)]
    others = other_trigger_lines(report.fired, Notice.NORMAL, told.quote)
    return page_of(told, "back to normal, nothing to do", essential, [verdict_line(report), stop_line(report), *others])


def _sold_out(told: Subject, policy: NotifyPolicy) -> PageText:
    """Above the grid there is nothing left to sell, so nothing is said that asks for it."""
    grid, price, decision = told.report.grid, told.report.price, told.decision
    optional = [verdict_line(told.report)]
    if grid is not None and price is not None and price > grid.upper:
        above = f"{amount_text(price - grid.upper)} {told.quote} ({percent_text(price / grid.upper - 1)})"
        optional.insert(0, f"Price is {above} above the upper bound.")
    essential = [
        grid_text(told.report),
        why_line(decision, told.report, policy),
        "To set the range anew: lower, upper, stop_loss and a new started_at in the grid's file.",
        *answer_lines(decision, policy.sold_out.priority),
    ]
    asks = "above the grid, all is sold, set the range anew"
    return page_of(told, asks, essential, optional)


def _reminder(told: Subject, policy: NotifyPolicy) -> PageText:
    """That an emergency is known, and not yet acted upon as far as anybody has said."""
    report, quote = told.report, told.quote
    essential = [
        grid_text(report),
        why_line(told.decision, report, policy),
        *trigger_lines(report.fired, TIERS[Notice.MANDATORY_EXIT], quote),
        f"Once you are out: mm flat {told.id}",
    ]
    capital = capital_line(told.risk, quote, has_stop=has_stop(report), is_touched=_is_touched(report))
    optional = [stop_line(report), capital, position_line(report, quote), *told.notes]
    of_disabled = "its account held it after it was reported flat"
    stands = of_disabled if told.decision.kind == ENTRY else "the acknowledged MANDATORY EXIT still stands"
    return page_of(told, f"{stands}, exit if not done", led_by(essential, report, told.risk), optional)


def _still_enabled(told: Subject, policy: NotifyPolicy) -> PageText:
    """What the operator's word keeps from being paged, and how to take it back."""
    essential = [
        f"{told.id} was reported flat more than {span_text(policy.still_enabled.after)} ago, and is still enabled.",
        "While that stands, no exit of it is paged.",
        f"No bot runs: mm flat {told.id} --disable",
        f"It trades again: a new started_at in the grid's file, or mm reopen {told.id}",
        *answer_lines(told.decision, policy.still_enabled.priority),
    ]
    return page_of(told, "reported flat, you get no exit alarm for it", essential, [])


def _enter(told: Subject, policy: NotifyPolicy) -> PageText:
    """Only what an operator needs who has no position: nothing about leaving one."""
    grid, report = told.report.grid, told.report
    market = "market not known" if grid is None else str(grid.market)
    essential = [
        f"{told.id} {market}: price {quote_text(report.price, told.quote)}, the grid is disabled.",
        proposal_line(report),
        why_line(told.decision, report, policy),
        "To start: this range, enabled: true and a new started_at in the grid's file; else do nothing.",
        *answer_lines(told.decision, policy.enter.priority),
    ]
    return page_of(told, "the market ranges, and a range is proposed", essential, [verdict_line(report)])


def _unknown(told: Sequence[Subject], policy: NotifyPolicy) -> PageText:
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
        why_line(newest, first.report, policy),
        notes[0],
        *([] if exits and rings_once else answer_lines(newest, policy.unknown.priority, are_several=are_several)),
    ]
    each = [f"{at} {state}" for at, state in zip(where, last_known, strict=True)]
    stop = stop_line(first.report, price_name="last price")
    optional = [*notes[1:], *(each if are_several else [stop]), "What is wrong: mm doctor"]
    asks = f"the watch is blind, check the grid{'s' * are_several} on the exchange"
    whose = f" of {some_of(exits, 'grid', room=45)}" if exits and are_several else ""
    standing = f"blind, MANDATORY EXIT{whose} stays in force, EXIT NOW if not done"
    return page_of(first, asks, essential, optional, standing if exits else asks, others=len(told) - 1)


def _standing_lines(exits: Sequence[str]) -> list[str]:
    """What still holds of grids that were to be left when the watch went blind."""
    if not exits:
        return []
    said = f"MANDATORY EXIT of {some_of(exits, 'grid', room=90)} stays in force: EXIT NOW if not done."
    return [said, f"Acknowledge it with: mm ack {_only(exits)}", f"Once you are out: mm flat {_only(exits)}"]


def _only(grids: Sequence[str]) -> str:
    return grids[0] if len(grids) == 1 else "GRID"


def _last_known(report: GridReport) -> str:
    state = report.last_known_state
    return f"Last known state: {'none' if state is None else state.replace('_', ' ')}."


_PAGES: Final[Mapping[Notice, Callable[[Subject, NotifyPolicy], PageText]]] = MappingProxyType(
    {
        Notice.MANDATORY_EXIT: _exit,
        Notice.LATEST_ACCEPTABLE_EXIT: _exit,
        Notice.WARNING: _exit,
        Notice.NORMAL: _normal,
        Notice.SOLD_OUT: _sold_out,
        Notice.REMINDER: _reminder,
        Notice.STILL_ENABLED: _still_enabled,
        Notice.ENTER: _enter,
    }
)
