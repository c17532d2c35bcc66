"""The evaluation that a run judges up to: fixed once, however long the run takes."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from mm_pipeline.application.plan import floor_to_evaluation

EVALUATED_AT_TAG: Final = "mm/evaluated_at"

_MOMENTS: dict[str, int] = {}
_MOST_KEPT = 64


def evaluated_ms_of(run_id: str, tags: Mapping[str, str], now: Callable[[], datetime]) -> int:
    """The newest evaluation (epoch ms) of a run: the one its tag names, else the newest when it was first asked for.

    A run executes in one process. Without this a long run would read the clock anew in each stage, and a later stage
    would judge bars that the first one never fetched.
    """
    named = tags.get(EVALUATED_AT_TAG)
    if named and run_id not in _MOMENTS:
        return floor_to_evaluation(datetime.fromisoformat(named))
    if run_id not in _MOMENTS:
        move_run(run_id, now())
    return _MOMENTS[run_id]


def move_run(run_id: str, now: datetime) -> None:
    """Let a run judge up to the newest evaluation at a moment, whatever its tag names: its clock was wrong."""
    while len(_MOMENTS) >= _MOST_KEPT:
        _MOMENTS.pop(next(iter(_MOMENTS)))
    _MOMENTS[run_id] = floor_to_evaluation(now)
