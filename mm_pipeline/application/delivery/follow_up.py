"""What came back: receipts, windows that passed, alarms to end. Run by a sensor; safe to run any number of times."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import DeliveryOutcome, Journal, OpenReceipt, Page, ResponseRecord
from mm_pipeline.application.delivery.channel_order import ChannelOrder
from mm_pipeline.application.delivery.page_answers import PageAnswers
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.notifications import (
    ASKS_FOR_EXIT,
    ENTRY,
    ChannelError,
    Notice,
    NotifyPolicy,
    ReceiptChannel,
    ReceiptState,
    Response,
    ResponseKind,
    is_over_after,
)

_logger = logging.getLogger(__name__)

WATCH = "watch"
"""Source of an answer that the watch itself makes: a missed window, a cancelled emergency."""
RECEIPT = "receipt"
_LOOK_BACK = timedelta(days=7)


@dataclass(frozen=True)
class FollowUp:
    """What one round found: answers that are new, and questions that failed."""

    answers: tuple[ResponseRecord, ...]
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
        ladder: ChannelOrder,
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

    def follow(self) -> FollowUp:
        """Ask about every open emergency, end those that need not ring any more, and note windows that have passed.

        A channel that did not answer is not asked again in this round: windows that passed must not wait for it.
        """
        answers: list[ResponseRecord] = []
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
        self._end_unclear(problems, silent)
        answers += self._missed()
        return FollowUp(tuple(answers), tuple(problems))

    def record(
        self,
        page: Page,
        kind: ResponseKind,
        *,
        at: datetime,
        source: str,
        by: str = "",
        grids: Collection[str] | None = None,
    ) -> list[ResponseRecord]:
        """Journal an answer for every grid of a page, or for these; the answers that are new.

        None of a page that counts as never made: a page of the same name may come in its time, and is not answered.
        """
        if all(one.page != page.page for one in self._journal.notifications.pages(since=page.evaluated_at)):
            return []
        made = [
            ResponseRecord(
                response=Response(grid=grid, at=at, kind=kind, page=page.page),
                source=source,
                by_whom=by,
                settings_hash=self._written_by["settings_hash"],
                code_version=self._written_by["code_version"],
                recorded_at=self._clock.now(),
            )
            for grid in grids or page.grids or ("",)
        ]
        return [answer for answer in made if self._journal.responses.record([answer])]

    def _follow(self, receipt: OpenReceipt, answers: list[ResponseRecord]) -> None:
        channel = self._channel_of(receipt)
        if channel is None:
            return
        page, now = receipt.page, self._clock.now()
        status = channel.receipt(receipt.receipt)
        if status.state is ReceiptState.ACKNOWLEDGED:
            answers += self.record(page, ResponseKind.ACKNOWLEDGED, at=status.at or now, source=RECEIPT, by=status.by)
            self._journal.outbox.close_receipt(receipt, at=now, detail="acknowledged")
        elif status.state is ReceiptState.EXPIRED:
            answers += self.record(page, ResponseKind.EXPIRED, at=status.at or now, source=RECEIPT)
            self._journal.outbox.close_receipt(receipt, at=now, detail="expired")
        elif self._need_not_ring(receipt):
            channel.cancel(page_tag(page.page))
            answers += self.record(page, ResponseKind.CANCELLED, at=now, source=WATCH)
            self._journal.outbox.close_receipt(receipt, at=now, detail="cancelled")

    def _end_unclear(self, problems: list[str], silent: set[str]) -> None:
        """End what may ring of an attempt whose receipt never came, once its page need not ring any more."""
        able = {name: one for name, one in self._ladder.channels.items() if isinstance(one, ReceiptChannel)}
        now = self._clock.now()
        for attempt in self._journal.outbox.unclear_emergencies(
            since=now - self._policy.mandatory_exit.expire, now=now
        ):
            if not self._need_not_ring(attempt):
                continue
            asked = [name for name in able if name not in silent]
            ended = [name for name in asked if self._ended(name, able[name], attempt.page, problems, silent)]
            if able and len(ended) == len(able):  # else whoever did not hear of it is told at the next round
                self._journal.outbox.close_receipt(attempt, at=now, detail="ended without a receipt")

    def _ended(self, name: str, channel: ReceiptChannel, page: Page, problems: list[str], silent: set[str]) -> bool:
        """Whether a channel took it that no alarm of a page is to ring."""
        try:
            channel.cancel(page_tag(page.page))
        except ChannelError as error:
            problems.append(f"{name}: {error}")
            silent |= set() if error.is_final else {name}
            return False
        except Exception as error:
            _logger.exception("alarms of page %s cannot be ended on %s", page.page, name)
            problems.append(f"{name}: {type(error).__name__} when told to end an alarm")
            return False
        return True

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
        page, known = receipt.page, PageAnswers.about(self._journal, receipt.page)
        if known.is_answered(grid, page) or self._is_over(grid, page):
            return True
        newer = {one.decision.page for one in known.newer(grid, page)}
        return any(self._was_sent(one, receipt.channel) for one in newer)

    def _is_over(self, grid: str, page: Page) -> bool:
        """Whether the grid was disabled since, sold out for good, or NORMAL for as long as an all-clear needs."""
        needed = self._policy.normal.after_evaluations
        newest = self._journal.newest_evaluations(grid, needed)
        made = self._journal.notifications.decisions(grid, since=page.evaluated_at)
        if newest and newest[0].kind is EvaluationKind.ENTRY:
            # A disabled grid has an emergency of its own: its account contradicts that it is flat.
            return all(one.decision.kind != ENTRY for one in made if one.decision.page == page.page)
        after = [one for one in newest if one.evaluated_at > page.evaluated_at]
        if len(after) == needed and all(one.state == Notice.NORMAL for one in after):
            return True
        return is_over_after(one.decision for one in made if one.decision.evaluated_at > page.evaluated_at)

    def _missed(self) -> list[ResponseRecord]:
        """Windows that passed with nobody answering; what asked for an exit goes to the next channel.

        A page that came late has its whole window from then on.
        """
        now = self._clock.now()
        since = now - _LOOK_BACK
        pages = self._journal.notifications.pages(since=since)
        open_ones = [page for page in pages if page.respond_by is not None and page.respond_by <= now]
        if not open_ones:
            return []
        sent_at = self._journal.outbox.first_sent(since=since, records=self._ladder.records)
        known = PageAnswers.since(self._journal, min(page.evaluated_at for page in open_ones))
        answers: list[ResponseRecord] = []
        for page in open_ones:
            sent = sent_at.get(page.page)
            if sent is not None and sent > now:  # by a clock that was ahead: it came at any time since it was decided
                sent = page.decided_at
            ends_at = self._window_ends(page, sent)
            if ends_at is not None and ends_at <= now:
                answers += self._missed_by(page, ends_at, known)
        return answers

    def _window_ends(self, page: Page, sent_at: datetime | None) -> datetime | None:
        """When the time to answer a page is over: later by as much as it came late; None where it never came."""
        if page.respond_by is None or sent_at is None:
            return None
        return page.respond_by + max(sent_at - page.decided_at, timedelta(0))

    def _missed_by(self, page: Page, ends_at: datetime, known: PageAnswers) -> list[ResponseRecord]:
        is_noted = any(
            answer.response.kind is ResponseKind.MISSED and answer.response.page == page.page
            for grid in page.grids
            for answer in known.answers.get(grid, ())
        )
        missed = [
            grid
            for grid in page.grids
            if not known.is_answered(grid, page, by=ends_at) and not known.newer(grid, page, before=ends_at)
        ]
        if is_noted or not missed:
            return []
        if page.notice in ASKS_FOR_EXIT and not known.is_answered_whole(page):
            self._escalate(page)  # before it is noted: a process that dies here does it again
        return self.record(page, ResponseKind.MISSED, at=ends_at, source=WATCH, grids=missed)

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
