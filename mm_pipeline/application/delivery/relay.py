"""Delivers pages that are due: claim, send outside any transaction, record; again and again until nothing is due.

Any number of relays may run at once, in ticks and in sensors, and may die at any moment: what was claimed by one that
died is claimed anew when its lease ends, and marked as a possible duplicate.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import Claim, DeliveryOutcome, Journal, Page, Waiting
from mm_pipeline.application.delivery.alarms import Alarms
from mm_pipeline.application.delivery.channel_order import ChannelCircuits, ChannelOrder
from mm_pipeline.application.delivery.follow_up import page_tag
from mm_pipeline.application.delivery.page_answers import PageAnswers
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.notifications import Accepted, ChannelError, DeliveryPolicy, Message, backoff

_logger = logging.getLogger(__name__)

_FAILURES = frozenset({DeliveryOutcome.FAILED, DeliveryOutcome.UNCLEAR})

Render = Callable[[Claim, datetime], Message]
"""What is sent for a claim at a moment: the page, marked where it is late or may be a duplicate."""


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt of a relay run, as it ended."""

    page: str
    channel: str
    attempt: int
    outcome: DeliveryOutcome
    detail: str = ""


class Relay:
    """Takes pages from the outbox to the channels.

    Parameters
    ----------
    render
        Makes the message of a claim.

    Raises
    ------
    StorageError
        From :meth:`run`, when the journal fails; what was not recorded is tried again.
    """

    def __init__(
        self,
        journal: Journal,
        ladder: ChannelOrder,
        *,
        policy: DeliveryPolicy,
        clock: Clock,
        alarms: Alarms,
        render: Render,
    ) -> None:
        self._journal = journal
        self._ladder = ladder
        self._policy = policy
        self._clock = clock
        self._alarms = alarms
        self._render = render
        self._circuits = ChannelCircuits(journal.circuits, policy)
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def run(self) -> list[DeliveryAttempt]:
        """Deliver what is due, for at most ``run_for``; every attempt that was made."""
        ends_at = time.monotonic() + self._policy.run_for.total_seconds()
        made: list[DeliveryAttempt] = []
        failing: set[str] = set()
        self._pass_by_unusable()
        self._rescue_unclaimable()
        while time.monotonic() < ends_at:
            claim = self._claim(failing)
            if claim is None:
                break
            made.append(self._attempt(claim))
            if made[-1].outcome in _FAILURES:
                failing.add(claim.channel)
        self._rescue_unclaimable()
        return made

    def _claim(self, failing: Collection[str]) -> Claim | None:
        """What is due: a channel that fails, and may be slow to, keeps no page from the others."""
        usable = self._usable()
        well, ill = ([name for name in usable if (name in failing) is is_failing] for is_failing in (False, True))
        for channels in filter(None, (well, ill)):
            claim = self._journal.outbox.claim(
                owner=self._owner, now=self._clock.now(), lease=self._policy.lease, channels=channels
            )
            if claim is not None:
                return claim
        return None

    def _usable(self) -> list[str]:
        now_ms = self._clock.now_ms()
        return [name for name in self._ladder.channels if not self._circuits.is_open(name, now_ms=now_ms)]

    def _attempt(self, claim: Claim) -> DeliveryAttempt:
        if self._journal.outbox.is_superseded(claim.page):
            return self._end(claim, DeliveryOutcome.SUPERSEDED, "something newer was told of these grids")
        if self._is_settled(claim):
            return self._end(claim, DeliveryOutcome.ANSWERED, "somebody answered it before it came here")
        message = self._message(claim)
        try:
            with self._renewed(claim):
                accepted = self._ladder.channels[claim.channel].send(message)
        except ChannelError as error:
            return self._refused(claim, error) if error.is_final else self._failed(claim, error)
        except Exception as error:
            # A fault of a channel's program must not stop the others; nobody knows how far it came.
            _logger.exception("channel %s broke", claim.channel)
            problem = ChannelError(
                f"{type(error).__name__} in channel {claim.channel}.", is_final=False, is_unclear=True
            )
            return self._failed(claim, problem)
        self._circuits.succeeded(claim.channel, now_ms=self._clock.now_ms())
        sent = self._end(claim, DeliveryOutcome.SENT, accepted.request, receipt=accepted.receipt)
        self._watch_quota(claim.channel, accepted)
        return sent

    def _is_settled(self, claim: Claim) -> bool:
        """Whether a page need not come here: it has lost its reason, or is answered and may have reached a person.

        `mm ack` may answer a page that nobody was shown; that one is sent all the same.
        """
        page, answers = claim.page, PageAnswers.about(self._journal, claim.page)
        if answers.is_moot_whole(page):
            return True
        if not answers.is_answered_whole(page):
            return False
        return claim.may_be_duplicate or page.page in self._journal.outbox.delivered(
            [page.page], records=self._ladder.records
        )

    def _message(self, claim: Claim) -> Message:
        """The page as it is sent; as it was decided, without a chart, where a fault keeps it from being rendered.

        Without a chart it also goes where the channel has failed so often that the chart may be why.
        """
        page = claim.page
        try:
            message = self._render(claim, self._clock.now())
        except Exception:
            _logger.exception("page %s cannot be rendered", page.page)
            message = Message(
                page_id=page.page,
                title=page.title,
                text=page.text,
                priority=page.priority,
                at=page.evaluated_at,
                tags=(page_tag(page.page),),
                retry_s=page.retry_s,
                expire_s=page.expire_s,
            )
        is_plain = claim.attempt > self._policy.escalate_after_attempts
        return replace(message, image_png=None) if is_plain else message

    @contextmanager
    def _renewed(self, claim: Claim) -> Iterator[None]:
        """Hold the claim for as long as the send lasts."""
        is_over = threading.Event()
        pause_s = self._policy.lease.total_seconds() / 3

        def renew() -> None:
            while not is_over.wait(pause_s):
                try:
                    self._journal.outbox.renew(claim, until=self._clock.now() + self._policy.lease)
                except StorageError as error:
                    _logger.warning("lease of page %s was not renewed: %s", claim.page.page, error)

        thread = threading.Thread(target=renew, name=f"lease {claim.page.page}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _end(
        self, claim: Claim, outcome: DeliveryOutcome, detail: str, *, receipt: str | None = None
    ) -> DeliveryAttempt:
        self._journal.outbox.end(claim, outcome, at=self._clock.now(), detail=detail, receipt=receipt)
        return DeliveryAttempt(claim.page.page, claim.channel, claim.attempt, outcome, detail)

    def _refused(self, claim: Claim, error: ChannelError) -> DeliveryAttempt:
        """Not to be repeated: the next channel takes over, and an alarm tells of this one."""
        self._circuits.succeeded(claim.channel, now_ms=self._clock.now_ms())
        sent = self._end(claim, DeliveryOutcome.REFUSED, str(error))
        self._escalate(claim.page.page, claim.rank, f"{claim.channel} refused it: {error.problem}")
        self._alarm_about(claim.channel, "refuses pages", error)
        return sent

    def _alarm_about(self, channel: str, what: str, error: ChannelError) -> None:
        self._alarms.raise_about(
            f"{channel} {what}",
            f"CHANNEL {channel} {what}",
            f"Pages do not reach you through {channel}: {error.problem}\n{error.hint}".strip(),
            without=[channel],
        )

    def _failed(self, claim: Claim, error: ChannelError) -> DeliveryAttempt:
        """To be repeated; from so many attempts on beside the next channel."""
        now = self._clock.now()
        self._circuits.failed(claim.channel, now_ms=self._clock.now_ms(), problem=error.problem)
        outcome = DeliveryOutcome.UNCLEAR if error.is_unclear else DeliveryOutcome.FAILED
        wait = backoff(self._policy, failed_attempts=claim.attempt, retry_after_s=error.retry_after_s)
        self._journal.outbox.put_off(claim, outcome, at=now, due_at=now + wait, detail=str(error))
        if claim.attempt >= self._policy.escalate_after_attempts:
            self._escalate(
                claim.page.page, claim.rank, f"{claim.channel} failed {claim.attempt} times: {error.problem}"
            )
        if claim.channel not in self._usable():
            self._alarm_about(claim.channel, "takes no pages", error)
        return DeliveryAttempt(claim.page.page, claim.channel, claim.attempt, outcome, str(error))

    def _escalate(self, page: str, rank: int, detail: str, *, without: Sequence[str] = ()) -> None:
        following = self._ladder.after(rank, tried=without)
        if following is not None:
            name, place = following
            self._journal.outbox.escalate(page, name, place, at=self._clock.now(), detail=detail)

    def _pass_by_unusable(self) -> None:
        """What waits for a channel that is left alone goes to the next one too; for one that is gone, to another."""
        now = self._clock.now()
        usable = set(self._usable())
        idle = [name for name in self._ladder.channels if name not in usable]
        for waiting in self._journal.outbox.waiting():
            if waiting.channel not in self._ladder.channels:
                self._hand_over(waiting)
            elif waiting.channel in idle and waiting.due_at <= now + self._policy.backoff_max:
                detail = f"{waiting.channel} is left alone after many failures"
                self._escalate(waiting.page, waiting.rank, detail, without=idle)

    def _hand_over(self, waiting: Waiting) -> None:
        """Without any channel it stays where it is: the channel may come back."""
        if self._ladder.channels:
            to = self._ladder.after(-1, tried=sorted(self._journal.outbox.channels(waiting.page)))
            detail = f"channel {waiting.channel} is not in the settings any more"
            self._journal.outbox.hand_over(waiting.page, waiting.channel, to, at=self._clock.now(), detail=detail)

    def _rescue_unclaimable(self) -> None:
        """A page that reached nobody and is due nowhere goes to a channel it was never due on, or is given up, once.

        It is due nowhere where a relay died after a refusal, where there was no channel, or where all have refused it.
        What was given up is tried again now and then.
        """
        now, outbox = self._clock.now(), self._journal.outbox
        unsent = outbox.unsent(decided_before=now, not_due_on=list(self._ladder.reaching), records=self._ladder.records)
        for page in unsent:
            untried = self._ladder.after(-1, tried=sorted(outbox.channels(page.page)))
            if untried is not None:
                name, rank = untried
                outbox.escalate(page.page, name, rank, at=now, detail="nobody took it, and it was due nowhere")
            elif outbox.give_up(page.page, at=now, detail="every channel refused it, or there is none"):
                _logger.error("page %s (%s) reached nobody: every channel refused it", page.page, page.title)
            else:
                self._ask_again(page)

    def _ask_again(self, page: Page) -> None:
        """Try channels again that refused a page long ago: a wrong key may have been put right meanwhile."""
        now = self._clock.now()
        for name in self._ladder.reaching:
            self._journal.outbox.ask_again(
                page.page, name, at=now, refused_before=now - self._policy.refused_again_after
            )

    def _watch_quota(self, channel: str, accepted: Accepted) -> None:
        left, limit = accepted.quota_remaining, accepted.quota_limit
        if left is None or not limit or left / limit >= self._policy.min_quota_share:
            return
        self._alarms.raise_about(
            f"{channel} quota",
            f"CHANNEL {channel} runs out of messages",
            f"{left} of {limit} messages are left in this period. Then pages go through the other channels alone.",
        )
