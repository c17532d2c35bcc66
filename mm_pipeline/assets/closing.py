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
        if one.source is PositionSource.EXCHANGE and not one.is_contested:
            kind = accounts.attempt(f"{grid_id} (closed or not)", partial(_look, watch, one))
            verified += [grid_id] if kind is ResponseKind.VERIFIED_FLAT else []
    return verified


def alarm_about_unread(watch: Watch, grids: Mapping[str, Grid], accounts: Accounts) -> None:
    """Tell, once a day, that an account cannot be read by which a grid counts as closed: it may trade again unseen."""
    for grid_id, grid in grids.items():
        last = _last_word(watch, grid_id, since=grid.started_at)
        is_read = grid.market in accounts.readings
        if is_read or not grid.enabled or last is None or last.kind is not ResponseKind.VERIFIED_FLAT:
            continue
        problem = accounts.problems.get(str(grid.market), "No account of its exchange is configured any more.")
        watch.delivery().alarms.raise_about(
            f"{grid_id} unread",
            f"ACCOUNT of {grid_id} cannot be read",
            f"It showed the grid closed at {last.at:%Y-%m-%d %H:%M} UTC, so exits are not paged; whether the grid "
            f"trades again is not seen now.\n\n{problem}",
        )


def _look(watch: Watch, seen: Seen) -> ResponseKind | None:
    """Journal what the account says of one grid, where it says something new."""
    grid, policy = seen.grid, watch.settings.account
    last = _last_word(watch, grid.id, since=grid.started_at)
    if last is not None and last.kind in FLATS:
        again_ms = traded_again_ms(grid, seen.mine, seen.orders, seen.position, policy, since_ms=to_ms(last.at))
        if again_ms is not None:
            return _journal(watch, grid.id, ResponseKind.REOPENED, from_ms(again_ms))
    balances = () if seen.reading is None else seen.reading.balances
    if not is_exit_open(watch, grid) or not is_closed(grid, seen.position, balances, policy):
        return None
    told = watch.decisions().notifications.newest_told(grid.id, but=Notice.UNKNOWN, kind=EvaluationKind.EXIT)
    closed_at = from_ms(max(fill.time_ms for fill in seen.mine.fills))
    if told is not None:
        closed_at = max(closed_at, told.decision.episode_at)
    if last is not None:
        closed_at = max(closed_at, last.at + _MOMENT)
    return _journal(watch, grid.id, ResponseKind.VERIFIED_FLAT, closed_at)


def _last_word(watch: Watch, grid_id: str, *, since: datetime) -> Response | None:
    """The newest report that the grid is closed, or open again."""
    given = (answer.response for answer in watch.decisions().responses.select(grid_id, since=since))
    about = [one for one in given if one.kind in FLATS or one.kind is ResponseKind.REOPENED]
    return about[-1] if about else None


def _journal(watch: Watch, grid_id: str, kind: ResponseKind, at: datetime) -> ResponseKind | None:
    response = Response(grid=grid_id, at=at, kind=kind)
    answer = Answer(response=response, source=ACCOUNT, by_whom="", recorded_at=watch.now(), **watch.written_by)
    return kind if watch.decisions().responses.record([answer]) else None
