"""The notice itself: straight to the first channel that reaches a person, once in an outage of the storage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.last_resort.memory import Outage, OutageMemory
from mm_pipeline.adapters.last_resort.policy import LastResortPolicy
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.notifications.channel import TEXT_LIMIT, Channel, Message

PRIORITY: Final = 1
"""It is heard at night, and rings once: without a journal nobody could end an emergency."""
PAGE_PREFIX: Final = "last-resort"
_FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""An outage that nobody saw for four ticks is another one."""
_PROBED_EVERY_S: Final = 2.0
_logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What came of telling."""

    WAITING = "waiting"
    TOLD = "told"
    TOLD_BEFORE = "told before"
    NOT_TAKEN = "not taken"
    NOBODY = "nobody"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class LastResort:
    """Tells of an outage of journal or disk without either.

    Attributes
    ----------
    channels
        By name, those alone that reach a person, in the order in which they are tried.
    memory
        Whether this outage was told already.
    watched
        In words, what stays unwatched: grids with their stops.
    """

    channels: Mapping[str, Channel]
    memory: OutageMemory
    policy: LastResortPolicy
    clock: Clock
    watched: str = ""

    def report(self, problem: PipelineError, *, is_lasting: bool = False) -> Outcome:
        """Tell of the outage, where it has lasted for ``grace`` and was not told yet. Never raises; never waits.

        Parameters
        ----------
        problem
            What is wrong, and what to do.
        is_lasting
            Whether the caller waited for ``grace`` already.
        """
        now = self.clock.now()
        outage = self._seen(now)
        self.memory.keep(outage)
        if not self.channels:
            _logger.error("no channel reaches anybody: %s", problem)
            return Outcome.NOBODY
        if not is_lasting and now - outage.since < self.policy.grace:
            return Outcome.WAITING
        with self.memory.alone() as is_alone:
            if not is_alone:
                return Outcome.TOLD_BEFORE
            known = self.memory.known(now) or outage
            if self._is_told(known, now):
                return Outcome.TOLD_BEFORE
            if not self._send(problem, outage, now):
                return Outcome.NOT_TAKEN
            self.memory.keep(replace(outage, told_at=now))
        return Outcome.TOLD

    def insist(self, probe: Callable[[], PipelineError | None]) -> Outcome:
        """Like :meth:`report`, and wait for ``grace``: for a process that ends now, and will not see the next moment.

        Parameters
        ----------
        probe
            What is wrong with the storage now; None where it works: the next tick then heals what was missed.
        """
        end_s = time.monotonic() + self.policy.grace.total_seconds()
        while True:
            found = probe()
            if found is None:
                return Outcome.RECOVERED
            is_lasting = time.monotonic() >= end_s
            outcome = self.report(found, is_lasting=is_lasting)
            if outcome is not Outcome.WAITING:
                return outcome
            time.sleep(min(_PROBED_EVERY_S, max(0.0, end_s - time.monotonic())))

    def end(self) -> Outage | None:
        """Note that the storage works; the outage that ended, where it was told."""
        now = self.clock.now()
        outage = self.memory.known(now)
        if outage is None or outage.is_over:
            return None
        if outage.told_at is None:
            self.memory.forget()
            return None
        self.memory.keep(replace(outage, seen_at=now, is_over=True))
        return outage if outage.told_at >= outage.since else None

    def _seen(self, now: datetime) -> Outage:
        known = self.memory.known(now)
        if known is None:
            return Outage(since=now, seen_at=now)
        if known.is_over or now - known.seen_at > _FORGOTTEN_AFTER:
            return Outage(since=now, seen_at=now, told_at=known.told_at)
        return replace(known, seen_at=now)

    def _is_told(self, outage: Outage, now: datetime) -> bool:
        if outage.told_at is None:
            return False
        age = now - outage.told_at
        return age < (self.policy.repeat if outage.told_at >= outage.since else self.policy.quiet_for)

    def _send(self, problem: PipelineError, outage: Outage, now: datetime) -> bool:
        since = f"since {outage.since:%Y-%m-%d %H:%M} UTC"
        text = (
            f"{problem.problem}\nThis is so {since}. Until it ends no page can be sent, whatever your grids do. "
            f"Look at them yourself{f': {self.watched}' if self.watched else ''}.\n{problem.hint}"
        )
        message = Message(
            page_id=f"{PAGE_PREFIX}-{int(now.timestamp())}",
            title="THE WATCH CANNOT PAGE: its storage fails",
            text=text[:TEXT_LIMIT],
            priority=PRIORITY,
            at=now,
        )
        for name, channel in self.channels.items():
            try:
                channel.send(message)
            except Exception as error:  # whatever a channel does, the next one is tried
                _logger.warning("channel %s did not take the last notice: %s", name, error)
                continue
            _logger.error("told on %s: %s", name, problem)
            return True
        return False
