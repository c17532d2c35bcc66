"""Whether an account bears out that a grid is flat. A report that it contradicts is void, and paged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mm_pipeline.adapters.journal import FlatCheck, FlatFinding, ResponseRecord
from mm_pipeline.application.account_view import AccountView
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.account import base_total, dust_base, held_base
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.notifications import Response, ResponseKind
from mm_pipeline.reporting.pages.flat import Contradiction

ACCOUNT = "account"
"""Source of an answer that the exchange's account gave."""
MOMENT: Final = timedelta(milliseconds=1)
_ONCE: Final = timedelta(days=3650)
"""An alarm about one report is raised once: no report is looked at for longer."""
_LOOKED_BACK: Final = 12
"""Checks of one report: of those that say nothing no more than two stand in a row."""
_SAYS_SOMETHING: Final = frozenset({FlatFinding.HOLDS, FlatFinding.CLEAR})


@dataclass(frozen=True)
class FlatChecks:
    """Holds reports of flat against what accounts showed at one run's evaluation.

    Raises
    ------
    StorageError
        From every method, when the journal fails.
    """

    watch: Watch
    plan: Plan
    accounts: Accounts

    def is_contradicted(self, seen: AccountView, word: ResponseRecord, *, is_explained: bool) -> bool:
        """Check a report, and void it where the account shows on two readings in a row that it is not true.

        A reading that began before the report was known does not count. One reading alone may fall between the
        report and the orders that make it true.

        Parameters
        ----------
        is_explained
            Whether what is there may as well be another grid's that nobody reported flat.
        """
        if seen.at <= word.known_at:
            return False
        finding = FlatFinding.NOT_SEEN if is_explained else self._finding(seen)
        before = self._known(seen.grid.id, word.response.at)
        self._record(seen, word.response.at, finding, before)
        said = next((one.finding for one in before if one.finding in _SAYS_SOMETHING), None)
        if finding is not FlatFinding.HOLDS or said is not FlatFinding.HOLDS:
            return False
        return self._void(seen.grid.id, word)

    def is_confirmed(self, seen: AccountView, asked_at: datetime, *, is_closed: bool) -> bool:
        """Whether this reading and the one before it show a grid closed whose exit was asked for at ``asked_at``.

        One answer alone may be a part of the account. A reading is kept where the next one may need it.
        """
        before = self._known(seen.grid.id, asked_at)
        was_closed = bool(before) and before[0].finding is FlatFinding.CLEAR
        if is_closed or was_closed:
            finding = FlatFinding.CLEAR if is_closed else FlatFinding.NOT_SEEN
            self._record(seen, asked_at, finding, before)
        return is_closed and was_closed

    def note_unseen(self, grid: Grid, word: ResponseRecord) -> None:
        """Note that an account said nothing of a report at this evaluation; alarm once where it cannot be read."""
        known = self.accounts.problems
        problem = known.get(grid.id) or known.get(str(grid.market)) or known.get("accounts")
        if grid.market not in self.accounts.readings and problem is None:
            return
        finding = FlatFinding.NOT_SEEN if problem is None else FlatFinding.UNREAD
        before = self._known(grid.id, word.response.at)
        self._write(grid.id, word.response.at, finding, before, read_at=self.watch.now())
        if problem is None or not before or before[0].finding is not FlatFinding.UNREAD:
            return
        self.watch.delivery().alarms.raise_about(
            f"{grid.id} unchecked {word.response.at.isoformat()}",
            f"ACCOUNT of {grid.id} is not seen",
            f"You reported {grid.id} flat at {word.response.at:%Y-%m-%d %H:%M} UTC. The account could not be read "
            f"since, so nothing bears your report out and nothing contradicts it: it stands, and exits are not paged. "
            f"Look at it yourself.\n\n{problem}",
            every=_ONCE,
        )

    def is_settled(self, grid_id: str, word: ResponseRecord) -> bool:
        """Whether two checks in a row found nothing against a report: of a disabled grid no more is asked."""
        newest = self._known(grid_id, word.response.at)[:2]
        return len(newest) == 2 and all(one.finding in (FlatFinding.CLEAR, FlatFinding.NOT_SEEN) for one in newest)

    def _finding(self, seen: AccountView) -> FlatFinding:
        """Coins that are the grid's, or orders of its that rest: either way a bot may trade on."""
        policy = self.watch.settings.account
        balances = () if seen.reading is None else seen.reading.balances
        is_held = held_base(seen.grid, seen.position, balances, policy) > dust_base(seen.grid, policy)
        return FlatFinding.HOLDS if is_held or seen.orders else FlatFinding.CLEAR

    def _known(self, grid_id: str, said_at: datetime) -> list[FlatCheck]:
        """Checks of this report, or of this exit that was asked for, at earlier evaluations, newest first."""
        found = self.watch.decisions().flat_checks.newest(grid_id, _LOOKED_BACK, now=self.watch.now(), said_at=said_at)
        return [one for one in found if one.evaluated_at < self._evaluated_at]

    def _record(self, seen: AccountView, said_at: datetime, finding: FlatFinding, before: list[FlatCheck]) -> None:
        balances = () if seen.reading is None else seen.reading.balances
        self._write(
            seen.grid.id,
            said_at,
            finding,
            before,
            read_at=seen.at,
            base_total=base_total(seen.grid, balances),
            held_base=held_base(seen.grid, seen.position, balances, self.watch.settings.account),
            open_orders=len(seen.orders),
        )

    def _write(
        self,
        grid_id: str,
        said_at: datetime,
        finding: FlatFinding,
        before: list[FlatCheck],
        *,
        read_at: datetime,
        base_total: float | None = None,
        held_base: float | None = None,
        open_orders: int | None = None,
    ) -> None:
        """Keep what was found; the third and later of one kind in a row say nothing new."""
        is_known = len(before) > 1 and all(one.finding is finding for one in before[:2])
        if is_known and finding is not FlatFinding.HOLDS:
            return
        self.watch.decisions().flat_checks.record(
            FlatCheck(
                grid=grid_id,
                said_at=said_at,
                evaluated_at=self._evaluated_at,
                read_at=read_at,
                finding=finding,
                base_total=base_total,
                held_base=held_base,
                open_orders=open_orders,
                recorded_at=self.watch.now(),
                **self.watch.written_by,
            )
        )

    def _void(self, grid_id: str, word: ResponseRecord) -> bool:
        """Journal that the report counts no longer, and that it is to be told; once a report."""
        at = max(self._evaluated_at, word.response.at + MOMENT)
        made = [
            ResponseRecord(
                response=Response(grid=grid_id, at=at, kind=kind),
                source=ACCOUNT,
                by_whom="",
                recorded_at=self.watch.now(),
                **self.watch.written_by,
            )
            for kind in (ResponseKind.REOPENED, ResponseKind.CONTRADICTED)
        ]
        return self.watch.decisions().responses.record(made) > 0

    @property
    def _evaluated_at(self) -> datetime:
        return from_ms(self.plan.last_ms)


def contradictions(watch: Watch, grids: Mapping[str, Grid | None]) -> dict[str, Contradiction]:
    """By grid, what its account showed when it contradicted a report of flat last."""
    found = {}
    for grid_id, grid in grids.items():
        checks = watch.decisions().flat_checks.newest(grid_id, _LOOKED_BACK, now=watch.now())
        held = next((one for one in checks if one.finding is FlatFinding.HOLDS), None)
        if held is not None:
            found[grid_id] = _contradiction(watch, held, grid)
    return found


def _contradiction(watch: Watch, check: FlatCheck, grid: Grid | None) -> Contradiction:
    words = watch.decisions().responses.select(check.grid, since=check.said_at, until=check.said_at + MOMENT)
    is_verified = any(one.response.kind is ResponseKind.VERIFIED_FLAT for one in words)
    return Contradiction(
        said_at=check.said_at,
        is_by_account=is_verified,
        base="base" if grid is None else grid.symbol.split("/")[0],
        base_total=check.base_total or 0.0,
        held_base=check.held_base or 0.0,
        open_orders=check.open_orders or 0,
    )
