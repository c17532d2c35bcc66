"""The journal's door: one method a question or a fact, each in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.journal import evaluations, future_words, grid_versions, owner, setting_aside
from mm_pipeline.adapters.journal import incidents as notices
from mm_pipeline.adapters.journal.circuits import JournalCircuits
from mm_pipeline.adapters.journal.database import LOCK_WAIT, Database
from mm_pipeline.adapters.journal.decisions import JournalNotifications
from mm_pipeline.adapters.journal.flat_checks import JournalFlatChecks
from mm_pipeline.adapters.journal.histories import JournalHistories
from mm_pipeline.adapters.journal.outbox import JournalOutbox
from mm_pipeline.adapters.journal.page_records import ResponseRecord
from mm_pipeline.adapters.journal.records import Evaluation, GridHistoryRow, Incident
from mm_pipeline.adapters.journal.responses import JournalResponses
from mm_pipeline.adapters.journal.setting_aside import FutureRows
from mm_pipeline.adapters.journal.upgrade import migrate
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid, GridVersion


class Journal:
    """What was decided, under which grids, kept for good.

    Opening it brings the database to the present version; any number of processes may open it at once.

    Parameters
    ----------
    url
        ``sqlite:////absolute/path/journal.db`` (see ``sqlite_url``) or ``postgresql://user@host/name``.
    lock_wait
        How long a transaction waits for another writer.

    Raises
    ------
    StorageError
        From every method, when the database cannot be reached or written.
    """

    def __init__(self, url: str, *, lock_wait: timedelta = LOCK_WAIT) -> None:
        self._is_mine = False
        self._database = Database(url, lock_wait=lock_wait)
        try:
            migrate(self._database)
        except BaseException:
            self._database.close()
            raise
        self.circuits = JournalCircuits(self._database)
        self.notifications = JournalNotifications(self._database)
        self.outbox = JournalOutbox(self._database)
        self.responses = JournalResponses(self._database)
        self.flat_checks = JournalFlatChecks(self._database)
        self.histories = JournalHistories(self._database, self.notifications, self.responses)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def sign(self, written_by: Mapping[str, str]) -> None:
        """Settings hash and code version that stand beside deliveries and circuit states recorded from now on."""
        self.outbox.sign(written_by)
        self.circuits.sign(written_by)

    def claim(self, *, is_paper: bool, is_new: bool = True) -> None:
        """Refuse the journal where it tells of real markets and these are simulated, or the other way round.

        Parameters
        ----------
        is_new
            Whether a journal that nobody has claimed becomes one of these markets.

        Raises
        ------
        StorageError
            Naming both kinds of markets, and what to do.
        """
        if self._is_mine:
            return
        if is_new:
            owner.claim(self._database, is_paper=is_paper)
        owner.check(self._database, is_paper=is_paper)
        self._is_mine = is_new

    def keep_time(self, clock: Clock, *, tolerance: timedelta) -> None:
        """Believe no row of a time later than the clock's, from now on: it counts as never made.

        Parameters
        ----------
        tolerance
            How far two writers' clocks may be apart (``exchange_access.max_clock_offset``).
        """
        self._database.clock, self._database.tolerance = clock, tolerance

    def future_rows(self) -> FutureRows:
        """What lies in the journal with a time later than now; a clock was ahead, or ours is behind."""
        with self._database.reading() as connection:
            return setting_aside.future_rows(connection)

    def future_words(self) -> list[ResponseRecord]:
        """What operators and accounts said with a time later than now."""
        with self._database.reading() as connection:
            return future_words.future_words(connection)

    def set_aside_future(self, now: datetime) -> int:
        """Take what lies in the future out of the tables for good; how many rows. A word that opens counts from now.

        Only for a caller who knows that the clock is right: with one that is behind, true rows would be lost.
        """
        with self._database.writing() as connection:
            return future_words.set_aside_but_openings(connection, now)

    def close(self) -> None:
        """Close every connection; the next call opens a new one."""
        self._database.close()

    def observe_grids(self, grids: Collection[Grid], now: datetime, *, unreadable: Collection[str] = ()) -> list[str]:
        """Record the grids as their files stand now.

        The first version ever of a grid is valid from its ``started_at`` (from ``now`` where that is later); a changed
        or returning one from ``now``, or from the moment after all that is journalled of it, so that what was decided
        before is never decided again by it. While something of it lies later than now nothing is recorded of it: a
        clock was ahead, or ours is behind. A grid that is in neither ``grids`` nor ``unreadable`` is recorded as
        removed.

        Parameters
        ----------
        unreadable
            Ids of grids whose file is there but cannot be read: their last version stays in force.

        Returns
        -------
        list of str
            Ids of the grids that are new, changed or removed, sorted.
        """
        with self._database.writing() as connection:
            return grid_versions.observe(connection, grids, now, unreadable=unreadable)

    def grid_versions(self, grid_id: str) -> list[GridVersion]:
        """Every declaration of the grid, oldest first; removals are in ``grid_history`` alone."""
        return [GridVersion(row.grid, row.valid_from) for row in self.grid_history(grid_id) if row.grid is not None]

    def grid_history(self, grid_id: str) -> list[GridHistoryRow]:
        """Every declaration and removal of the grid, oldest first."""
        with self._database.reading() as connection:
            return grid_versions.history(connection, grid_id)

    def grid_in_force(self, grid_id: str, at: datetime) -> GridVersion | None:
        """The version an evaluation at ``at`` uses; None before the first, and once it was retired.

        None also while a disabled grid has no file; an enabled one without a file is in force still (``is_gone``).
        """
        with self._database.reading() as connection:
            return grid_versions.in_force(connection, grid_id, at)

    def retire_grid(self, grid_id: str, now: datetime, *, by: str) -> bool:
        """Record that a grid whose file is gone was meant to end: from ``now`` it is not evaluated any more.

        Returns
        -------
        bool
            Whether that is new; False for a grid that is not known, or was retired before.

        Raises
        ------
        StorageError
            Also where something of it is journalled for a time later than now: its end cannot be dated.
        """
        with self._database.writing() as connection:
            return grid_versions.retire(connection, grid_id, now, by=by)

    def retired_grids(self) -> dict[str, datetime]:
        """When each grid was retired that has not come back since, by id."""
        with self._database.reading() as connection:
            return grid_versions.retired(connection)

    def known_grids(self) -> list[str]:
        """Ids of every grid ever seen, removed ones included, sorted."""
        with self._database.reading() as connection:
            return grid_versions.known_grids(connection)

    def record_evaluations(self, batch: Iterable[Evaluation], *, again_at: datetime | None = None) -> int:
        """Add the evaluations whose grid, bar, kind and input hash are new: all of them or, on an error, none.

        Parameters
        ----------
        again_at
            The evaluation that is made now, perhaps for the second time: what was said about it of the same input, and
            is true no longer, is set aside.

        Returns
        -------
        int
            How many were new. A second daemon that decided the same gets 0.
        """
        rows = list(batch)
        with self._database.writing() as connection:
            return evaluations.record(connection, rows, again_at=again_at)

    def evaluations(
        self,
        grid: str | None = None,
        *,
        kind: EvaluationKind | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Evaluation]:
        """Evaluations with ``since <= evaluated_at < until``, oldest first; of one bar in the order of recording."""
        with self._database.reading() as connection:
            return evaluations.select(connection, grid=grid, kind=kind, since=since, until=until)

    def last_evaluation(self, grid: str, *, kind: EvaluationKind | None = None) -> Evaluation | None:
        """Evaluation of the newest bar; where it was evaluated twice (a revised candle), the one recorded last."""
        with self._database.reading() as connection:
            return evaluations.last(connection, grid, kind=kind)

    def newest_evaluations(self, grid: str, count: int) -> list[Evaluation]:
        """Evaluations of the newest bars, as they were recorded last, newest first."""
        with self._database.reading() as connection:
            return evaluations.newest(connection, grid, count)

    def last_known_state(
        self,
        grid: str,
        before: datetime,
        *,
        kind: EvaluationKind = EvaluationKind.EXIT,
        since: datetime | None = None,
        versions: Collection[str] | None = None,
    ) -> str | None:
        """State of the newest evaluation before ``before`` that is not UNKNOWN; None where there is none.

        ``since``, or the ``versions`` (hashes) of one ``started_at``, leave out what was decided about another range.
        """
        with self._database.reading() as connection:
            found = evaluations.last(
                connection, grid, kind=kind, since=since, before=before, is_known=True, versions=versions
            )
        return None if found is None else found.state

    def standing_mandatory(self, grid: str, before: datetime, *, since: datetime | None = None) -> Evaluation | None:
        """The MANDATORY_EXIT that is still in force: the newest exit evaluation before ``before`` that is not UNKNOWN,
        if it is one. ``since`` as for ``last_known_state``.
        """
        with self._database.reading() as connection:
            found = evaluations.last(
                connection, grid, kind=EvaluationKind.EXIT, since=since, before=before, is_known=True
            )
        return found if found is not None and found.state == evaluations.MANDATORY_EXIT else None

    def record_notices(self, batch: Iterable[Incident]) -> int:
        """Add what was wrong with markets at a tick; how many were new by market, tick and code."""
        rows = list(batch)
        with self._database.writing() as connection:
            return notices.record(connection, rows)

    def end_notices(self, markets: Collection[str], *, tick_at: datetime, codes: Collection[str] | None = None) -> int:
        """Take back what was noted of markets at a tick, where a later answer for the same tick was good; how many.

        ``codes`` keeps notices of other causes.
        """
        with self._database.writing() as connection:
            return notices.end(connection, markets, tick_at, codes)

    def notices(
        self, market: str | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[Incident]:
        """Notices with ``since <= tick_at < until``, oldest first."""
        with self._database.reading() as connection:
            return notices.select(connection, market=market, since=since, until=until)
