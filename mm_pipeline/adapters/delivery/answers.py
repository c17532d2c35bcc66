"""What came back: receipts, windows that passed, alarms to end. Run by a sensor; safe to run any number of times."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
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
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.notifications import (
    FLATS,
    ChannelError,
    Notice,
    NotifyPolicy,
    ReceiptChannel,
    ReceiptState,
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
        """Ask about every open emergency, end those that need not ring any more, and note windows that have passed.

        A channel that did not answer is not asked again in this round: windows that passed must not wait for it.
        """
        answers: list[Answer] = []
        problems: list[str] = []
        silent: set[str] = set()
        for receipt in self._journal.outbox.open_receipts(now=self._clock.now()):
            if receipt.channel in silent:
                continue
            try:
                self._follow(receipt, answers)
            except ChannelError as error:
                problems.append(f"{receipt.channel}: {error}")
                silent |= set() if error.is_final else {receipt.channel}
            except StorageError:
                raise
            except Exception as error:
                # A fault of a channel's program must stop neither the other emergencies nor the tick.
                _logger.exception("receipt of page %s on %s broke", receipt.page.page, receipt.channel)
                problems.append(f"{receipt.channel}: {type(error).__name__} when asked about a receipt")
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

    def _follow(self, receipt: OpenReceipt, answers: list[Answer]) -> None:
        channel = self._channel_of(receipt)
        if channel is None:
            return
        page, now = receipt.page, self._clock.now()
        status = channel.receipt(receipt.receipt)
        if status.state is ReceiptState.ACKNOWLEDGED:
            answers += self.record(page, ResponseKind.ACKNOWLEDGED, at=status.at or now, source=RECEIPT, by=status.by)
            self._journal.outbox.close_receipt(receipt, at=now, detail="acknowledged")
            if receipt.attempt > 1:  # an earlier attempt may have arrived too, and rings under the same tag
                channel.cancel(page_tag(page.page))
        elif status.state is ReceiptState.EXPIRED:
            answers += self.record(page, ResponseKind.EXPIRED, at=status.at or now, source=RECEIPT)
            self._journal.outbox.close_receipt(receipt, at=now, detail="expired")
        elif self._need_not_ring(receipt):
            channel.cancel(page_tag(page.page))
            answers += self.record(page, ResponseKind.CANCELLED, at=now, source=WATCH)
            self._journal.outbox.close_receipt(receipt, at=now, detail="cancelled")

    def _channel_of(self, receipt: OpenReceipt) -> ReceiptChannel | None:
        """The channel that was given the receipt; where it is gone, it may be there under another name."""
        able = {name: one for name, one in self._ladder.channels.items() if isinstance(one, ReceiptChannel)}
        if receipt.channel in self._ladder.channels:
            return able.get(receipt.channel)
        return next(iter(able.values()), None)

    def _need_not_ring(self, receipt: OpenReceipt) -> bool:
        """Whether an emergency is answered, over, or replaced by a page that has arrived the same way."""
        grids = receipt.page.grids
        return bool(grids) and all(self._is_settled(grid, receipt) for grid in grids)

    def _is_settled(self, grid: str, receipt: OpenReceipt) -> bool:
        page, decisions = receipt.page, self._journal.notifications.decisions(grid, since=receipt.page.evaluated_at)
        newer = {one.decision.page for one in decisions if _is_newer(one, page)}
        given = self._journal.responses.select(grid, since=self._episode_at(grid, page))
        if any(_answers(answer.response, {page.page, *newer}) for answer in given):
            return True
        return any(self._was_sent(one, receipt.channel) for one in newer) or self._is_over(grid, page)

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
        given = self._journal.responses.select(since=now - _LOOK_BACK)
        noted = {one.response.page for one in given if one.response.kind is ResponseKind.MISSED}
        for page in self._journal.notifications.pages(since=now - _LOOK_BACK):
            if page.respond_by is None or page.respond_by > now or page.page in noted:
                continue
            if self._was_sent(page.page):
                for grid in page.grids:
                    answers += self._missed_by(grid, page)
        return answers

    def _missed_by(self, grid: str, page: Page) -> list[Answer]:
        if page.respond_by is None or self._is_answered_by(grid, page, page.respond_by):
            return []
        if page.notice in _ESCALATED_UNANSWERED:
            self._escalate(page)  # before it is noted: a process that dies here does it again
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
        return alone if self._journal.responses.record(alone) else []

    def _is_answered_by(self, grid: str, page: Page, moment: datetime) -> bool:
        """Whether the grid was acknowledged or flat by then, or something newer was told of it."""
        for answer in self._journal.responses.select(grid, since=self._episode_at(grid, page)):
            if _answers(answer.response, {page.page}) and answer.response.at <= moment:
                return True
        later = self._journal.notifications.decisions(grid, since=page.evaluated_at, until=moment)
        return any(_is_newer(one, page) for one in later)

    def _episode_at(self, grid: str, page: Page) -> datetime:
        """Since when a closed position answers the page: from the first page that told the same."""
        told = self._journal.notifications.decisions(grid, page=page.page)
        return min((one.decision.episode_at for one in told), default=page.evaluated_at)

    def _was_sent(self, page: str, channel: str | None = None) -> bool:
        return any(
            event.event is DeliveryOutcome.SENT and channel in (None, event.channel)
            for event in self._journal.outbox.events(page=page)
        )

    def _escalate(self, page: Page) -> None:
        following = self._ladder.after(-1, tried=sorted(self._journal.outbox.channels(page.page)))
        if following is not None:
            name, rank = following
            detail = "nobody acknowledged it in its window"
            self._journal.outbox.escalate(page.page, name, rank, at=self._clock.now(), detail=detail)


def page_tag(page: str) -> str:
    """Name under which the alarms of a page are cancelled."""
    return f"mm-{page}"


def _answers(response: Response, pages: Collection[str]) -> bool:
    """Whether the operator knows of one of the pages, or has nothing to exit any more; naming no page answers all."""
    is_about = response.page in {"", *pages} and response.kind is ResponseKind.ACKNOWLEDGED
    return is_about or response.kind in FLATS


def _is_newer(decided: Decided, page: Page) -> bool:
    """Whether a decision tells what takes the page's place: that a grid is UNKNOWN takes nothing back."""
    is_later = decided.decision.is_told and decided.decision.evaluated_at > page.evaluated_at
    return is_later and (decided.decision.notice is not Notice.UNKNOWN or page.notice == Notice.UNKNOWN)
