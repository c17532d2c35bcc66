"""Which notice is due about a grid, and why: SPEC 8's table, a function each. Pure.

Where SPEC leaves room, this is meant:

- *Change* is against the newest page, not against the evaluation before: a state that comes back before any other page
  is no news. A reminder changes nothing. An all-clear does, sent or not. Nothing else that was held back does.
- An emergency lasts from its first page to an all-clear. Its pages name the mandatory triggers; one that no page has
  named yet pages at once. Acknowledged, it is answered through every milder state, a sold-out and an outage.
- Evaluations that end one come after its page: a bar that is revised makes none of before it calm.
- Not acknowledged, it is issued anew when its alarm has expired, also while the state is milder or unknown. Two
  evaluations in a row that say NORMAL or sold out end it. After a sold-out the same triggers resume it: they are
  issued anew when the alarm would have expired, until an all-clear.
- Acknowledged, it also ends in WARNING, once nothing has asked for an exit for a while. Nothing is sent of that.
- After an UNKNOWN page, LATEST, WARNING and sold-out are news again. UNKNOWN and ENTER are news in each unbroken run
  of evaluations. An outage that comes and goes is told once enough of the newest evaluations are UNKNOWN, and repeats
  like any other until an all-clear.
- A failed fetch keeps the old state for one evaluation. So UNKNOWN counts the evaluations for which the newest bar was
  kept back, where the row tells them.
- A grid whose stop was touched has sold everything in the model. It pages like any other emergency, but only an account
  or import that shows inventory has it issued anew.
- A position that was said to be closed is told nothing but outages, their end, and once that the grid is still enabled.
  That lasts until a new ``started_at``, or until the position is seen or reported open.
- A report of flat that its account contradicts is told as an emergency, whatever the state; from then on the state is
  told as if nobody had reported anything. No state of a disabled grid ends that emergency, only an answer does: it is
  issued anew, and once acknowledged reminded of, until the position is reported closed or open.
- What a minimum interval, the page budget or a position that holds nothing holds back is told as soon as none of them
  binds, if it still holds.
- A response counts for decisions made at or after the moment it was known: live ones say when that was, a replay takes
  ``decided_after`` from each evaluation. That a position is open again counts for no evaluation before it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from mm_pipeline.domain.notifications.decision import ASKS_FOR_EXIT, Cause, Decision, HeldBack, Notice
from mm_pipeline.domain.notifications.history import History
from mm_pipeline.domain.notifications.judgement import ENTRY, STOP, Judgement
from mm_pipeline.domain.notifications.policy import NotifyPolicy

_CLEARED: Final = frozenset({*ASKS_FOR_EXIT, Notice.UNKNOWN})
"""Notices of which an all-clear is sent."""


@dataclass(frozen=True)
class Due:
    """A notice that is due, as part of which telling, and why."""

    notice: Notice
    cause: Cause
    continues: Decision | None = None
    held_back: HeldBack | None = None


def due_contradicted(now: History) -> Due | None:
    """The account holds what was reported closed: nobody acts upon it, and only a page can say so."""
    return None if now.contradicted_at is None else Due(Notice.MANDATORY_EXIT, Cause.CONTRADICTED)


def due_exit(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """What is due about an enabled grid, with this evaluation in its history; None where nothing is."""
    if judged.state == Notice.NORMAL:
        return _due_normal(judged, now, policy) or _due_still_enabled(judged, now, policy)
    if now.flat_at is not None:
        blind = _due_unknown(judged, now, policy) if judged.state == Notice.UNKNOWN else None
        return blind or _due_still_enabled(judged, now, policy)
    if judged.state == Notice.MANDATORY_EXIT and judged.is_sold_out:
        return _due_sold_out(judged, now, policy)
    return _due_reissue(judged, now, policy) or _due_by_state(judged, now, policy)


def _due_by_state(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """Of a position that is open: what its state asks for; nothing milder than an emergency where nothing is held."""
    if judged.state == Notice.UNKNOWN:
        return _due_unknown(judged, now, policy) or _due_reminder(judged, now, policy)
    if judged.state == Notice.MANDATORY_EXIT:
        return _due_mandatory(judged, now, policy) or _due_reminder(judged, now, policy)
    if judged.is_sold_out:
        return None
    is_latest = judged.state == Notice.LATEST_ACCEPTABLE_EXIT
    return _due_latest(judged, now, policy) if is_latest else _due_in_warning(judged, now, policy)


def _due_in_warning(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    return _due_warning(judged, now, policy) or _due_calm(judged, now, policy)


def _due_calm(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """End an acknowledged emergency, and send nothing: WARNING may be the mildest state for as long as a grid lives."""
    last = now.emergency
    if last is None or not now.is_acknowledged(last):
        return None
    grave_at = last.evaluated_at if now.grave_at is None else max(now.grave_at, last.evaluated_at)
    is_calm = judged.evaluated_at - grave_at >= policy.mandatory_exit.episode_ends_after
    return Due(Notice.NORMAL, Cause.CHANGE, held_back=HeldBack.CALM) if is_calm else None


def _due_mandatory(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    last = now.emergency
    if last is None and not _is_stopped_out(judged, now) and now.unended is not None:
        return _due_resumed(judged, now.unended, policy)
    if last is None and _is_stopped_out(judged, now):
        last = now.unended  # a sold-out that ended it sold nothing that the stop had left
    if last is None:
        return Due(Notice.MANDATORY_EXIT, Cause.CHANGE)
    return None if _names_all(last, judged) else Due(Notice.MANDATORY_EXIT, Cause.NEW_TRIGGER, last)


def _due_resumed(judged: Judgement, last: Decision, policy: NotifyPolicy) -> Due:
    """An emergency that a sold-out had ended stands again; a latched trigger is no new emergency at each return."""
    if not _names_all(last, judged):
        return Due(Notice.MANDATORY_EXIT, Cause.NEW_TRIGGER, last)
    is_waiting = _since(judged, last) < _reissue_wait(last, policy)
    return Due(Notice.MANDATORY_EXIT, Cause.REISSUE, last, HeldBack.KNOWN if is_waiting else None)


def _reissue_wait(last: Decision, policy: NotifyPolicy) -> timedelta:
    rules = policy.mandatory_exit
    return rules.expire if last.number <= rules.quick_reissues else rules.then_every


def _due_reissue(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """Issue an emergency anew that nobody has answered, unless a new trigger pages anyway."""
    last = now.emergency
    if last is None or now.is_acknowledged(last) or _is_stopped_out(judged, now):
        return None
    is_new = judged.state == Notice.MANDATORY_EXIT and not _names_all(last, judged)
    return (
        None
        if is_new or _since(judged, last) < _reissue_wait(last, policy)
        else Due(Notice.MANDATORY_EXIT, Cause.REISSUE, last)
    )


def _due_reminder(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """Remind of an emergency that was acknowledged and still stands."""
    last, rules = now.emergency, policy.reminder
    stands = judged.kind == ENTRY or Notice.MANDATORY_EXIT in (judged.state, judged.last_known_state)
    if last is None or not now.is_acknowledged(last) or not stands or _is_stopped_out(judged, now):
        return None
    told = now.told.get(Notice.REMINDER)
    if told is None or told.evaluated_at < last.evaluated_at:
        is_due = judged.evaluated_at >= now.acknowledged[last.page] + rules.first_after
        return Due(Notice.REMINDER, Cause.CHANGE) if is_due else None
    return Due(Notice.REMINDER, Cause.REPEAT, told) if _since(judged, told) >= rules.then_every else None


def _is_stopped_out(judged: Judgement, now: History) -> bool:
    """Whether the stop was touched, and nothing says that anything is left."""
    page = now.unended
    named = (*judged.mandatory, *(() if page is None else page.triggers))
    return any(_is_stop(name) for name in named) and not judged.is_held


def _names_all(page: Decision, judged: Judgement) -> bool:
    """Whether a page names every mandatory trigger; one from before stops were named with their price names none."""
    return set(judged.mandatory) <= set(page.triggers)


def _is_stop(name: str) -> bool:
    """Whether a name that a page gives is that of a breached stop, with its price or without."""
    return name.partition("@")[0] == STOP


def _due_still_enabled(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """Say once that a grid whose operator reported it flat is still watched."""
    if now.flat_at is None or now.is_verified or judged.evaluated_at < now.flat_at + policy.still_enabled.after:
        return None
    told = now.told.get(Notice.STILL_ENABLED)
    is_told = told is not None and told.evaluated_at > now.flat_at
    return None if is_told else _bound(Due(Notice.STILL_ENABLED, Cause.CHANGE), judged, now, policy)


def _due_unknown(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    rules, told = policy.unknown, now.told.get(Notice.UNKNOWN)
    if told is None or not now.is_in_run(told):
        has_lasted = max(now.run, judged.blind_for) >= rules.after_evaluations
        if has_lasted or not sum(now.blind[-rules.flapping_of :]) >= rules.flapping_count:
            return Due(Notice.UNKNOWN, Cause.CHANGE) if has_lasted else None
        clear = now.endings.get(Notice.NORMAL)
        if told is None or (clear is not None and clear.evaluated_at > told.evaluated_at):
            return Due(Notice.UNKNOWN, Cause.CHANGE)
    due_at = {1: told.episode_at + rules.second_after, 2: told.episode_at + rules.third_after}
    is_due = judged.evaluated_at >= due_at.get(told.number, told.evaluated_at + rules.then_every)
    return Due(Notice.UNKNOWN, Cause.REPEAT, told) if is_due else None


def _due_sold_out(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """Say once that all is sold; an emergency that nobody has answered must be over first."""
    emergency, before = now.emergency, _unconfirmed_before(now)
    quiet = now.quiet_before if emergency is None else min(now.quiet_before, now.since(emergency) - 1)
    number = 1 + (before.number if before is not None else quiet)
    if emergency is not None and not now.is_acknowledged(emergency) and number < policy.normal.after_evaluations:
        return Due(Notice.SOLD_OUT, Cause.CHANGE, before, HeldBack.UNCONFIRMED)
    is_told = now.last is not None and now.last.notice is Notice.SOLD_OUT
    if is_told and emergency is not None and not now.is_acknowledged(emergency):
        return Due(Notice.SOLD_OUT, Cause.CHANGE, held_back=HeldBack.KNOWN)
    return None if is_told else _bound(Due(Notice.SOLD_OUT, Cause.CHANGE), judged, now, policy)


def _unconfirmed_before(now: History) -> Decision | None:
    """The sold-out of the evaluation before, where it was not enough to end an emergency."""
    held = now.held
    is_before = held is not None and held.evaluated_at == now.before_at
    return held if is_before and held is not None and held.held_back is HeldBack.UNCONFIRMED else None


def _due_latest(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    last = now.last
    if last is None or last.notice is not Notice.LATEST_ACCEPTABLE_EXIT:
        return Due(Notice.LATEST_ACCEPTABLE_EXIT, Cause.CHANGE)
    if now.is_acknowledged(last) or _since(judged, last) < policy.latest_acceptable_exit.repeat:
        return None
    return Due(Notice.LATEST_ACCEPTABLE_EXIT, Cause.REPEAT, last)


def _due_warning(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    if now.last is not None and now.last.notice is Notice.WARNING:
        return None
    rules, due = policy.warning, Due(Notice.WARNING, Cause.CHANGE)
    not_pushed = None if rules.push else HeldBack.NOT_PUSHED
    return _bound(due, judged, now, policy, min_interval=rules.min_interval, held_back=not_pushed)


def _due_normal(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    last = now.last
    if last is None or now.run < policy.normal.after_evaluations:
        return None
    exits = [now.told[notice] for notice in ASKS_FOR_EXIT if notice in now.told]
    if any(now.since(page) < policy.normal.after_evaluations for page in exits):
        return None  # a bar that was revised puts the run's start before the page: one answer is not two
    if last.notice is Notice.NORMAL and last.held_back in (None, HeldBack.NOTHING_TO_CLEAR):
        return None
    due, told = Due(Notice.NORMAL, Cause.CHANGE), now.told.get(Notice.NORMAL)
    asked = [
        one
        for notice, one in now.told.items()
        if notice in _CLEARED and (told is None or one.evaluated_at > told.evaluated_at)
    ]
    if not asked:
        return _bound(due, judged, now, policy, held_back=HeldBack.NOTHING_TO_CLEAR)
    newest = max(asked, key=lambda one: one.evaluated_at)
    is_nothing = (now.flat_at is not None or judged.is_sold_out) and newest.notice is not Notice.UNKNOWN
    return _bound(due, judged, now, policy, held_back=HeldBack.NOTHING_HELD if is_nothing else None)


def due_entry(judged: Judgement, now: History, policy: NotifyPolicy) -> Due | None:
    """What is due about a disabled grid; None where nothing is."""
    stands = _due_reissue(judged, now, policy) or _due_reminder(judged, now, policy) if now.flat_at is None else None
    if stands is not None:
        return stands
    if judged.state != Notice.ENTER or now.is_in_run(now.told.get(Notice.ENTER)):
        return None
    due = Due(Notice.ENTER, Cause.CHANGE)
    return _bound(due, judged, now, policy, min_interval=policy.enter.min_interval)


def _bound(
    due: Due,
    judged: Judgement,
    now: History,
    policy: NotifyPolicy,
    *,
    min_interval: timedelta = timedelta(0),
    held_back: HeldBack | None = None,
) -> Due | None:
    """Hold a notice back where a reason, an interval or the budget binds; noted once in a run for each reason."""
    told = now.told.get(due.notice)
    if held_back is None and told is not None and _since(judged, told) < min_interval:
        held_back = HeldBack.MIN_INTERVAL
    elif held_back is None and now.pages_within(judged, policy.budget) >= policy.budget.pages:
        held_back = HeldBack.BUDGET
    if held_back is None:
        return due
    held = now.held
    is_noted = held is not None and held.notice is due.notice and held.held_back is held_back
    return None if is_noted and now.is_in_run(held) else replace(due, held_back=held_back)


def _since(judged: Judgement, decision: Decision) -> timedelta:
    return judged.evaluated_at - decision.evaluated_at
