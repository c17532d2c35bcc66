"""What earlier evaluations, decisions and responses of a grid amount to: all that deciding anew depends on.

A live tick reads it from the journal, a replay carries it along; both come to the same value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from mm_pipeline.domain.notifications.decision import ASKS_FOR_EXIT, Decision, Notice
from mm_pipeline.domain.notifications.judged import Judged
from mm_pipeline.domain.notifications.policy import PageBudget
from mm_pipeline.domain.notifications.response import FLATS, Response, ResponseKind


@dataclass(frozen=True, kw_only=True)
class History:
    """What is known of one grid before an evaluation is decided.

    It begins anew where the grid is re-ranged (another ``started_at``), switched between enabled and disabled, or seen
    trading again after it was flat: what was told of the position that was left does not count for the new one.

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
    last
        The newest decision that was told.
    told
        The newest told decision of each notice.
    held
        The newest decision that was held back, where nothing was told after it.
    paged_at
        Evaluations of told decisions, ascending, as far back as the page budget looks.
    acknowledged
        Pages that were acknowledged.
    flat_at
        When the position was last reported, or seen, to be closed.
    verified_at
        When its account showed it closed, where no exit was told and it was not seen open again since.
    contradicted_at
        When its account showed that a report of flat is not true, until that is told.
    """

    judged: Judged | None = None
    started_at: datetime | None = None
    run: int = 0
    run_began_at: datetime | None = None
    last: Decision | None = None
    told: Mapping[Notice, Decision] = field(default_factory=dict)
    held: Decision | None = None
    paged_at: tuple[datetime, ...] = ()
    acknowledged: frozenset[str] = frozenset()
    flat_at: datetime | None = None
    verified_at: datetime | None = None
    contradicted_at: datetime | None = None

    def at(self, judged: Judged) -> History:
        """The history with this evaluation as its newest."""
        started_at = judged.started_at or self.started_at
        before = self if self.is_of(judged) else self._left_at(judged)
        goes_on = before.judged is not None and before.judged.state == judged.state
        return replace(
            before,
            judged=judged,
            started_at=started_at,
            run=before.run + 1 if goes_on else 1,
            run_began_at=before.run_began_at if goes_on else judged.evaluated_at,
        )

    def _left_at(self, judged: Judged) -> History:
        """What counts in a new range: pages are acknowledged by name, and a position may be known to be closed now."""

        def still(at: datetime | None) -> datetime | None:
            return at if at is not None and at >= judged.evaluated_at else None

        return History(
            acknowledged=self.acknowledged,
            flat_at=still(self.flat_at),
            verified_at=still(self.verified_at),
            contradicted_at=still(self.contradicted_at),
        )

    def is_of(self, judged: Judged) -> bool:
        """Whether an evaluation goes on from here: of the same kind and range, as far as the range is known."""
        if self.judged is None or self.judged.kind != judged.kind:
            return False
        return self.started_at is None or judged.started_at in (None, self.started_at)

    def after(self, decision: Decision, budget: PageBudget) -> History:
        """The history with a decision."""
        if not decision.is_told:
            return replace(self, held=decision)
        kept = tuple(at for at in self.paged_at if at > decision.evaluated_at - budget.per)
        # What asks for an exit was told in spite of an earlier report that all is closed: a new one must answer it.
        is_spent = decision.notice in ASKS_FOR_EXIT
        return replace(
            self,
            last=decision,
            told={**self.told, decision.notice: decision},
            held=None,
            paged_at=(*kept, decision.evaluated_at),
            flat_at=None if is_spent else self.flat_at,
            verified_at=None if is_spent else self.verified_at,
            contradicted_at=None if decision.notice is Notice.MANDATORY_EXIT else self.contradicted_at,
        )

    def answered(self, response: Response) -> History:
        """The history with a response."""
        if response.kind in FLATS:
            is_verified = response.kind is ResponseKind.VERIFIED_FLAT
            return replace(self, flat_at=response.at, verified_at=response.at if is_verified else self.verified_at)
        if response.kind is ResponseKind.REOPENED:
            return replace(self, last=None, told={}, held=None, flat_at=None, verified_at=None)
        if response.kind is ResponseKind.CONTRADICTED:
            return replace(self, contradicted_at=response.at)
        if response.kind is ResponseKind.ACKNOWLEDGED:
            newest = {told.page for told in (self.last, self.stood) if told is not None}
            pages = {response.page} if response.page else newest
            return replace(self, acknowledged=self.acknowledged | pages)
        return self

    @property
    def stood(self) -> Decision | None:
        """The newest told decision but UNKNOWN, which takes back nothing of what was told before."""
        known = (told for told in self.told.values() if told.notice is not Notice.UNKNOWN)
        return max(known, key=lambda told: told.evaluated_at, default=None)

    def is_in_run(self, decision: Decision | None) -> bool:
        """Whether a decision was made in the present run of one state."""
        return decision is not None and self.run_began_at is not None and decision.evaluated_at >= self.run_began_at

    def is_acknowledged(self, decision: Decision) -> bool:
        """Whether somebody has acknowledged the page of a decision."""
        return decision.page in self.acknowledged

    def is_flat_since(self, decision: Decision) -> bool:
        """Whether the position was closed after the episode of this decision had begun."""
        return self.flat_at is not None and self.flat_at >= decision.episode_at

    def pages_within(self, judged: Judged, budget: PageBudget) -> int:
        """Pages about the grid within the budget's stretch of time before an evaluation."""
        return sum(at > judged.evaluated_at - budget.per for at in self.paged_at)
