"""What one run evaluates: which grids under which versions, at which evaluations, from which bars. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mm_pipeline.adapters.journal import GridHistoryRow
from mm_pipeline.adapters.journal.grid_versions import as_versions
from mm_pipeline.domain.grid import Grid, GridVersion
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.months import previous_month

_NEVER = datetime.fromisoformat("9999-01-01T00:00:00Z")
_NEVER_MS = to_ms(_NEVER)


@dataclass(frozen=True)
class WatchedGrid:
    """A grid as the journal knows it.

    Attributes
    ----------
    versions
        Declarations, oldest first, and where the file went; empty where it could never be read.
    """

    grid_id: str
    versions: tuple[GridVersion, ...]

    @classmethod
    def from_history(cls, grid_id: str, rows: Sequence[GridHistoryRow]) -> WatchedGrid:
        """Read a grid's journalled history, in the order in which it was seen.

        What was seen later counts from its moment on, also where the clock had been ahead when another was seen before.
        """
        valid = [row.valid_from for row in rows]
        rows = [row for number, row in enumerate(rows) if row.valid_from < min(valid[number + 1 :], default=_NEVER)]
        return cls(grid_id, as_versions(rows))

    @classmethod
    def undated(cls, grid: Grid) -> WatchedGrid:
        """A grid that the journal has not seen: its declaration holds from its start."""
        return cls(grid.id, (GridVersion(grid, grid.started_at),))

    def at_ticks(self, ticks: Mapping[Market, float]) -> WatchedGrid:
        """The grid with the ladder of each declaration at its market's price steps, as far as they are known."""
        at = [replace(version, grid=version.grid.at_tick(ticks.get(version.grid.market))) for version in self.versions]
        return replace(self, versions=tuple(at))

    def in_force(self, first_ms: int, last_ms: int) -> list[Grid]:
        """Declarations that some evaluation in ``[first_ms, last_ms]`` uses.

        An enabled grid is in force before it starts too, and without its file: it is not watched then, and says so.
        """
        valid_ms = [to_ms(version.valid_from) for version in self.versions]
        found = []
        for version, start in zip(self.versions, valid_ms, strict=True):
            grid, end = version.grid, min((other for other in valid_ms if other > start), default=_NEVER_MS)
            begins = start if grid.enabled else max(start, grid.started_at_ms)
            is_evaluated = grid.enabled or not version.is_gone
            if is_evaluated and begins <= last_ms and end > first_ms and begins < end:
                found.append(grid)
        return found

    @property
    def markets(self) -> tuple[Market, ...]:
        """Markets of all declarations, sorted."""
        return tuple(sorted({version.grid.market for version in self.versions}))

    def hashes(self, market: Market) -> list[str]:
        """Version hashes of the declarations that trade a market."""
        return [version.grid.version_hash for version in self.versions if version.grid.market == market]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run's task.

    Attributes
    ----------
    start, end
        Months that are materialized, by open time of the bar.
    evaluated_ms
        The newest evaluation that the run may make.
    first_ms, last_ms
        Evaluations that are asked for, both included; none where ``last_ms < first_ms``.
    context_ms
        First evaluation that is looked at, so that runs of triggers are seen (``since``).
    is_live
        Whether the run journals what it decides.
    grids
        Grids with an evaluation between ``context_ms`` and ``last_ms``.
    bars_from_ms
        Per market, open time of the first bar that evaluations look at.
    drawn_from_ms
        Per market, open time of the first bar that its risk is drawn from; that of ``bars_from_ms`` where none is.
    candles_from_ms
        Per market, open time of the first candle that is kept: that of ``drawn_from_ms`` at the latest.
    """

    start: datetime
    end: datetime
    evaluated_ms: int
    first_ms: int
    last_ms: int
    context_ms: int
    is_live: bool
    grids: tuple[WatchedGrid, ...]
    bars_from_ms: Mapping[Market, int]
    drawn_from_ms: Mapping[Market, int]
    candles_from_ms: Mapping[Market, int]

    @property
    def evaluated_at(self) -> datetime:
        """The newest evaluation that the run may make."""
        return from_ms(self.evaluated_ms)

    @property
    def markets(self) -> tuple[Market, ...]:
        """Markets that are watched, sorted."""
        return tuple(sorted(self.bars_from_ms))

    @property
    def bars_until_ms(self) -> int:
        """Open time before which bars are needed: only those closed by the newest evaluation."""
        return min(to_ms(self.end), self.evaluated_ms)


def floor_to_evaluation(at: datetime) -> int:
    """The newest evaluation (epoch ms) at or before a moment."""
    return to_ms(at) // Timeframe.M15.ms * Timeframe.M15.ms


def make_plan(
    *,
    start: datetime,
    end: datetime,
    evaluated_ms: int,
    is_live: bool,
    grids: Iterable[WatchedGrid],
    extra_markets: Iterable[Market],
    since_window_ms: int,
    warm_up_ms: int,
    risk_ms: int = 0,
) -> Plan:
    """Plan a run over ``[start, end)``.

    Bars are needed from ``warm_up_ms`` before the earliest moment that an evaluation looks at: ``since_window_ms``
    before the first evaluation, or the start of a grid that is in force. Markets of enabled grids need candles from
    ``risk_ms`` before that moment, as P(stop) is a trigger. A run that is not live needs those of the month before
    too: notifications remember it.
    """
    first_ms = to_ms(start) + Timeframe.M15.ms
    last_ms = min(to_ms(end), evaluated_ms)
    context_ms = first_ms - since_window_ms
    needed_ms = dict.fromkeys(extra_markets, context_ms)
    at_risk: set[Market] = set()
    watched = []
    for grid in grids:
        declarations = grid.in_force(context_ms, max(last_ms, first_ms))
        for declaration in declarations:
            needed = needed_ms.get(declaration.market, context_ms)
            needed_ms[declaration.market] = min(needed, declaration.started_at_ms)
            if declaration.enabled:
                at_risk.add(declaration.market)
        if declarations or not grid.versions:
            watched.append(grid)
    step = Timeframe.H4.ms
    bars_from_ms = {market: (needed - warm_up_ms) // step * step for market, needed in sorted(needed_ms.items())}
    drawn_from_ms = {
        market: min(needed, (context_ms - risk_ms) // step * step) if market in at_risk else needed
        for market, needed in bars_from_ms.items()
    }
    remembered_ms = to_ms(previous_month(start)) - since_window_ms  # by a run that is not live
    back_ms = {market: max(warm_up_ms, risk_ms if market in at_risk else 0) for market in bars_from_ms}
    return Plan(
        start=start,
        end=end,
        evaluated_ms=evaluated_ms,
        first_ms=first_ms,
        last_ms=last_ms,
        context_ms=context_ms,
        is_live=is_live,
        grids=tuple(watched),
        bars_from_ms=bars_from_ms,
        drawn_from_ms=drawn_from_ms,
        candles_from_ms={
            market: drawn if is_live else min(drawn, (remembered_ms - back_ms[market]) // step * step)
            for market, drawn in drawn_from_ms.items()
        },
    )
