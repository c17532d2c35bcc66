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
    latest_every: int = 60
    warning_apart: int = 4 * 60
    enter_apart: int = 4 * 60
    unknown_after: tuple[int, int] = (4 * 60, 12 * 60)
    unknown_every: int = 24 * 60
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
    last_known: str | None = None
    cause: str = ""


@dataclass(frozen=True)
class Done:
    """What an operator did: ``tells`` names the acknowledged page by a grid and minute of it; None of who is flat.

    ``reopens`` is the opposite of flat: the position is there again. ``verifies``: the account showed it closed.
    """

    at: int
    grid: str
    tells: tuple[str, int] | None
    reopens: bool = False
    verifies: bool = False


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
    newest = max((number for number, one in enumerate(known) if one.reopens), default=-1)
    reopened = known[newest].at if newest >= 0 else began
    in_range = [told for told in made if told.grid == now.grid and told.at >= began]
    mine = [told for told in in_range if newest < 0 or told.at + rules.decided_after >= reopened]
    answers = [one for number, one in enumerate(known) if number > newest or one.tells is not None]
    paged = [told.at for told in in_range if not told.held_back]
    return _Moment(now, past, mine, answers, paged=paged, rules=rules).decide()


def _same_range(past: list[Said]) -> list[Said]:
    """The last stretch of one kind and one range; an unknown range is that of its neighbours."""
    known, first = past[0].range, 0
    for i in range(1, len(past)):
        if past[i].kind != past[i - 1].kind:
            first = i
        if past[i].range is not None:
            if known is not None and past[i].range != known:
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

    def decide(self) -> Told | None:
        if self.now.kind == "entry":
            return self.enter() if self.now.state == "ENTER" else None
        if self.now.state == "UNKNOWN":
            return self.standing() or self.unknown()
        if self.now.state == "MANDATORY_EXIT":
            return self.sold_out() if self.now.is_sold_out else self.mandatory()
        if self.now.state == "LATEST_ACCEPTABLE_EXIT":
            return self.latest()
        return self.warning() if self.now.state == "WARNING" else self.normal()

    def new(self, notice: str, cause: str = "change", after: Told | None = None) -> Told:
        fired = self.now.triggers if notice == "MANDATORY_EXIT" else frozenset()
        began, number, told = (
            (after.began, after.number + 1, after.triggers) if after else (self.now.at, 1, frozenset())
        )
        return Told(self.now.at, self.now.grid, notice, cause, began, number, fired | told)

    def newest(self, *notices: str) -> Told | None:
        found = [told for told in self.told if not notices or told.notice in notices]
        return found[-1] if found else None

    def age(self, told: Told) -> int:
        return self.now.at - told.at

    def is_acknowledged(self, told: Told) -> bool:
        return any(one.tells == (told.grid, told.at) for one in self.answers)

    def is_silenced(self, *notices: str) -> bool:
        """Flat, and said so while one of these notices was the newest that says how the grid is."""
        stands = [told for told in self.told if told.notice != "UNKNOWN"]
        if self.is_verified():
            return True
        return (
            bool(stands)
            and stands[-1].notice in notices
            and any(one.tells is None and one.at >= stands[-1].began for one in self.unknown_yet())
        )

    def is_verified(self) -> bool:
        return any(one.verifies for one in self.unknown_yet())

    def unknown_yet(self) -> list[Done]:
        """Answers that were not known when an exit was last told."""
        exits = [one.at for one in self.told if one.notice in ("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT")]
        known = max(exits, default=self.past[0].at - self.rules.decided_after - 1) + self.rules.decided_after
        return [one for one in self.answers if one.at > known]

    def is_new_exit(self, notice: str) -> bool:
        """Nothing was told yet, or the newest decision, told or held back, was about something else."""
        if not self.told or self.told[-1].notice != notice:
            return True
        return self.mine[-1].notice != notice

    def mandatory(self) -> Told | None:
        if self.is_silenced("MANDATORY_EXIT"):
            stands = [told for told in self.told if told.notice != "UNKNOWN"]
            if self.is_verified() or self.now.triggers <= stands[-1].triggers:
                return None
            return self.new("MANDATORY_EXIT", "new_trigger")
        if self.is_new_exit("MANDATORY_EXIT"):
            return self.new("MANDATORY_EXIT")
        last = self.told[-1]
        if self.now.triggers - last.triggers:
            return self.new("MANDATORY_EXIT", "new_trigger", last)
        return self.reissue(last)

    def reissue(self, last: Told) -> Told | None:
        if self.is_acknowledged(last) or self.age(last) < self.rules.mandatory_expires:
            return None
        return self.new("MANDATORY_EXIT", "reissue", last)

    def standing(self) -> Told | None:
        last = self.newest(*(told.notice for told in self.told if told.notice != "UNKNOWN")) if self.told else None
        if last is None or last.notice != "MANDATORY_EXIT" or self.now.last_known != "MANDATORY_EXIT":
            return None
        return None if self.is_silenced("MANDATORY_EXIT") else self.reissue(last)

    def unknown(self) -> Told | None:
        outage = [told for told in self.told if told.notice == "UNKNOWN" and told.at >= self.run_began]
        if not outage:
            return self.new("UNKNOWN") if self.run >= self.rules.damping else None
        waits = dict(enumerate(self.rules.unknown_after, start=1))
        if len(outage) in waits:
            is_due = self.now.at - outage[0].at >= waits[len(outage)]
        else:
            is_due = self.age(outage[-1]) >= self.rules.unknown_every
        return self.new("UNKNOWN", "repeat", outage[-1]) if is_due else None

    def latest(self) -> Told | None:
        if self.is_silenced("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT"):
            return None
        if self.is_new_exit("LATEST_ACCEPTABLE_EXIT"):
            return self.new("LATEST_ACCEPTABLE_EXIT")
        last = self.told[-1]
        if self.is_acknowledged(last) or self.age(last) < self.rules.latest_every:
            return None
        return self.new("LATEST_ACCEPTABLE_EXIT", "repeat", last)

    def warning(self) -> Told | None:
        if self.is_silenced("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT") or self.was_last("WARNING"):
            return None
        return self.within_limits("WARNING", self.rules.warning_apart)

    def sold_out(self) -> Told | None:
        if self.is_silenced("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT") or self.was_last("SOLD_OUT"):
            return None
        return self.within_limits("SOLD_OUT", 0)

    def normal(self) -> Told | None:
        if not self.told or self.was_last("NORMAL") or self.run < self.rules.damping:
            return None
        return self.within_limits("NORMAL", 0)

    def enter(self) -> Told | None:
        if any(told.at >= self.run_began for told in self.told if told.notice == "ENTER"):
            return None
        return self.within_limits("ENTER", self.rules.enter_apart)

    def was_last(self, notice: str) -> bool:
        return bool(self.told) and self.told[-1].notice == notice

    def within_limits(self, notice: str, apart: int) -> Told | None:
        """Tell it, or note once in a run that it is held back."""
        made, before = self.new(notice), self.newest(notice)
        if before is not None and self.age(before) < apart:
            made.held_back = "min_interval"
        elif sum(self.now.at - at < self.rules.budget_per for at in self.paged) >= self.rules.budget_pages:
            made.held_back = "budget"
        last = self.mine[-1] if self.mine else None
        is_noted = last is not None and bool(last.held_back) and last.at >= self.run_began
        return None if made.held_back and is_noted else made
