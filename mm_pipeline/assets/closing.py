"""What an account says of an exit: that the position is closed, or that the grid trades again after it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from mm_pipeline.adapters.clock import from_ms, to_ms
from mm_pipeline.adapters.journal import Answer, EvaluationKind
from mm_pipeline.assets.account_reading import Accounts
from mm_pipeline.assets.accounts import Seen
from mm_pipeline.domain.account import PositionSource, is_closed, traded_again_ms
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications import ASKS_FOR_EXIT, FLATS, Notice, Response, ResponseKind
from mm_pipeline.resources import Watch

ACCOUNT = "account"
"""Source of an answer that the exchange's account gave."""
_MOMENT = timedelta(milliseconds=1)


def is_exit_open(watch: Watch, grid: Grid) -> bool:
    """Whether an exit was asked for in the grid's present range, and nobody has said that it is closed."""
    told = watch.decisions().notifications.newest_told(grid.id, but=Notice.UNKNOWN, kind=EvaluationKind.EXIT)
    if told is None or told.decision.notice not in ASKS_FOR_EXIT or told.decision.evaluated_at < grid.started_at:
        return False
    last = _last_word(watch, grid.id, since=told.decision.episode_at)
    return last is None or last.kind not in FLATS


def verify_flats(watch: Watch, seen: Mapping[str, Seen], accounts: Accounts) -> list[str]:
    """Journal which grids the account shows closed whose exit was asked for, and which trade again; ids of the former.

    An account alone proves either. Closed counts from the last fill, and not from before the exit was asked for.
    """
    verified = []
    for grid_id, one in seen.items():
        if one.source is PositionSource.EXCHANGE:
            kind = accounts.attempt(f"{grid_id} (closed or not)", partial(_look, watch, one))
            verified += [grid_id] if kind is ResponseKind.VERIFIED_FLAT else []
    return verified


def alarm_about_unseen(watch: Watch, grids: Mapping[str, Grid], seen: Mapping[str, Seen], accounts: Accounts) -> None:
    """Tell, once a day, that a grid is not seen on its account by which it counts as closed: it may trade again."""
    for grid_id, grid in grids.items():
        verified = _verified(watch, grid)
        is_seen = grid_id in seen and seen[grid_id].source is PositionSource.EXCHANGE
        if is_seen or not grid.enabled or verified is None:
            continue
        known = accounts.problems
        problem = known.get(grid_id) or known.get(str(grid.market)) or "The settings (account) ask no account about it."
        watch.delivery().alarms.raise_about(
            f"{grid_id} unseen",
            f"ACCOUNT of {grid_id} is not seen",
            f"It showed the grid closed at {verified.at:%Y-%m-%d %H:%M} UTC, so exits are not paged; whether the grid "
            f"trades again is not seen now. Look at it yourself.\n\n{problem}",
        )


def _look(watch: Watch, seen: Seen) -> ResponseKind | None:
    """Journal what the account says of one grid, where it says something new.

    What fits two grids verifies neither; it opens one again that was verified, for a page too many costs less than one
    too few, but not one whose operator says that it is flat, or each such word would be followed by a page.
    """
    grid, policy = seen.grid, watch.settings.account
    last, verified = _last_word(watch, grid.id, since=grid.started_at), _verified(watch, grid)
    word = verified if verified is not None or seen.is_contested else last
    if word is not None and word.kind in FLATS:
        again_ms = traded_again_ms(grid, seen.mine, seen.orders, seen.position, policy, since_ms=to_ms(word.at))
        if again_ms is not None:
            at = from_ms(again_ms) if last is None else max(from_ms(again_ms), last.at + _MOMENT)
            return _journal(watch, grid.id, ResponseKind.REOPENED, at)
    balances = () if seen.reading is None else seen.reading.balances
    if seen.is_contested or not is_exit_open(watch, grid) or not is_closed(grid, seen.position, balances, policy):
        return None
    told = watch.decisions().notifications.newest_told(grid.id, but=Notice.UNKNOWN, kind=EvaluationKind.EXIT)
    closed_at = from_ms(max(fill.time_ms for fill in seen.mine.fills))
    if told is not None:
        closed_at = max(closed_at, told.decision.episode_at)
    if last is not None:
        closed_at = max(closed_at, last.at + _MOMENT)
    return _journal(watch, grid.id, ResponseKind.VERIFIED_FLAT, closed_at)


def _words(watch: Watch, grid_id: str, since: datetime) -> list[Answer]:
    """Reports that the grid is closed, or open again."""
    given = watch.decisions().responses.select(grid_id, since=since)
    return [one for one in given if one.response.kind in {*FLATS, ResponseKind.REOPENED}]


def _last_word(watch: Watch, grid_id: str, *, since: datetime) -> Response | None:
    words = _words(watch, grid_id, since)
    return words[-1].response if words else None


def _verified(watch: Watch, grid: Grid) -> Response | None:
    """The account's word that silences its exits: that it is closed, with nothing told or seen against it since."""
    newest = None
    for word in _words(watch, grid.id, grid.started_at):
        if word.response.kind is ResponseKind.VERIFIED_FLAT:
            newest = word
        elif word.response.kind is ResponseKind.REOPENED:
            newest = None
    if newest is None:
        return None
    told = watch.decisions().notifications.decisions(grid.id, since=grid.started_at)
    exits = (one for one in told if one.decision.is_told and one.decision.notice in ASKS_FOR_EXIT)
    is_spent = any(one.decided_at >= newest.known_at for one in exits)
    return None if is_spent else newest.response


def _journal(watch: Watch, grid_id: str, kind: ResponseKind, at: datetime) -> ResponseKind | None:
    response = Response(grid=grid_id, at=at, kind=kind)
    answer = Answer(response=response, source=ACCOUNT, by_whom="", recorded_at=watch.now(), **watch.written_by)
    return kind if watch.decisions().responses.record([answer]) else None
