"""What a tick says of the storage that it works on: too little room, and an outage that is over."""

from __future__ import annotations

from collections.abc import Sequence

from mm_pipeline.adapters.last_resort import RoomState
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import CandlesLost, ExchangeError, FrameUnreadable
from mm_pipeline.domain.notifications import TEXT_LIMIT

_LOW = "disk is almost full"
_FULL = "disk was full"
_TITLES = {RoomState.LOW: "DISK ALMOST FULL: make room", RoomState.RELEASED: "DISK FULL: the reserve is in use"}


def warn_of_low_disk(watch: Watch) -> None:
    """Raise an alarm, once a day, well before the disk is full; give up the reserve where it is."""
    room = watch.storage_guard().room
    state = room.check()
    if state is RoomState.ENOUGH:
        return
    text = (
        f"{room.free_mb:.0f} MB are free where {room.home} lies; below {room.policy.warn_free_mb} MB you are warned. "
        "With none left no page can be sent. Free disk space, or point MM_HOME to another disk."
    )
    title = _TITLES.get(state, "DISK FULL: make room now")
    watch.delivery().alarms.raise_about(_LOW if state is RoomState.LOW else _FULL, title, text)


def note_recovery(watch: Watch) -> None:
    """Note that journal and disk work, and say so where their outage was told."""
    ended = watch.storage_guard().resort.end()
    if ended is not None:
        watch.delivery().alarms.raise_about(
            f"outage since {ended.since.isoformat()}",
            "The watch works again",
            f"Journal and disk failed from {ended.since:%Y-%m-%d %H:%M} UTC on. Grids are judged and paged again.",
        )


def warn_of_losses(watch: Watch) -> None:
    """Raise an alarm, once a day and market, where stored candles were damaged or deleted: a disk may be dying."""
    for market, losses in watch.losses.items():
        watch.delivery().alarms.raise_about(
            f"stored candles of {market}",
            f"STORED CANDLES LOST: {market}",
            f"{market}: {'; '.join(losses)}. They are asked for again. Check the disk.\n"[:TEXT_LIMIT],
        )


def warn_of_unreadable(watch: Watch, name: str, problem: FrameUnreadable) -> None:
    """Raise an alarm, once a day and file, where rows of a tick could not be stored: a disk may be dying."""
    watch.delivery().alarms.raise_about(
        f"stored {name}",
        f"NOT STORED: {name}",
        f"{problem}\nThe tick went on without; nothing was written in its place."[:TEXT_LIMIT],
    )


def with_losses(problem: ExchangeError, losses: Sequence[str]) -> ExchangeError:
    """Why a market's candles could not be had, with what is missing of those that were stored."""
    if not losses:
        return problem
    return CandlesLost(f"{'; '.join(losses)}. They could not be had again: {problem.problem}", problem.hint)
