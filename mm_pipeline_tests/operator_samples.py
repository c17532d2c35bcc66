"""Pages, deliveries and answers put into a journal, as ticks, relays and operators would have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import yaml
from click.testing import CliRunner, Result

from mm_pipeline.adapters.journal import (
    Claim,
    DecisionRecord,
    DeliveryOutcome,
    Journal,
    Page,
    ResponseRecord,
    sqlite_url,
)
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import Cause, Decision, Notice, Response, ResponseKind

BY = {"settings_hash": "c3d4", "code_version": "0.1.0"}
WINDOWS = {
    Notice.MANDATORY_EXIT: timedelta(minutes=15),
    Notice.LATEST_ACCEPTABLE_EXIT: timedelta(hours=1),
    Notice.WARNING: timedelta(hours=4),
}
PRIORITIES = {Notice.MANDATORY_EXIT: 2, Notice.LATEST_ACCEPTABLE_EXIT: 1, Notice.UNKNOWN: 1, Notice.NORMAL: -1}


def decision(notice: Notice, at: datetime, *, grid: str = "eth", page: str = "", **changes: Any) -> Decision:
    """A change told at once; of an emergency that goes on, give ``episode_at`` and ``number``."""
    made = Decision(
        grid=grid,
        evaluated_at=at,
        kind="entry" if notice is Notice.ENTER else "exit",
        notice=notice,
        state=notice.value,
        cause=Cause.CHANGE,
        episode_at=at,
        number=1,
        triggers=(),
        page=page or f"{notice.value.lower()}-{grid}-{at:%d%H%M}",
    )
    return replace(made, **changes)


def window_end(one: Decision) -> datetime | None:
    window = WINDOWS.get(one.notice)
    return None if window is None or not one.is_told else one.evaluated_at + window


def commit(
    journal: Journal,
    *together: Decision,
    decided_at: datetime,
    channels: Mapping[str, int] | None = None,
    grid_version: str = "a1b2",
) -> str:
    """Journal decisions that share a page, and make it due; the page's id."""
    first = together[0]
    page = Page(
        page=first.page,
        notice=first.notice.value,
        grids=tuple(one.grid for one in together),
        evaluated_at=first.evaluated_at,
        decided_at=decided_at,
        priority=PRIORITIES.get(first.notice, 0),
        title=f"{first.notice.value} of {first.grid}",
        text="what to do",
        respond_by=window_end(first),
        **BY,
    )
    decided = [DecisionRecord(decision=one, grid_version=grid_version, decided_at=decided_at, **BY) for one in together]
    pages = [page] if first.is_told else []
    due = {"phone": 0} if channels is None else channels
    assert journal.notifications.commit(decided, pages, channels=due, due_at=decided_at)
    return first.page


def claim(journal: Journal, at: datetime, channel: str = "phone") -> Claim:
    """The attempt that a relay begins now."""
    found = journal.outbox.claim(owner="relay", now=at, lease=timedelta(minutes=1), channels=[channel])
    assert found is not None
    return found


def send(journal: Journal, page: str, at: datetime, channel: str = "phone", *, receipt: str | None = None) -> None:
    """Deliver the page that is due on the channel."""
    begun = claim(journal, at, channel)
    assert begun.page.page == page
    journal.outbox.end(begun, DeliveryOutcome.SENT, at=at, receipt=receipt)


def answer(
    journal: Journal, kind: ResponseKind, at: datetime, *, grid: str = "eth", page: str = "", by: str = "ann"
) -> None:
    """Journal what an operator did."""
    response = Response(grid=grid, at=at, kind=kind, page=page)
    made = ResponseRecord(response=response, source=f"mm {kind.value}", by_whom=by, recorded_at=at, **BY)
    assert journal.responses.record([made])


@dataclass(frozen=True)
class OperatedHome:
    """An installation in a folder, whose journal the commands read; nothing is made before it is written to."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        return self.folder / "settings.yaml"

    @property
    def journal_file(self) -> Path:
        return self.folder / "home" / "journal.db"

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        with Journal(sqlite_url(self.journal_file)) as opened:
            yield opened

    def declare(self, *grids: Grid) -> None:
        """Write grid files."""
        for grid in grids:
            (self.folder / "grids" / f"{grid.id}.yaml").write_text(
                yaml.safe_dump(grid.model_dump(mode="json")).replace("'", "")
            )

    def mm(self, command: click.Command, *arguments: str) -> Result:
        """Run a command of this installation."""
        return CliRunner().invoke(command, [*arguments, "--settings", str(self.settings_file)])


def operated_home(folder: Path) -> OperatedHome:
    """Settings and an empty folder of grids; ``MM_HOME`` has to point to ``home`` in the folder."""
    (folder / "grids").mkdir()
    (folder / "settings.yaml").write_text("exchange: kucoin\ngrids: grids\n")
    return OperatedHome(folder)
