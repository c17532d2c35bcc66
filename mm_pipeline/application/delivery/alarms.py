"""Pages about the watch itself: a channel that refuses, a quota that ends, a watch that is blind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import Journal, Page
from mm_pipeline.adapters.journal.page_records import ALARM
from mm_pipeline.application.delivery.channel_order import ChannelOrder

PRIORITY: Final = 1
"""An alarm is heard, but rings once."""
_DAY: Final = timedelta(days=1)


class Alarms:
    """Raises each alarm once in a stretch of time, through the channels that are not its subject.

    Raises
    ------
    StorageError
        When the journal fails.
    """

    def __init__(self, journal: Journal, ladder: ChannelOrder, *, clock: Clock, written_by: Mapping[str, str]) -> None:
        self._journal = journal
        self._ladder = ladder
        self._clock = clock
        self._written_by = written_by

    def raise_about(
        self, subject: str, title: str, text: str, *, without: Sequence[str] = (), every: timedelta = _DAY
    ) -> bool:
        """Page that something is wrong with the watch.

        Parameters
        ----------
        subject
            What it is about; the same subject is told of once in ``every``.
        without
            Channels that are not to carry it, unless no other reaches a person.

        Returns
        -------
        bool
            False where it was told already.
        """
        now = self._clock.now()
        prefix = _prefix(subject)
        recent = self._journal.notifications.pages(since=now - every, notice=ALARM)
        if any(page.page.startswith(prefix) for page in recent):
            return False
        return self._journal.notifications.raise_alarm(
            Page(
                page=f"{prefix}-{_bucket(now, every)}",
                notice=ALARM,
                grids=(),
                evaluated_at=now,
                decided_at=now,
                priority=PRIORITY,
                title=title,
                text=text,
                settings_hash=self._written_by["settings_hash"],
                code_version=self._written_by["code_version"],
            ),
            channels=self._ladder.others(without),
            due_at=now,
        )


def _prefix(subject: str) -> str:
    return f"alarm-{hashlib.sha256(subject.encode()).hexdigest()[:12]}"


def _bucket(now: datetime, every: timedelta) -> int:
    """Two processes that raise one alarm at once name it alike."""
    return int(now.timestamp() // every.total_seconds())
