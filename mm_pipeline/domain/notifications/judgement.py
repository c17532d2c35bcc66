"""One grid at one evaluation, as far as deciding about notifications asks: plain values made of a frame of states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import polars as pl

from mm_pipeline.domain.account import PositionSource
from mm_pipeline.domain.exit_state import MANDATORY
from mm_pipeline.domain.failed_fetches import FAILED_FETCHES
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications.policy import NotifyPolicy
from mm_pipeline.domain.position.trading import GridLadder

EXIT: Final = "exit"
ENTRY: Final = "entry"
UNKNOWN: Final = "UNKNOWN"
ABOVE_GRID: Final = "ABOVE_GRID"
MANDATORY_EXIT: Final = "MANDATORY_EXIT"
NORMAL: Final = "NORMAL"
STOP: Final = "stop_loss_breached"

_ASKED: Final = frozenset({PositionSource.EXCHANGE.value, PositionSource.IMPORT.value})
_POSITION: Final[dict[str, pl.DataType]] = {"inventory_base": pl.Float64(), "source": pl.String()}
_VARYING = re.compile(r"\d[\d.,:-]*")
_MARKET = re.compile(r"[a-z0-9]+:[A-Z0-9]+/[A-Z0-9]+|\b[A-Z0-9]+/[A-Z0-9]+\b")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What was said of a grid at an evaluation.

    Attributes
    ----------
    kind
        ``exit`` of an enabled grid, ``entry`` of a disabled one.
    started_at
        Start of the range that was judged; None where the grid's file could never be read.
    mandatory
        Mandatory triggers that have fired. A breached stop is named with its price: ``stop_loss_breached@2850``, as the
        breach of an edited stop is news.
    is_sold_out
        Whether price is above the grid and nothing is held.
    is_held
        Whether more than dust is known to be held, or an account or import leaves it open.
    is_read
        Whether an account or import told the position.
    blind_for
        Evaluations in a row, with this one, for which a failed fetch has kept back the newest bar; 0 where the
        row does not say.
    last_known_state
        Of an UNKNOWN grid; else None.
    cause
        Why it is UNKNOWN, the same text for all grids that are blind for one cause; else empty.
    """

    grid: str
    kind: str
    evaluated_at: datetime
    started_at: datetime | None
    state: str
    mandatory: tuple[str, ...] = ()
    is_sold_out: bool = False
    is_held: bool = False
    is_read: bool = False
    blind_for: int = 0
    last_known_state: str | None = None
    cause: str = ""

    @property
    def range_start(self) -> datetime | None:
        """Start of the range in which the grid trades; None where that is not known, or it is disabled."""
        return None if self.kind == ENTRY else self.started_at


def judged_in(
    states: pl.DataFrame,
    grids: Mapping[str, Grid],
    policy: NotifyPolicy,
    *,
    kind: str,
    earlier: Iterable[EarlierPosition] = (),
) -> list[Judgement]:
    """Read a frame of exit or entry states, row for row.

    A grid above its range holds nothing in the model: its price has touched the highest level, where the last interval
    sells. One whose stop was touched neither: the model sells everything there. Where the states carry a position
    (``risk``), that of an account may be another. What an account or import showed to be held in an emergency, or
    before the stop was touched, counts as held until it is read again: where the model's position stands in for it,
    nothing is known. So does what it showed above the grid while price stays there.

    Parameters
    ----------
    states
        Exit states (``kind`` exit) or entry states (entry), ascending by ``evaluated_at``.
    grids
        Declarations by ``version_hash``.
    policy
        How much of an interval counts as nothing held.
    earlier
        Positions before the first row, ascending: what an account showed last may lie there.
    """
    is_unknown = pl.col("state") == UNKNOWN
    columns = [
        *("grid", "evaluated_at", "state", "grid_version"),
        pl.when(is_unknown).then("reasons").alias("reasons"),
        *(pl.col(name).struct.field("fired").fill_null(False).alias(name) for name in _mandatory(states)),
        _breached_stop(states).alias("breached_stop"),
        _or_null(states, "position_health"),
        *(_of_position(states, name, kind) for name, kind in _POSITION.items()),
        _or_null(states, FAILED_FETCHES, pl.Int64()),
        pl.when(is_unknown).then(_or_null(states, "last_known_state")).alias("last_known_state"),
    ]
    readings = _Readings(grids, policy)
    for position in earlier:
        readings.holds(vars(position))
    made: list[Judgement] = []
    for row in states.select(columns).rows(named=True):
        has_some = readings.holds(row)
        made.append(_judged(row, grids.get(row["grid_version"]), kind, has_some=has_some))
    return made


@dataclass(frozen=True, kw_only=True)
class EarlierPosition:
    """What was said of a grid's position at an evaluation; ``source`` None where nothing was."""

    state: str
    grid_version: str
    inventory_base: float | None
    source: str | None
    position_health: str | None = None


