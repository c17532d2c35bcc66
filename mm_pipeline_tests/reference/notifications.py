"""SPEC 8's decisions as one plain loop: every evaluation looks through the whole past anew, and remembers nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Rules:
    """SPEC 8's table, in minutes; the page leaves the budget to the settings."""

    decided_after: int = 1
    damping: int = 2
    mandatory_expires: int = 3 * 60
    mandatory_patience: int = 4
    mandatory_then: int = 6 * 60
    mandatory_forgotten: int = 24 * 60
    reminder_first: int = 4 * 60
    reminder_then: int = 24 * 60
    enabled_after: int = 24 * 60
    pushes_warnings: bool = True
    latest_every: int = 60
    warning_apart: int = 4 * 60
    enter_apart: int = 4 * 60
    unknown_after: tuple[int, int] = (4 * 60, 12 * 60)
    unknown_every: int = 24 * 60
    unknown_share: tuple[int, int] = (4, 8)
    budget_pages: int = 12
    budget_per: int = 24 * 60


@dataclass(frozen=True)
class Said:
    """What was said of a grid at a minute; ``range`` names its range, None where its file was never read."""

    at: int
    grid: str
    kind: str
    range: int | None
    state: str
    triggers: frozenset[str] = frozenset()
    is_sold_out: bool = False
    is_held: bool = False
    blind_for: int = 0
    last_known: str | None = None
    cause: str = ""


@dataclass(frozen=True)
class Done:
    """What an operator did: ``tells`` names the acknowledged page by a grid and minute of it; None of who is flat.

    ``reopens`` is the opposite of flat: the position is there again. ``verifies``: the account showed it closed.
    ``at`` is when it was known, ``happened`` when it happened, where that was before.
    """

    at: int
    grid: str
    tells: tuple[str, int] | None
    reopens: bool = False
    verifies: bool = False
    happened: int | None = None

    @property
    def was_at(self) -> int:
        return self.at if self.happened is None else self.happened


@dataclass
class Told:
    """A decision; ``held_back`` is empty where there is a page, and ``page`` names all grids that it tells of."""

    at: int
    grid: str
    notice: str
    cause: str
    began: int
    number: int
    triggers: frozenset[str]
    held_back: str = ""
    page: frozenset[str] = frozenset()


def notifications(said: Sequence[Said], done: Sequence[Done], rules: Rules) -> list[Told]:
    """Decide at every minute at which something was said; ``said`` ascends."""
    made: list[Told] = []
    for at, group in groupby(said, key=lambda one: one.at):
        together = sorted(group, key=lambda one: one.grid)
        found = [(one, _decide(one, said, done, made, rules)) for one in together]
        for one, told in found:
            if told is None:
                continue
            told.page = frozenset({one.grid})
            if told.notice == "UNKNOWN":
                told.page = frozenset(
                    other.grid
                    for other, also in found
                    if also is not None and also.notice == "UNKNOWN" and other.cause == one.cause
                )
        made += [told for _, told in found if told is not None and told.at == at]
    return made


def _decide(now: Said, said: Sequence[Said], done: Sequence[Done], made: Sequence[Told], rules: Rules) -> Told | None:
    past = _same_range([one for one in said if one.grid == now.grid and one.at <= now.at])
    began = past[0].at
    known = [one for one in done if one.grid == now.grid and began <= one.at <= now.at + rules.decided_after]
    known.sort(key=lambda one: one.at)
    ranges = [one.range for one in past if one.range is not None]
    start = -ranges[-1] if ranges and now.kind == "exit" else None
    known = [one for one in known if _counts(one, done, started_at=start)]
    newest = max((number for number, one in enumerate(known) if one.reopens), default=-1)
    reopened = known[newest].at if newest >= 0 else began
    in_range = [told for told in made if told.grid == now.grid and told.at >= began]
    mine = [told for told in in_range if newest < 0 or told.at + rules.decided_after >= reopened]
    answers = [one for number, one in enumerate(known) if number > newest or one.tells is not None]
    paged = [told.at for told in in_range if not told.held_back]
    return _Moment(now, past, mine, answers, paged=paged, rules=rules).decide()


