"""Which declaration of a grid is in force at each bar of its range. What bars make of it does not belong here.

A range is what one ``started_at`` on one market declares; its stop and bounds may be edited while it runs. A bar is
judged by what was in force at it, so that an edit makes no past low a breach and heals none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np

from mm_pipeline.domain.arrays import Bools, Floats, Times
from mm_pipeline.domain.grid import Grid, GridVersion, to_epoch_ms
from mm_pipeline.domain.market import Timeframe

_ALWAYS_MS: Final = np.iinfo(np.int64).min


@dataclass(frozen=True)
class RangePiece:
    """A stretch of a range under one declaration.

    Attributes
    ----------
    from_ms
        First moment (epoch ms) at which it is in force; the next piece ends it.
    grid
        Bounds and stop.
    is_on
        Whether the grid was enabled: what happens while it is off fires nothing, then or later.
    """

    from_ms: int
    grid: Grid
    is_on: bool


@dataclass(frozen=True)
class RangeHistory:
    """The pieces of one range, oldest first; the first reaches back without an end.

    So a range that was written down late (``started_at`` before its first version) is judged by its own bounds from its
    start on, and not by those of the range before it.
    """

    pieces: tuple[RangePiece, ...]

    @classmethod
    def of(cls, versions: Sequence[GridVersion], grid: Grid) -> RangeHistory:
        """The history of the range that ``grid`` declares.

        Where another range was declared in between (a slip that was put right), this one ran on under its last
        declaration; where that other one was disabled, this one was off.

        Parameters
        ----------
        versions
            All versions of the grid, by ``valid_from``.
        """
        pieces: list[RangePiece] = []
        for version in versions:
            from_ms = to_epoch_ms(version.valid_from)
            if is_same_range(version.grid, grid):
                pieces.append(RangePiece(from_ms, version.grid, version.grid.enabled))
            elif pieces and not version.grid.enabled:
                pieces.append(RangePiece(from_ms, pieces[-1].grid, is_on=False))
        first = pieces[0]
        return cls((RangePiece(int(_ALWAYS_MS), first.grid, first.is_on), *pieces[1:]))

    def stops_at(self, times_ms: Times) -> Floats:
        """Stop in force at each time (quote); NaN where there was none."""
        stops = [np.nan if piece.grid.stop_loss is None else piece.grid.stop_loss for piece in self.pieces]
        return self._values(stops, times_ms)

    def stop_edits_at(self, times_ms: Times) -> Times:
        """How often the stop had been edited by each time."""
        stops = [piece.grid.stop_loss for piece in self.pieces]
        edits: Times = np.cumsum([before != after for before, after in zip([stops[0], *stops], stops, strict=False)])
        found: Times = edits[self._index(times_ms)]
        return found

    def uppers_at(self, times_ms: Times) -> Floats:
        """Upper bound in force at each time (quote)."""
        return self._values([piece.grid.upper for piece in self.pieces], times_ms)

    def lowers_at(self, times_ms: Times) -> Floats:
        """Lower bound in force at each time (quote)."""
        return self._values([piece.grid.lower for piece in self.pieces], times_ms)

    def is_on_at(self, times_ms: Times) -> Bools:
        """Whether the grid was enabled at each time."""
        is_on = np.array([piece.is_on for piece in self.pieces], dtype=np.bool_)
        found: Bools = is_on[self._index(times_ms)]
        return found

    def is_on_through(self, opened_ms: Times, closed_ms: Times) -> Bools:
        """Whether the grid was enabled during the whole of each bar, its close excluded."""
        if all(piece.is_on for piece in self.pieces):
            return np.ones(len(opened_ms), dtype=bool)
        off = np.cumsum([not piece.is_on for piece in self.pieces])
        first, last = self._index(opened_ms), self._index(closed_ms - 1)
        is_unbroken: Bools = off[last] == off[first]
        return is_unbroken & self.is_on_at(opened_ms)

    def first_evaluations(self, started_at_ms: int) -> Times:
        """First evaluation (epoch ms) under each piece that is on; none of one that ended before it."""
        step = Timeframe.M15.ms
        begun = [-(-max(piece.from_ms, started_at_ms) // step) * step for piece in self.pieces if piece.is_on]
        numbers = [number for number, piece in enumerate(self.pieces) if piece.is_on]
        times: Times = np.array(begun, dtype=np.int64)
        is_in_force = self._index(times) == np.array(numbers, dtype=np.int64)
        found: Times = times[is_in_force]
        return found

    def signature(self, at_ms: int) -> str:
        """What of the history an evaluation at ``at_ms`` may have looked at; empty where nothing was edited by then."""
        seen = [piece for piece in self.pieces if piece.from_ms <= at_ms]
        if len(seen) == 1:
            return ""
        return "|".join(f"{piece.from_ms}:{piece.grid.version_hash}:{piece.is_on}" for piece in seen)

    def _index(self, times_ms: Times) -> Times:
        from_ms = np.array([piece.from_ms for piece in self.pieces], dtype=np.int64)
        index: Times = np.searchsorted(from_ms, times_ms, side="right") - 1
        return index

    def _values(self, values: Sequence[float], times_ms: Times) -> Floats:
        if len(values) == 1:
            return np.full(len(times_ms), values[0])
        found: Floats = np.array(values, dtype=np.float64)[self._index(times_ms)]
        return found


def is_same_range(one: Grid, other: Grid) -> bool:
    """Whether two declarations are of one range."""
    return one.started_at == other.started_at and one.market == other.market


def by_valid_from(versions: Sequence[GridVersion]) -> list[GridVersion]:
    """Versions in the order in which they came into force."""
    return sorted(versions, key=lambda version: version.valid_from)


def evaluations_by_version(versions: Sequence[GridVersion], asked_ms: Times) -> list[tuple[GridVersion, Times]]:
    """Which of some evaluations (epoch ms, ascending) there are under each version, in the order of the versions.

    There is none before the ``started_at`` of the version in force, but those of an enabled grid that starts more than
    a bar later; and none where a grid that was not enabled has no file.
    """
    ordered = by_valid_from(versions)
    starts = [to_epoch_ms(version.valid_from) for version in ordered]
    ends = [*starts[1:], np.iinfo(np.int64).max][: len(starts)]
    return [
        (version, asked_ms[(asked_ms >= start) & (asked_ms < end) & _is_due(version, asked_ms)])
        for version, start, end in zip(ordered, starts, ends, strict=True)
    ]


def _is_due(version: GridVersion, asked_ms: Times) -> Bools:
    grid = version.grid
    if version.is_gone and not grid.enabled:
        return np.zeros(len(asked_ms), dtype=bool)
    is_started = asked_ms >= grid.started_at_ms
    if not grid.enabled:
        return is_started
    return is_started | (asked_ms < grid.started_at_ms - Timeframe.M15.ms)


def watched_anew_at(versions: Sequence[GridVersion], at: datetime) -> datetime | None:
    """Latest moment by ``at`` from which a grid is another than before; None where it always was the same.

    Its market changed, whatever its ``started_at``, or its file came back after the grid was retired. What was told and
    answered before is of a position that was left. A disabled grid whose file is away for a while is the same grid.
    """
    known = [version for version in by_valid_from(versions) if version.valid_from <= at]
    anew = [after.valid_from for before, after in pairwise(known) if _is_another(before, after)]
    return anew[-1] if anew else None


def _is_another(before: GridVersion, after: GridVersion) -> bool:
    return before.grid.market != after.grid.market or (before.is_retired and not after.is_gone)
