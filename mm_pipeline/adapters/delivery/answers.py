"""What came back: receipts, windows that passed, alarms to end. Run by a sensor, and safe to run any number of times."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.delivery.ladder import ChannelLadder
from mm_pipeline.adapters.journal import (
    Answer,
    Decided,
    DeliveryOutcome,
    EvaluationKind,
    Journal,
    OpenReceipt,
    Page,
)
from mm_pipeline.domain.notifications import (
    FLATS,
    ChannelError,
    Notice,
    NotifyPolicy,
    ReceiptChannel,
    ReceiptState,
    ReceiptStatus,
    Response,
    ResponseKind,
)

_logger = logging.getLogger(__name__)

WATCH = "watch"
"""Source of an answer that the watch itself makes: a missed window, a cancelled emergency."""
RECEIPT = "receipt"
_LOOK_BACK = timedelta(days=7)
_ESCALATED_UNANSWERED = (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)


@dataclass(frozen=True)
class Heard:
    """What one round found: answers that are new, and questions that failed."""

    answers: tuple[Answer, ...]
    problems: tuple[str, ...]


class Answers:
    """Follows pages after they were sent.

    Raises
    ------
    StorageError
        When the journal fails.
    """

    def __init__(
        self,
        journal: Journal,
        ladder: ChannelLadder,
        *,
        policy: NotifyPolicy,
        clock: Clock,
        written_by: Mapping[str, str],
    ) -> None:
        self._journal = journal
        self._ladder = ladder
        self._policy = policy
        self._clock = clock
        self._written_by = written_by

    def follow(self) -> Heard:
        """Ask about every open emergency, end those that need not ring any more, and note windows that have passed."""
        answers: list[Answer] = []
        problems: list[str] = []
        for receipt in self._journal.outbox.open_receipts(now=self._clock.now()):
            try:
                answers += self._follow(receipt)
            except ChannelError as error:
                problems.append(f"{receipt.channel}: {error}")
        answers += self._missed()
        return Heard(tuple(answers), tuple(problems))

    def record(self, page: Page, kind: ResponseKind, *, at: datetime, source: str, by: str = "") -> list[Answer]:
        """Journal an answer for every grid of a page; those that are new."""
        made = [
            Answer(
                response=Response(grid=grid, at=at, kind=kind, page=page.page),
                source=source,
                by_whom=by,
                settings_hash=self._written_by["settings_hash"],
                code_version=self._written_by["code_version"],
                recorded_at=self._clock.now(),
            )
            for grid in page.grids or ("",)
        ]
        return [answer for answer in made if self._journal.responses.record([answer])]

    def _follow(self, receipt: OpenReceipt) -> list[Answer]:
        channel = self._ladder.channels.get(receipt.channel)
        if not isinstance(channel, ReceiptChannel):
            return []
        status = channel.receipt(receipt.receipt)
        if status.state is not ReceiptState.OPEN:
            return self._closed(receipt, status)
        if not self._need_not_ring(receipt.page):
            return []
        channel.cancel(page_tag(receipt.page.page))
        return self.record(receipt.page, ResponseKind.CANCELLED, at=self._clock.now(), source=WATCH)

    def _closed(self, receipt: OpenReceipt, status: ReceiptStatus) -> list[Answer]:
        is_answered = status.state is ReceiptState.ACKNOWLEDGED
        kind = ResponseKind.ACKNOWLEDGED if is_answered else ResponseKind.EXPIRED
        heard = self.record(receipt.page, kind, at=status.at or self._clock.now(), source=RECEIPT, by=status.by)
        if is_answered and not heard:  # acknowledged by a command before: the receipt is closed all the same
            return self.record(receipt.page, ResponseKind.CANCELLED, at=status.at or self._clock.now(), source=RECEIPT)
        return heard

    def _need_not_ring(self, page: Page) -> bool:
        """Whether an emergency is answered, overtaken, or over."""
        if self._journal.outbox.is_superseded(page):
            return True
        return bool(page.grids) and all(self._is_settled(grid, page) for grid in page.grids)

    def _is_settled(self, grid: str, page: Page) -> bool:
        for answer in self._journal.responses.select(grid, since=page.evaluated_at):
            if answer.response.kind in FLATS:
                return True
            if answer.response.kind is ResponseKind.ACKNOWLEDGED and answer.response.page == page.page:
                return True
        return self._is_over(grid, page)

    def _is_over(self, grid: str, page: Page) -> bool:
        """Whether the grid has been known not to be in MANDATORY_EXIT for as long as NORMAL needs to be told."""
        needed = self._policy.normal.after_evaluations
        newest = self._journal.newest_evaluations(grid, needed)
        if newest and newest[0].kind is EvaluationKind.ENTRY:
            return True
        after = [one for one in newest if one.evaluated_at > page.evaluated_at]
        return len(after) == needed and all(one.state not in (Notice.MANDATORY_EXIT, Notice.UNKNOWN) for one in after)

    def _missed(self) -> list[Answer]:
        """Windows that passed with nobody answering; what asked for an exit goes to the next channel."""
        now = self._clock.now()
        answers: list[Answer] = []
        for page in self._journal.notifications.pages(since=now - _LOOK_BACK):
            if page.respond_by is None or page.respond_by > now or not self._was_sent(page):
                continue
            for grid in page.grids:
                answers += self._missed_by(grid, page)
        return answers

    def _missed_by(self, grid: str, page: Page) -> list[Answer]:
        if page.respond_by is None or self._is_answered_by(grid, page, page.respond_by):
            return []
        alone = [
            Answer(
                response=Response(grid=grid, at=page.respond_by, kind=ResponseKind.MISSED, page=page.page),
                source=WATCH,
                by_whom="",
                settings_hash=self._written_by["settings_hash"],
                code_version=self._written_by["code_version"],
                recorded_at=self._clock.now(),
            )
        ]
        if not self._journal.responses.record(alone):
            return []
        if page.notice in _ESCALATED_UNANSWERED:
            self._escalate(page)
        return alone

    def _is_answered_by(self, grid: str, page: Page, moment: datetime) -> bool:
        """Whether the grid was acknowledged or flat by then, or something newer was told of it."""
        for answer in self._journal.responses.select(grid, since=page.evaluated_at):
            response = answer.response
            is_about = response.page == page.page and response.kind is ResponseKind.ACKNOWLEDGED
            if (is_about or response.kind in FLATS) and response.at <= moment:
                return True
        later = self._journal.notifications.decisions(grid, since=page.evaluated_at, until=moment)
        return any(_is_newer(one, page) for one in later)

    def _was_sent(self, page: Page) -> bool:
        return any(event.event is DeliveryOutcome.SENT for event in self._journal.outbox.events(page=page.page))

    def _escalate(self, page: Page) -> None:
        tried: Sequence[str] = [event.channel for event in self._journal.outbox.events(page=page.page)]
        following = self._ladder.after(-1, tried=tried)
        if following is not None:
            name, rank = following
            detail = "nobody acknowledged it in its window"
            self._journal.outbox.escalate(page.page, name, rank, at=self._clock.now(), detail=detail)


def page_tag(page: str) -> str:
    """Name under which the alarms of a page are cancelled."""
    return f"mm-{page}"


def _is_newer(decided: Decided, page: Page) -> bool:
    return decided.decision.is_told and decided.decision.evaluated_at > page.evaluated_at
