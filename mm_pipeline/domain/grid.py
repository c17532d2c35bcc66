"""A grid as its operator declares it, and its price levels. What bars make of a grid does not belong here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.policy import Policy, threshold

_OPERATOR = "the operator's grid file"
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAR = timedelta(minutes=15)
"""A grid may be declared for the next evaluation; later is a slip of the zone or the year."""
_LEAST_TICKS = 2
"""Price steps that an interval spans at least: at one, each fill moves the other side's price by the whole interval."""
_HAIR = 1e-9
# No exchange is older, and a start centuries away would ask for as many years of candles.
_EARLIEST_START = datetime(2010, 1, 1, tzinfo=UTC)
_LATEST_START = datetime(2100, 1, 1, tzinfo=UTC)


def _started_at_in_utc(value: datetime) -> datetime:
    hint = "write a time like 2025-01-31T00:00:00Z"
    if value.utcoffset() is None:
        raise ValueError(f"{value.isoformat()} has no UTC offset; {hint}")
    if not _EARLIEST_START <= value < _LATEST_START:
        raise ValueError(f"{value.isoformat()} is outside {_EARLIEST_START.year}..{_LATEST_START.year - 1}; {hint}")
    if value.microsecond % 1000:
        raise ValueError(f"{value.isoformat()} is finer than a millisecond; {hint}")
    return value.astimezone(UTC)


RESERVED_IDS = frozenset({"watch", "pipeline", "grid"})
"""Names under which the program files what concerns no grid."""

_NO_STOP = "none"


def _stop_or_none(value: object) -> object:
    if value is None:
        raise ValueError("no price is there; write the price of the stop, or `none` for a grid without one")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
        raise ValueError(f"{value:g} is no stop; write a price above 0, or `none` for a grid without one")
    return None if value == _NO_STOP else value


def _stop_written(value: float | None) -> float | str:
    return _NO_STOP if value is None else value


