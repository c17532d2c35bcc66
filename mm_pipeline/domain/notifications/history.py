"""What earlier evaluations, decisions and responses of a grid amount to: all that deciding anew depends on.

A live tick reads it from the journal, a replay carries it along; both come to the same value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.notifications.decision import (
    ASKS_FOR_EXIT,
    REMINDERS,
    Decision,
    HeldBack,
    Notice,
    ends_emergency,
    resumes_emergency,
)
from mm_pipeline.domain.notifications.judgement import ENTRY, Judgement
from mm_pipeline.domain.notifications.policy import LONGEST_FLAPPING, PageBudget
from mm_pipeline.domain.notifications.response import FLATS, SEEN_OPEN, Response, ResponseKind

_BAR: Final = timedelta(milliseconds=Timeframe.M15.ms)


@dataclass(frozen=True, kw_only=True)
class History:
    """What is known of one grid before an evaluation is decided.

    It begins anew where an enabled grid is re-ranged (another ``started_at``), a grid is switched between enabled and
    disabled, or seen trading again after it was flat: what was told of the position that was left does not count for
    the new one. A disabled grid trades in no range: editing its ``started_at`` closes no position.

    Attributes
    ----------
    judged
        The evaluation before; None where there is none.
    started_at
        Start of the range that was judged last; None where none is known.
    run
        Evaluations in a row, up to that one, with its state.
    run_began_at
        The first of them.
    before_at, quiet_before
        Evaluation before the newest, and how many in a row up to that one say NORMAL; None and 0 without one.
    blind
        Of the newest evaluations, ascending, whether each is UNKNOWN; as many as flapping may look at.
    grave_at
        The newest evaluation that asks for an exit.
    told
        The newest told decision of each notice.
    endings
        The newest all-clear and the newest sold-out, told or held back; one that is not confirmed yet is none.
    resumed
        The newest decision that an emergency, ended by a sold-out, stands again.
    held
        The newest decision that was held back, where nothing was told after it.
    paged_at
        Evaluations of told decisions, ascending, as far back as the page budget looks.
    acknowledged
        When each page was acknowledged first.
    flats
        Reports in force that the position is closed, by the operator or the account, in the order they were known.
    open_at
        Latest moment at which the position was reported or seen open: no exit before it closes anything.
    contradicted_at
        When its account showed that a report of flat is not true, until that is told.
    """

    judged: Judgement | None = None
    started_at: datetime | None = None
    run: int = 0
    run_began_at: datetime | None = None
    before_at: datetime | None = None
    quiet_before: int = 0
    blind: tuple[bool, ...] = ()
    grave_at: datetime | None = None
    told: Mapping[Notice, Decision] = field(default_factory=dict)
    endings: Mapping[Notice, Decision] = field(default_factory=dict)
    resumed: Decision | None = None
    held: Decision | None = None
    paged_at: tuple[datetime, ...] = ()
    acknowledged: Mapping[str, datetime] = field(default_factory=dict)
    flats: tuple[Response, ...] = ()
    open_at: datetime | None = None
    contradicted_at: datetime | None = None

    def at(self, judged: Judgement) -> History:
        """The history with this evaluation as its newest."""
        started_at = judged.started_at or self.started_at
        before = self if self.is_of(judged) else self._left_at(judged)
        goes_on = before.judged is not None and before.judged.state == judged.state
        # A file that cannot be read now is of the range that was known before; a disabled grid trades in none.
        range_start = judged.range_start or (None if judged.kind == ENTRY else before.started_at)
        return replace(
            before,
            judged=judged,
            started_at=started_at,
            flats=tuple(one for one in before.flats if one.closes(started_at=range_start, open_at=None)),
            run=before.run + 1 if goes_on else 1,
            run_began_at=before.run_began_at if goes_on else judged.evaluated_at,
            before_at=None if before.judged is None else before.judged.evaluated_at,
            blind=(*before.blind, judged.state == Notice.UNKNOWN)[-LONGEST_FLAPPING:],
            grave_at=judged.evaluated_at if judged.state in ASKS_FOR_EXIT else before.grave_at,
            quiet_before=before.run if before.judged is not None and before.judged.state == Notice.NORMAL else 0,
        )

    def _left_at(self, judged: Judgement) -> History:
        """What counts in a new range: pages are acknowledged by name, and a position may be known to be closed now."""
        contradicted_at = self.contradicted_at
        is_contradicted = contradicted_at is not None and contradicted_at >= judged.evaluated_at
        return History(
            acknowledged=self.acknowledged,
            flats=tuple(one for one in self.flats if one.counts_from >= judged.evaluated_at),
            open_at=self.open_at,
            contradicted_at=contradicted_at if is_contradicted else None,
        )

    def is_of(self, judged: Judgement) -> bool:
        """Whether an evaluation goes on from here: of the same kind and range, as far as the range is known."""
        if self.judged is None or self.judged.kind != judged.kind:
            return False
        return self.started_at is None or judged.range_start in (None, self.started_at)

    def after(self, decision: Decision, budget: PageBudget) -> History:
        """The history with a decision."""
        endings = {**self.endings, decision.notice: decision} if ends_emergency(decision) else self.endings
        if not decision.is_told:
            resumed = decision if resumes_emergency(decision) else self.resumed
            return replace(self, held=decision, endings=endings, resumed=resumed)
        kept = tuple(at for at in self.paged_at if at > decision.evaluated_at - budget.per)
        return replace(
            self,
            told={**self.told, decision.notice: decision},
            endings=endings,
            held=None,
            paged_at=(*kept, decision.evaluated_at),
            contradicted_at=None if decision.notice is Notice.MANDATORY_EXIT else self.contradicted_at,
        )

    def answered(self, response: Response) -> History:
        """The history with a response.

        A closed position counts from when it was said, if it was closed within the range and after it was seen open.
        """
        if response.kind in FLATS:
            is_in_force = response.closes(started_at=None, open_at=self.open_at)  # the range is known at an evaluation
            said = replace(response, known_at=response.counts_from)
            flats = sorted((*self.flats, said), key=lambda one: (one.counts_from, one.at))
            return replace(self, flats=tuple(flats)) if is_in_force else self
        if response.kind in SEEN_OPEN:
            return self._seen_open(response)
        if response.kind is ResponseKind.ACKNOWLEDGED:
            pages = {response.page} if response.page else {one.page for one in self._asking()}
            return replace(self, acknowledged={**dict.fromkeys(pages, response.at), **self.acknowledged})
        return self

    def _seen_open(self, response: Response) -> History:
        open_at = response.at if self.open_at is None else max(self.open_at, response.at)
        opened = replace(self, flats=(), open_at=open_at)
        if response.kind is ResponseKind.CONTRADICTED:
            return replace(opened, contradicted_at=response.at)
        return replace(opened, told={}, endings={}, resumed=None, held=None)

    def since(self, decision: Decision) -> int:
        """Evaluations after a decision up to the newest one, the newest counted; missing ones are counted too."""
        newest = decision.evaluated_at if self.judged is None else self.judged.evaluated_at
        return int((newest - decision.evaluated_at) / _BAR)

    @property
    def flat_at(self) -> datetime | None:
        """When the position was last said to be closed; None where no such word is in force."""
        return self.flats[-1].counts_from if self.flats else None

    @property
    def is_verified(self) -> bool:
        """Whether the account has shown it closed."""
        return any(one.kind is ResponseKind.VERIFIED_FLAT for one in self.flats)

    def _asking(self) -> list[Decision]:
        """What an acknowledgement of no page in particular answers."""
        newest = max(self.told.values(), key=_age, default=None)
        return [one for one in (newest, self.last, self.emergency) if one is not None]

    @property
    def last(self) -> Decision | None:
        """The newest decision against which a change is seen: told and no reminder, or an all-clear.

        What was held back makes nothing news, but an all-clear does: it ends what stood.
        """
        told = [one for one in self.told.values() if one.notice not in REMINDERS]
        return max([*told, *self._all_clear()], key=_age, default=None)

    @property
    def emergency(self) -> Decision | None:
        """The newest page of the emergency that stands; None where none does.

        One ends with an all-clear, or once it is acknowledged and calm. One that nobody has acknowledged ends with a
        confirmed sold-out too, until its triggers are back.
        """
        page, sold = self.unended, self.endings.get(Notice.SOLD_OUT)
        if page is None or sold is None or page.page in self.acknowledged:
            return page
        stood_at = page if self.resumed is None else max(page, self.resumed, key=_age)
        return None if sold.evaluated_at > stood_at.evaluated_at else page

    @property
    def unended(self) -> Decision | None:
        """The newest page of an emergency, where no all-clear came after it: at most a sold-out has ended it."""
        page, clear = self.told.get(Notice.MANDATORY_EXIT), self.endings.get(Notice.NORMAL)
        return None if page is None or (clear is not None and clear.evaluated_at > page.evaluated_at) else page

    def _all_clear(self) -> list[Decision]:
        found = self.endings.get(Notice.NORMAL)
        return [] if found is None or found.held_back is HeldBack.CALM else [found]

    def is_in_run(self, decision: Decision | None) -> bool:
        """Whether a decision was made in the present run of one state."""
        return decision is not None and self.run_began_at is not None and decision.evaluated_at >= self.run_began_at

    def is_acknowledged(self, decision: Decision) -> bool:
        """Whether somebody has acknowledged the page of a decision."""
        return decision.page in self.acknowledged

    def pages_within(self, judged: Judgement, budget: PageBudget) -> int:
        """Pages about the grid within the budget's stretch of time before an evaluation."""
        return sum(at > judged.evaluated_at - budget.per for at in self.paged_at)


def _age(decision: Decision) -> datetime:
    return decision.evaluated_at