def _counts(word: Done, done: Sequence[Done], *, started_at: int | None) -> bool:
    """A word of closed counts unless it happened before its range, or before the grid was known to be open."""
    if word.tells is not None or word.reopens:
        return True
    opened = [one.was_at for one in done if one.reopens and one.grid == word.grid and one.at <= word.at]
    too_early = started_at is not None and word.was_at < started_at
    return not too_early and all(word.was_at >= at for at in opened)


def _same_range(past: list[Said]) -> list[Said]:
    """The last stretch of one kind and, enabled, one range; an unknown range is that of its neighbours."""
    known, first = past[0].range, 0
    for i in range(1, len(past)):
        if past[i].kind != past[i - 1].kind:
            first = i
        if past[i].range is not None:
            if known is not None and past[i].range != known and past[i].kind == "exit":
                first = i
            known = past[i].range
    return past[first:]


class _Moment:
    """One grid at one evaluation, with all that came before."""

    def __init__(
        self,
        now: Said,
        past: Sequence[Said],
        mine: Sequence[Told],
        answers: Sequence[Done],
        *,
        paged: Sequence[int],
        rules: Rules,
    ) -> None:
        self.now, self.past, self.mine, self.answers, self.rules = now, past, mine, answers, rules
        self.paged = paged
        self.told = [told for told in mine if not told.held_back]
        self.run = 0
        while self.run < len(past) and past[-1 - self.run].state == now.state:
            self.run += 1
        self.run_began = past[-self.run].at
        self.flats = [one for one in answers if one.tells is None and not one.reopens]

    def decide(self) -> Told | None:
        state = self.now.state
        if self.now.kind == "entry":
            return self.enter() if state == "ENTER" else None
        if self.flats:
            if state in ("NORMAL", "UNKNOWN"):
                return (self.normal() if state == "NORMAL" else self.unknown()) or self.enabled()
            return self.enabled()
        if state == "NORMAL":
            return self.normal()
        if state == "MANDATORY_EXIT" and self.now.is_sold_out:
            return self.sold_out()
        return self.emergency() or self.milder()

    # What is known

    def new(self, notice: str, cause: str = "change", after: Told | None = None) -> Told:
        fired = self.now.triggers if notice == "MANDATORY_EXIT" else frozenset()
        began, number, told = (
            (after.began, after.number + 1, after.triggers) if after else (self.now.at, 1, frozenset())
        )
        return Told(self.now.at, self.now.grid, notice, cause, began, number, fired | told)

    def newest(self, *notices: str) -> Told | None:
        found = [told for told in self.told if told.notice in notices]
        return found[-1] if found else None

    def age(self, told: Told) -> int:
        return self.now.at - told.at

    def acknowledged_at(self, told: Told) -> int | None:
        given = [one.at for one in self.answers if one.tells == (told.grid, told.at)]
        return given[0] if given else None

    def open_emergency(self) -> Told | None:
        """The newest emergency page, where nothing has ended it."""
        page = self.newest("MANDATORY_EXIT")
        if page is None:
            return None
        after = [told for told in self.mine if told.at > page.at]
        if any(told.notice == "NORMAL" for told in after):
            return None
        turns = [
            told.notice
            for told in after
            if (told.notice == "SOLD_OUT" and told.held_back != "unconfirmed") or told.notice == "MANDATORY_EXIT"
        ]
        is_sold = turns[-1:] == ["SOLD_OUT"]
        return None if is_sold and self.acknowledged_at(page) is None else page

    def sold_emergency(self) -> Told | None:
        """The newest emergency page, where no all-clear came after it."""
        page = self.newest("MANDATORY_EXIT")
        is_clear = any(told.notice == "NORMAL" and page is not None and told.at > page.at for told in self.mine)
        return None if is_clear else page

    def has_been_stopped(self) -> bool:
        page = self.sold_emergency()
        named = self.now.triggers | (page.triggers if page else frozenset())
        return "stop_loss_breached" in named and not self.now.is_held

    def talked_of(self) -> str:
        """What the operator was told last, reminders aside, or that all is clear although nobody was told."""
        said = [
            told
            for told in self.mine
            if (told.notice == "NORMAL" and told.held_back != "calm")
            or (not told.held_back and told.notice not in ("REMINDER", "STILL_ENABLED"))
        ]
        return said[-1].notice if said else ""

    # Emergencies

    def emergency(self) -> Told | None:
        """An emergency page, or a reminder of one."""
        page, stopped = self.open_emergency(), self.has_been_stopped()
        is_on = self.now.state == "MANDATORY_EXIT"
        if is_on:
            known = page or self.sold_emergency()
            if known is None:
                return self.new("MANDATORY_EXIT")
            if self.now.triggers - known.triggers:
                return self.new("MANDATORY_EXIT", "new_trigger", known)
            if page is None and not stopped:
                back = self.new("MANDATORY_EXIT", "reissue", known)
                back.held_back = "" if self.age(known) >= self.patience(known) else "known"
                return back
        if page is None or stopped:
            return None
        answered_at = self.acknowledged_at(page)
        if answered_at is None:
            is_due = self.age(page) >= self.patience(page)
            return self.new("MANDATORY_EXIT", "reissue", page) if is_due else None
        return self.reminder(page, answered_at) if is_on else None

    def patience(self, page: Told) -> int:
        is_patient = page.number > self.rules.mandatory_patience
        return self.rules.mandatory_then if is_patient else self.rules.mandatory_expires

    def reminder(self, page: Told, answered_at: int) -> Told | None:
        before = [told for told in self.told if told.notice == "REMINDER" and told.at > page.at]
        if not before:
            return self.new("REMINDER") if self.now.at - answered_at >= self.rules.reminder_first else None
        is_due = self.age(before[-1]) >= self.rules.reminder_then
        return self.new("REMINDER", "repeat", before[-1]) if is_due else None

    def sold_out(self) -> Told | None:
        page = self.open_emergency()
        if page is not None and self.acknowledged_at(page) is None:
            calm = 1 + self.calm_before()
            if calm < self.rules.damping:
                told = self.new("SOLD_OUT")
                told.held_back = "unconfirmed"
                return told
            if self.talked_of() == "SOLD_OUT":
                told = self.new("SOLD_OUT")
                told.held_back = "known"
                return told
        return None if self.talked_of() == "SOLD_OUT" else self.within_limits("SOLD_OUT", 0)

    def calm_before(self) -> int:
        """Evaluations in a row before this one that say NORMAL, or at which a sold-out waited to be confirmed."""
        if len(self.past) < 2:
            return 0
        last = self.past[-2]
        if any(told.at == last.at and told.held_back == "unconfirmed" for told in self.mine):
            return 1
        count = 0
        page = self.newest("MANDATORY_EXIT")
        while count + 2 <= len(self.past) and self.past[-2 - count].state == "NORMAL":
            if page is not None and self.past[-2 - count].at <= page.at:
                break
            count += 1
        return count

    # Everything else

    def milder(self) -> Told | None:
        if self.now.state == "UNKNOWN":
            return self.unknown() or self.blind_reminder()
        if self.now.is_sold_out or self.now.state == "MANDATORY_EXIT":
            return None
        if self.now.state == "LATEST_ACCEPTABLE_EXIT":
            return self.latest()
        return self.warning() or self.forgotten()

    def forgotten(self) -> Told | None:
        """Under a warning, an acknowledged emergency is over once no exit was asked for in a day."""
        page = self.open_emergency()
        if page is None or self.acknowledged_at(page) is None:
            return None
        asking = [said.at for said in self.past if said.state in ("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT")]
        if self.now.at - max([page.at, *asking]) < self.rules.mandatory_forgotten:
            return None
        over = self.new("NORMAL")
        over.held_back = "calm"
        return over

    def blind_reminder(self) -> Told | None:
        page = self.open_emergency()
        if page is None or self.has_been_stopped() or self.now.last_known != "MANDATORY_EXIT":
            return None
        answered_at = self.acknowledged_at(page)
        return None if answered_at is None else self.reminder(page, answered_at)

    def unknown(self) -> Told | None:
        outage = [told for told in self.told if told.notice == "UNKNOWN" and told.at >= self.run_began]
        if not outage:
            if max(self.run, self.now.blind_for) >= self.rules.damping:
                return self.new("UNKNOWN")
            least, of = self.rules.unknown_share
            if [said.state for said in self.past[-of:]].count("UNKNOWN") < least:
                return None
            outage = self.flapping()
            if not outage:
                return self.new("UNKNOWN")
        waits = dict(enumerate(self.rules.unknown_after, start=1))
        if outage[-1].number in waits:
            is_due = self.now.at - outage[-1].began >= waits[outage[-1].number]
        else:
            is_due = self.age(outage[-1]) >= self.rules.unknown_every
        return self.new("UNKNOWN", "repeat", outage[-1]) if is_due else None

    def flapping(self) -> list[Told]:
        """Pages of an outage that comes and goes: since the newest all-clear."""
        clear = max((told.at for told in self.mine if told.notice == "NORMAL"), default=-1)
        return [told for told in self.told if told.notice == "UNKNOWN" and told.at > clear]

    def latest(self) -> Told | None:
        last = self.newest("LATEST_ACCEPTABLE_EXIT")
        if last is None or self.talked_of() != "LATEST_ACCEPTABLE_EXIT":
            return self.new("LATEST_ACCEPTABLE_EXIT")
        if self.acknowledged_at(last) is not None or self.age(last) < self.rules.latest_every:
            return None
        return self.new("LATEST_ACCEPTABLE_EXIT", "repeat", last)

    def warning(self) -> Told | None:
        if self.talked_of() == "WARNING":
            return None
        reason = "" if self.rules.pushes_warnings else "not_pushed"
        return self.within_limits("WARNING", self.rules.warning_apart, reason)

    def normal(self) -> Told | None:
        if self.run < self.rules.damping or not self.talked_of():
            return None
        exits = [self.newest("MANDATORY_EXIT"), self.newest("LATEST_ACCEPTABLE_EXIT")]
        if any(told is not None and self.age(told) < 15 * self.rules.damping for told in exits):
            return None
        clear = [told for told in self.mine if told.notice == "NORMAL"]
        if self.talked_of() == "NORMAL" and clear[-1].held_back in ("", "nothing_to_clear"):
            return None
        since = max((told.at for told in clear if not told.held_back), default=-1)
        asking = [
            told.notice
            for told in self.told
            if told.notice in ("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT", "UNKNOWN") and told.at > since
        ]
        if not asking:
            return self.within_limits("NORMAL", 0, "nothing_to_clear")
        has_nothing = bool(self.flats) or self.now.is_sold_out
        is_idle = has_nothing and asking[-1] != "UNKNOWN"
        return self.within_limits("NORMAL", 0, "nothing_held" if is_idle else "")

    def enabled(self) -> Told | None:
        """Once after each word that all is closed, unless the account has said it too."""
        if any(one.verifies for one in self.flats):
            return None
        said_at = max(one.at for one in self.flats)
        if self.now.at - said_at < self.rules.enabled_after:
            return None
        is_told = any(told.notice == "STILL_ENABLED" and told.at > said_at for told in self.told)
        return None if is_told else self.within_limits("STILL_ENABLED", 0)

    def enter(self) -> Told | None:
        if any(told.at >= self.run_began for told in self.told if told.notice == "ENTER"):
            return None
        return self.within_limits("ENTER", self.rules.enter_apart)

    def within_limits(self, notice: str, apart: int, reason: str = "") -> Told | None:
        """Tell it, or note once in a run for each reason that it is held back."""
        made, before = self.new(notice), self.newest(notice)
        if reason:
            made.held_back = reason
        elif before is not None and self.age(before) < apart:
            made.held_back = "min_interval"
        elif sum(self.now.at - at < self.rules.budget_per for at in self.paged) >= self.rules.budget_pages:
            made.held_back = "budget"
        last = self.mine[-1] if self.mine else None
        is_noted = (
            last is not None and last.at >= self.run_began and (last.notice, last.held_back) == (notice, made.held_back)
        )
        return None if made.held_back and is_noted else made