class Spacing(StrEnum):
    """How levels divide the range: equal differences, or equal ratios."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class Grid(Policy):
    """A declared grid; ``levels`` counts prices, so there are ``levels - 1`` intervals.

    ``stop_loss`` None (written ``none``) is a grid without a stop. ``allow_unprofitable`` lets an enabled grid have
    intervals that do not earn their own fees. ``initial_base`` is what it began to hold of coins that the account had
    before: its start purchase is the rest. Bars count from the first whose ``open_time >= started_at``; a new
    ``started_at`` is a re-ranged grid.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    exchange: str
    symbol: str
    enabled: bool
    lower: float = threshold(unit="quote", source=_OPERATOR, gt=0)
    upper: float = threshold(unit="quote", source=_OPERATOR, gt=0)
    levels: int = threshold(unit="prices", source=_OPERATOR, ge=2, le=1000)
    spacing: Annotated[Spacing, Field(strict=False)]
    stop_loss: Annotated[float | None, BeforeValidator(_stop_or_none), PlainSerializer(_stop_written)] = threshold(
        unit="quote, or `none`", source=_OPERATOR
    )
    capital: float = threshold(unit="quote", source=_OPERATOR, ge=0)
    fee: float = threshold(unit="fraction of a fill, a side; a rebate below 0", source=_OPERATOR, ge=-0.001, le=0.05)
    started_at: Annotated[datetime, AfterValidator(_started_at_in_utc)]
    allow_unprofitable: bool = False
    # A key that came later: a file that is written from a grid without it, and the grid's version, stay as they were.
    initial_base: float | None = Field(
        default=None,
        ge=0,
        exclude_if=lambda value: value is None,
        json_schema_extra={"unit": "base", "source": _OPERATOR},
    )
    _price_tick: float | None = PrivateAttr(default=None)

    @field_validator("exchange", "symbol")
    @classmethod
    def _names_a_market(cls, value: str, info: ValidationInfo) -> str:
        try:
            Market(**{"exchange": "kucoin", "symbol": "ETH/USDT", str(info.field_name): value})
        except ConfigError as error:
            raise ValueError(f"{error.problem.removesuffix('.')}; {error.hint}") from error
        return value

    @field_validator("upper")
    @classmethod
    def _upper_is_above_lower(cls, upper: float, info: ValidationInfo) -> float:
        lower = info.data.get("lower")
        if lower is not None and upper <= lower:
            raise ValueError(f"upper {upper:g} is not above lower {lower:g}; swap or correct lower and upper")
        return upper

    @field_validator("stop_loss")
    @classmethod
    def _stop_is_below_lower(cls, stop_loss: float | None, info: ValidationInfo) -> float | None:
        lower = info.data.get("lower")
        if lower is not None and stop_loss is not None and stop_loss >= lower:
            raise ValueError(f"stop_loss {stop_loss:g} is not below lower {lower:g}; put the stop below the grid")
        return stop_loss

    @model_validator(mode="after")
    def _levels_are_distinct(self) -> Grid:
        prices = self.level_prices()
        if not (np.isfinite(prices).all() and (np.diff(prices) > 0).all()):
            raise ValueError("levels are too close to be told apart; declare fewer levels or wider bounds")
        return self

    @property
    def market(self) -> Market:
        """The market that the grid trades."""
        return Market(self.exchange, self.symbol)

    @property
    def stop_price(self) -> float:
        """The stop (quote); without a stop 0, which no price reaches."""
        return 0.0 if self.stop_loss is None else self.stop_loss

    @property
    def interval_count(self) -> int:
        """Number of intervals between neighbouring levels."""
        return self.levels - 1

    @property
    def interval_capital_quote(self) -> float:
        """Quote currency that each interval may spend: ``capital / (levels - 1)``."""
        return self.capital / self.interval_count

    @property
    def started_at_ms(self) -> int:
        """``started_at`` in epoch milliseconds."""
        return to_epoch_ms(self.started_at)

    def level_prices(self) -> npt.NDArray[np.float64]:
        """Prices of the levels.

        Returns
        -------
        Shape ``(levels,)``, quote currency, strictly rising; the first is ``lower`` and the last ``upper`` exactly, or
        the price that the exchange takes for it (:meth:`at_tick`).
        """
        divide = np.linspace if self.spacing is Spacing.ARITHMETIC else np.geomspace
        prices: npt.NDArray[np.float64] = divide(self.lower, self.upper, self.levels, dtype=np.float64)
        prices[0], prices[-1] = self.lower, self.upper
        return prices if self._price_tick is None else _rounded(prices, self._price_tick)

    def at_tick(self, price_tick: float | None) -> Grid:
        """The grid with its ladder as the exchange takes it: each level at the nearest price step.

        It stays as declared where no step is known, and where :func:`below_tick` refuses it. The declaration, and so
        its version, is the same.
        """
        if price_tick is None or price_tick == self._price_tick or below_tick(self, price_tick) is not None:
            return self
        grid = self.model_copy()
        grid._price_tick = price_tick
        return grid

    @property
    def moved_by_tick(self) -> float | None:
        """The price step that the ladder was rounded to, where that moved any level."""
        declared = Grid.model_validate(self.model_dump()).level_prices()
        return None if np.array_equal(self.level_prices(), declared) else self._price_tick

    @property
    def version_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the declaration as canonical JSON: equal content, equal hash."""
        declared = self.model_dump(mode="json")
        if not self.allow_unprofitable:  # a key that came later must not make every grid a new version
            del declared["allow_unprofitable"]
        content = json.dumps(declared, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def unprofitable(grid: Grid) -> str | None:
    """What the worst interval of a grid earns and pays, where it does not earn its own fees; None where all do.

    An interval from a to b earns b - a and pays fee x (a + b); both are said in percent of a.
    """
    levels = grid.level_prices()
    low, high = levels[:-1], levels[1:]
    earned, paid = (high - low) / low, grid.fee * (high + low) / low
    worst = int(np.argmin(earned - paid))
    if earned[worst] > paid[worst]:
        return None
    return f"an interval of {100 * earned[worst]:.2g} % pays {100 * paid[worst]:.2g} % in fees"


def below_tick(grid: Grid, price_tick: float) -> str | None:
    """What is wrong with a ladder whose narrowest interval is below two price steps; None where all are wide enough."""
    narrowest = float(np.diff(grid.level_prices()).min())
    if narrowest >= _LEAST_TICKS * price_tick * (1 - _HAIR):
        return None
    return (
        f"its narrowest interval is {narrowest:.3g}, and the exchange trades {grid.symbol} in steps of {price_tick:g}: "
        f"{narrowest / price_tick:.2g} steps, fewer than {_LEAST_TICKS}"
    )


def _rounded(prices: npt.NDArray[np.float64], price_tick: float) -> npt.NDArray[np.float64]:
    """The nearest multiple of a step to each price, as the float that its decimal reads as."""
    step = Fraction(repr(price_tick))
    steps = np.rint(prices * step.denominator / step.numerator)
    rounded: npt.NDArray[np.float64] = steps * step.numerator / step.denominator
    return rounded


@dataclass(frozen=True)
class GridVersion:
    """A declaration and the moment from which evaluations use it (aware, UTC).

    Attributes
    ----------
    is_gone
        Its file is not there any more: ``grid`` is what was declared last. An enabled grid is UNKNOWN then until its
        file comes back, unless the stop declared last is breached. One that was switched off, or retired (``enabled``
        false here), is not evaluated.
    is_retired
        Its operator has said that the watch of it ends.
    """

    grid: Grid
    valid_from: datetime
    is_gone: bool = False
    is_retired: bool = False


def unwatched(version: GridVersion, at: datetime) -> str | None:
    """Why an enabled grid is not watched at an evaluation, and what to write; None where it is, or is disabled."""
    grid = version.grid
    if not grid.enabled:
        return None
    if version.is_gone:
        return (
            f"no longer watched: its file is gone; put it back, write `enabled: false`, or `mm grids retire {grid.id}`"
        )
    if grid.started_at > at + _BAR:
        return (
            f"starts in the future: its started_at is {grid.started_at:%Y-%m-%d %H:%M} UTC; "
            "write when it started, in UTC, or `enabled: false`"
        )
    return None


def to_epoch_ms(time: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def from_epoch_ms(time_ms: int) -> datetime:
    """Inverse of :func:`to_epoch_ms`, in UTC."""
    return _EPOCH + time_ms * _MILLISECOND
