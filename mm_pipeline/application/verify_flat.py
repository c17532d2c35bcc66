"""What an account says of an exit: that the position is closed, or that the grid trades again after it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from mm_pipeline.adapters.journal import ResponseRecord, words_in_force
from mm_pipeline.application.account_view import AccountView
from mm_pipeline.application.flat_check import ACCOUNT, MOMENT, FlatChecks
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.read_accounts import Accounts
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.account import (
    AccountFill,
    AccountPolicy,
    OpenOrder,
    base_total,
    dust_base,
    is_closed,
    is_emptied,
    traded_again_ms,
)
from mm_pipeline.domain.account.attribution import FillRole
from mm_pipeline.domain.account.fees import inventory_change_base
from mm_pipeline.domain.account.ladder import AccountLadder
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.notifications import (
    ASKS_FOR_EXIT,
    FLATS,
    SEEN_OPEN,
    TAKES_NOTHING_BACK,
    Judgement,
    Notice,
    Response,
    ResponseKind,
)


def is_exit_open(watch: Watch, grid: Grid) -> bool:
    """Whether an exit was asked for in the grid's present range, and nobody has said that it is closed."""
    told = watch.decisions().notifications.newest_told(grid.id, but=TAKES_NOTHING_BACK, kind=EvaluationKind.EXIT)
    if told is None or told.decision.notice not in ASKS_FOR_EXIT or told.decision.evaluated_at < grid.started_at:
        return False
    last = _last_word(watch, grid)
    is_later = last is not None and last.known_at >= told.decision.episode_at
    return last is None or not is_later or last.response.kind not in FLATS


def needs_check(watch: Watch, plan: Plan, grid: Grid) -> bool:
    """Whether a report that the grid is flat has not been checked yet: its account is read though it is disabled."""
    word = _last_word(watch, grid)
    if word is None or word.response.kind is not ResponseKind.FLAT:
        return False
    return not FlatChecks(watch, plan, Accounts()).is_settled(grid.id, word)


def verify_flats(watch: Watch, plan: Plan, grids: Mapping[str, Grid], accounts: Accounts) -> list[str]:
    """Journal which grids the account shows closed, which trade again, and which were reported flat and are not.

    An account alone proves any of it. That a grid is closed takes two readings in a row, or one that shows the sale and
    no coins.
    It counts from the last fill, and not from before the exit was asked for.

    Parameters
    ----------
    grids
        Whose accounts were read.

    Returns
    -------
    list of str
        Ids of those that are closed.
    """
    verified = []
    for grid_id, grid in grids.items():
        kind = accounts.attempt(f"{grid_id} (closed or not)", partial(_look, watch, plan, grid, accounts))
        verified += [grid_id] if kind is ResponseKind.VERIFIED_FLAT else []
    return verified


def alarm_about_unseen(watch: Watch, grids: Mapping[str, Grid], accounts: Accounts) -> None:
    """Tell, once a day, that a grid is not seen on its account by which it counts as closed: it may trade again."""
    for grid_id, grid in grids.items():
        verified = _verified(watch, grid)
        if grid_id in accounts.known or not grid.enabled or verified is None:
            continue
        known = accounts.problems
        problem = known.get(grid_id) or known.get(str(grid.market)) or "The settings (account) ask no account about it."
        watch.delivery().alarms.raise_about(
            f"{grid_id} unseen",
            f"ACCOUNT of {grid_id} is not seen",
            f"It showed the grid closed at {verified.response.at:%Y-%m-%d %H:%M} UTC, so exits are not paged; whether "
            f"the grid trades again is not seen now. Look at it yourself.\n\n{problem}",
        )


def reopen_unseen(watch: Watch, grid: Grid, judged: Judgement) -> None:
    """Take the account's word back that a grid is closed, where it is unseen and another mandatory trigger fires.

    The word silences what was known then. Nobody can tell whether the grid has traded since.
    """
    verified = _verified(watch, grid)
    if verified is None or judged.is_read or judged.is_sold_out or judged.evaluated_at < verified.response.at:
        return
    decided = watch.decisions().notifications.decisions(grid.id, since=grid.started_at)
    pages = [one.decision for one in decided if one.decision.is_told and one.decision.notice is Notice.MANDATORY_EXIT]
    named = {name for page in pages for name in page.triggers}
    if set(judged.mandatory) - named:
        _journal(watch, grid.id, ResponseKind.REOPENED, _after(verified, judged.evaluated_at))


def _look(watch: Watch, plan: Plan, grid: Grid, accounts: Accounts) -> ResponseKind | None:
    """Journal what the account says of one grid, where it says something new.

    What fits two grids verifies neither; it opens one again that was verified, for a page too many costs less than one
    too few, but not one whose operator says that it is flat, or each such word would be followed by a page. Such a word
    is checked by what the account holds instead.
    """
    seen, last = accounts.known.get(grid.id), _last_word(watch, grid)
    checks = FlatChecks(watch, plan, accounts)
    if seen is None:
        if last is not None and last.response.kind is ResponseKind.FLAT:
            checks.note_unseen(grid, last)
        return None
    policy, verified = watch.settings.account, _verified(watch, grid)
    word = verified if verified is not None or seen.is_contested else last
    if word is not None and word.response.kind in FLATS:
        since_ms = to_ms(word.response.at)
        again_ms = traded_again_ms(grid, seen.mine, seen.orders, seen.position, policy, since_ms=since_ms)
        if again_ms is not None:
            return _journal(watch, grid.id, ResponseKind.REOPENED, _after(last, from_ms(again_ms)))
    if last is not None and last.response.kind in FLATS:
        is_explained = _is_explained(watch, seen, accounts)
        return ResponseKind.REOPENED if checks.is_contradicted(seen, last, is_explained=is_explained) else None
    told = watch.decisions().notifications.newest_told(grid.id, but=TAKES_NOTHING_BACK, kind=EvaluationKind.EXIT)
    if told is None or not is_exit_open(watch, grid):
        return None
    asked_at = told.decision.episode_at
    is_closed_now = _is_closed(seen, policy)
    is_confirmed = checks.is_confirmed(seen, asked_at, is_closed=is_closed_now)
    if not is_closed_now or not (is_confirmed or _is_sold_since(seen, asked_at, policy)):
        return None
    closed_at = max(from_ms(_last_fill_ms(seen)), asked_at)
    return _journal(watch, grid.id, ResponseKind.VERIFIED_FLAT, _after(last, closed_at))


