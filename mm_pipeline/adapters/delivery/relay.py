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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.delivery.alarms import Alarms
from mm_pipeline.adapters.delivery.ladder import ChannelCircuits, ChannelLadder
from mm_pipeline.adapters.journal import Claim, DeliveryOutcome, Journal
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.notifications import Accepted, ChannelError, DeliveryPolicy, Message, backoff

_logger = logging.getLogger(__name__)

Render = Callable[[Claim, datetime], Message]
"""What is sent for a claim at a moment: the page, marked where it is late or may be a duplicate."""


@dataclass(frozen=True)
class Sent:
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
        ladder: ChannelLadder,
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

    def run(self) -> list[Sent]:
        """Deliver what is due, for at most ``run_for``; every attempt that was made."""
        ends_at = time.monotonic() + self._policy.run_for.total_seconds()
        made: list[Sent] = []
        self._pass_by_open_circuits()
        while time.monotonic() < ends_at:
            claim = self._journal.outbox.claim(
                owner=self._owner, now=self._clock.now(), lease=self._policy.lease, channels=self._usable()
            )
            if claim is None:
                break
            made.append(self._attempt(claim))
        self._give_up_on_unclaimable()
        return made

    def _usable(self) -> list[str]:
        now_ms = self._clock.now_ms()
        return [name for name in self._ladder.channels if not self._circuits.is_open(name, now_ms=now_ms)]

    def _attempt(self, claim: Claim) -> Sent:
        if self._journal.outbox.is_superseded(claim.page):
            return self._end(claim, DeliveryOutcome.SUPERSEDED, "something newer was told of these grids")
        message = self._render(claim, self._clock.now())
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
        self._circuits.succeeded(claim.channel)
        sent = self._end(claim, DeliveryOutcome.SENT, accepted.request, receipt=accepted.receipt)
        self._watch_quota(claim.channel, accepted)
        return sent

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

    def _end(self, claim: Claim, outcome: DeliveryOutcome, detail: str, *, receipt: str | None = None) -> Sent:
        self._journal.outbox.end(claim, outcome, at=self._clock.now(), detail=detail, receipt=receipt)
        return Sent(claim.page.page, claim.channel, claim.attempt, outcome, detail)

    def _refused(self, claim: Claim, error: ChannelError) -> Sent:
        """Not to be repeated: the next channel takes over, and an alarm tells of this one."""
        self._circuits.succeeded(claim.channel)
        sent = self._end(claim, DeliveryOutcome.REFUSED, str(error))
        self._escalate(claim.page.page, claim.rank, f"{claim.channel} refused it: {error.problem}")
        self._alarms.raise_about(
            f"{claim.channel} refuses",
            f"CHANNEL {claim.channel} refuses pages",
            f"Pages do not reach you through {claim.channel}: {error.problem}\n{error.mend}".strip(),
            without=[claim.channel],
        )
        return sent

    def _failed(self, claim: Claim, error: ChannelError) -> Sent:
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
        return Sent(claim.page.page, claim.channel, claim.attempt, outcome, str(error))

    def _escalate(self, page: str, rank: int, detail: str) -> None:
        following = self._ladder.after(rank)
        if following is not None:
            name, place = following
            self._journal.outbox.escalate(page, name, place, at=self._clock.now(), detail=detail)

    def _pass_by_open_circuits(self) -> None:
        """What waits for a channel that is left alone goes to the next one too."""
        now = self._clock.now()
        usable = set(self._usable())
        for waiting in self._journal.outbox.waiting():
            if waiting.channel not in usable and waiting.due_at <= now + self._policy.backoff_max:
                self._escalate(waiting.page, waiting.rank, f"{waiting.channel} is left alone after many failures")

    def _give_up_on_unclaimable(self) -> None:
        """A page that no channel has taken and none is to take any more is told of as such, once."""
        waiting = {one.page for one in self._journal.outbox.waiting() if one.channel in self._ladder.channels}
        now = self._clock.now()
        for page in self._journal.outbox.unsent(decided_before=now):
            if page.page not in waiting and self._journal.outbox.give_up(
                page.page, at=now, detail="every channel refused it, or there is none"
            ):
                _logger.error("page %s (%s) reached nobody: every channel refused it", page.page, page.title)

    def _watch_quota(self, channel: str, accepted: Accepted) -> None:
        left, limit = accepted.quota_remaining, accepted.quota_limit
        if left is None or not limit or left / limit >= self._policy.min_quota_share:
            return
        self._alarms.raise_about(
            f"{channel} quota",
            f"CHANNEL {channel} runs out of messages",
            f"{left} of {limit} messages are left in this period. Then pages go through the other channels alone.",
        )