@dataclass(frozen=True)
class _Reading:
    """Whether an account or import showed inventory when it was read last, and in what moment that was."""

    grid: Grid | None
    is_held: bool
    is_in_emergency: bool
    is_above: bool


class _Readings:
    """Positions in their order, with what an account or import showed last."""

    def __init__(self, grids: Mapping[str, Grid], policy: NotifyPolicy) -> None:
        self._grids = grids
        self._policy = policy
        self._last: _Reading | None = None
        self._state_before = ""

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Whether more than dust is held at a row, or may be held there yet."""
        grid = self._grids.get(row["grid_version"])
        has_some = is_held(row["inventory_base"], row["source"], grid, self._policy)
        if row["source"] in _ASKED:
            is_above = row["position_health"] == ABOVE_GRID
            self._last = _Reading(grid, has_some, self._is_in_emergency(row["state"]), is_above)
        elif self._last is not None:
            has_some = has_some or self._may_hold_still(row, grid, self._last)
        self._state_before = row["state"]
        return has_some

    def _may_hold_still(self, row: Mapping[str, Any], grid: Grid | None, last: _Reading) -> bool:
        """Whether what the account held at its last reading may be there yet, whatever the model says.

        In an emergency, above the grid, and where the stop was touched since: that the stop or the highest level has
        sold is the model's word alone.
        """
        is_above = last.is_above and row["position_health"] == ABOVE_GRID
        may_be = last.is_in_emergency or is_above or bool(row.get(STOP))
        return last.is_held and may_be and _is_same_range(last.grid, grid)

    def _is_in_emergency(self, state: str) -> bool:
        """Whether an emergency began before this evaluation, or with it, and two that say NORMAL have not ended it."""
        if state == MANDATORY_EXIT:
            return True
        is_calm = NORMAL == state == self._state_before
        return self._last is not None and self._last.is_held and self._last.is_in_emergency and not is_calm


def _is_same_range(before: Grid | None, now: Grid | None) -> bool:
    return before is None or now is None or before.started_at == now.started_at


def _judged(row: dict[str, Any], grid: Grid | None, kind: str, *, has_some: bool) -> Judgement:
    return Judgement(
        grid=row["grid"],
        kind=kind,
        evaluated_at=row["evaluated_at"],
        started_at=None if grid is None else grid.started_at,
        state=row["state"],
        mandatory=tuple(_named(name, row["breached_stop"]) for name in MANDATORY if row.get(name)),
        is_sold_out=row["position_health"] == ABOVE_GRID and not has_some,
        is_held=has_some,
        is_read=row["source"] in _ASKED,
        blind_for=(row[FAILED_FETCHES] or 0) if row["state"] == UNKNOWN else 0,
        last_known_state=row["last_known_state"],
        cause="" if row["reasons"] is None else _cause_of(row["reasons"], grid),
    )


def is_held(inventory_base: float | None, source: str | None, grid: Grid | None, policy: NotifyPolicy) -> bool:
    """Whether more than dust is held.

    Without a figure the model's word counts: nothing is held above the grid, or below a breached stop. Where an
    account or an import was asked and gave no figure, the position is not known, and counts as held.
    """
    if inventory_base is None:
        return source in _ASKED
    if not inventory_base or grid is None:
        return bool(inventory_base)
    return inventory_base > policy.sold_out.dust_share * _smallest_base(grid)


@lru_cache(maxsize=64)
def _smallest_base(grid: Grid) -> float:
    """Quantity of the smallest interval, in base; asked for at every row of a frame."""
    return float(GridLadder.of(grid).quantity_base.min())


def _cause_of(reasons: list[str], grid: Grid | None) -> str:
    """The first reason without what differs from market to market, and the exchange it concerns."""
    first = reasons[0] if reasons else ""
    place = grid.exchange if grid is not None else ""
    return f"{place}: {_VARYING.sub('#', _MARKET.sub('*', first))}"


def _of_position(states: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Expr:
    risk = states.schema.get("risk")
    is_there = isinstance(risk, pl.Struct) and name in {field.name for field in risk.fields}
    known = pl.col("risk").struct.field(name) if is_there else pl.lit(None, dtype=kind)
    return known.alias(name)


def _mandatory(states: pl.DataFrame) -> list[str]:
    return [name for name in MANDATORY if name in states.columns]


def _breached_stop(states: pl.DataFrame) -> pl.Expr:
    """The stop that the trigger was measured against (quote), where the states tell it."""
    trigger = states.schema.get(STOP)
    is_there = isinstance(trigger, pl.Struct) and "threshold" in {field.name for field in trigger.fields}
    return pl.col(STOP).struct.field("threshold") if is_there else pl.lit(None, dtype=pl.Float64)


def _named(trigger: str, stop: float | None) -> str:
    return f"{trigger}@{stop:.12g}" if trigger == STOP and stop is not None else trigger


def _or_null(states: pl.DataFrame, name: str, kind: pl.DataType | None = None) -> pl.Expr:
    return pl.col(name) if name in states.columns else pl.lit(None, dtype=kind or pl.String()).alias(name)