def _is_closed(seen: AccountView, policy: AccountPolicy) -> bool:
    """By its own fills, where they are nobody else's; or because nothing is left on the account to belong to anybody.

    A grid of which the account has no fill may be traded elsewhere: an empty account says nothing of it. Nor does one
    that lacks what its fills have bought: no sale explains it, and the answer may be a part of the account. An order at
    a level, or of an interval's size beside one, may be that of a bot that trades on.
    """
    reading, missing = seen.reading, seen.position.uncovered_base or 0.0
    sold = -sum(map(inventory_change_base, _sales_beside(seen)))
    if reading is None or missing - sold > dust_base(seen.grid, policy):
        return False
    if is_emptied(seen.grid, reading.balances, reading.orders, policy):
        return True
    ladder = AccountLadder(seen.grid, policy, reading.increments)
    if any(ladder.may_be_its_own(order) for order in _orders(seen)):
        return False
    return not seen.is_contested and is_closed(seen.grid, seen.position, reading.balances, policy)


def _orders(seen: AccountView) -> list[OpenOrder]:
    """All orders of the grid's symbol that rest on the account."""
    return [] if seen.reading is None else [one for one in seen.reading.orders if one.symbol == seen.grid.symbol]


def _is_sold_since(seen: AccountView, asked_at: datetime, policy: AccountPolicy) -> bool:
    """Whether a sale off the ladder since the exit was asked for left nothing: with it one reading is enough.

    Where coins are left a buy of the grid may be listed late: by the fills alone they are the operator's own. Where an
    order of the symbol rests a bot may trade on.
    """
    balances = () if seen.reading is None else seen.reading.balances
    if _orders(seen) or base_total(seen.grid, balances) > dust_base(seen.grid, policy):
        return False
    sales = [*seen.mine.of_role(FillRole.EXIT, FillRole.STOP), *_sales_beside(seen)]
    return any(one.time_ms >= to_ms(asked_at) for one in sales)


def _sales_beside(seen: AccountView) -> list[AccountFill]:
    """Sales that are not the grid's, since it traded last; any of its symbol where its fills count for another."""
    last_ms = max((one.time_ms for one in seen.mine.fills), default=0)
    known = () if seen.reading is None else seen.reading.fills
    beside = known if seen.is_contested else seen.mine.foreign
    return [one for one in beside if not one.is_buy and one.symbol == seen.grid.symbol and one.time_ms > last_ms]


def _is_explained(watch: Watch, seen: AccountView, accounts: Accounts) -> bool:
    """Whether what is there may be another grid's of this market, which shares levels and was not reported flat."""
    if not seen.is_contested:
        return False
    others = (one for one in accounts.known.values() if one.grid.market == seen.grid.market and one.is_contested)
    words = (_last_word(watch, one.grid) for one in others if one.grid.id != seen.grid.id)
    return any(word is None or word.response.kind not in FLATS for word in words)


def _last_fill_ms(seen: AccountView) -> int:
    """When the grid traded last, or its symbol, where the grid's fills count for another."""
    mine = seen.mine.fills or tuple(() if seen.reading is None else seen.reading.fills)
    return max((fill.time_ms for fill in mine), default=seen.grid.started_at_ms)


def _after(last: ResponseRecord | None, at: datetime) -> datetime:
    return at if last is None else max(at, last.response.at + MOMENT)


def _words(watch: Watch, grid: Grid) -> list[ResponseRecord]:
    """Reports in force that the grid is closed, or open again; those of a clock that was ahead were never made."""
    start = grid.started_at if grid.enabled else None  # editing a disabled grid takes no word back
    given, now = watch.decisions().responses.select(grid.id, known_since=start), watch.now()
    return words_in_force((one for one in given if one.known_at <= now), started_at=start)


def _last_word(watch: Watch, grid: Grid) -> ResponseRecord | None:
    words = _words(watch, grid)
    return words[-1] if words else None


def _verified(watch: Watch, grid: Grid) -> ResponseRecord | None:
    """The account's word that silences its exits: that it is closed, with nothing told or seen against it since."""
    newest = None
    for word in _words(watch, grid):
        if word.response.kind is ResponseKind.VERIFIED_FLAT:
            newest = word
        elif word.response.kind in SEEN_OPEN:
            newest = None
    if newest is None:
        return None
    told = watch.decisions().notifications.decisions(grid.id, since=grid.started_at)
    exits = (one for one in told if one.decision.is_told and one.decision.notice in ASKS_FOR_EXIT)
    is_spent = any(one.decided_at >= newest.known_at for one in exits)
    return None if is_spent else newest


def _journal(watch: Watch, grid_id: str, kind: ResponseKind, at: datetime) -> ResponseKind | None:
    response = Response(grid=grid_id, at=at, kind=kind)
    answer = ResponseRecord(response=response, source=ACCOUNT, by_whom="", recorded_at=watch.now(), **watch.written_by)
    return kind if watch.decisions().responses.record([answer]) else None
