"""Small pictures as SVG shapes: numbers for templates, without inline style. Each has its words or table beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mm_pipeline.domain.grid import Grid
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading

STRIP_WIDTH: Final = 600
CHART_WIDTH: Final = 600
CHART_HEIGHT: Final = 240
BAR_WIDTH: Final = 100
_MARGIN: Final = 0.05
_MOST_LEVELS: Final = 60
"""More lines than this run together on a phone."""
_FULL: Final = 60.0
"""Where the threshold stands on the bar of a trigger, of ``BAR_WIDTH``."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A price in the bounds of its grid, from left to right; all in units of ``STRIP_WIDTH``.

    ``stop`` and ``price`` are None where there is none.
    """

    lower: float
    upper: float
    levels: tuple[float, ...]
    stop: float | None
    price: float | None


@dataclass(frozen=True, kw_only=True)
class Band:
    """A run of one state on the chart: left edge and width, and what it says."""

    x: float
    width: float
    state: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A moment on the chart: of a page, or of an answer."""

    x: float
    kind: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A price that the grid declares, at a height of the chart."""

    y: float
    name: str
    price: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Price over time, with states, pages and answers.

    Attributes
    ----------
    paths
        Points of each unbroken stretch of the price.
    outside
        Lines that the chart has no room for: ``stop 12.00 is below``.
    """

    paths: tuple[str, ...]
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]
    lines: tuple[Line, ...]
    outside: tuple[Line, ...]


def strip_of(report: GridReport) -> Strip | None:
    """The picture of a card; None where the grid's file cannot be read."""
    grid = report.grid
    if grid is None:
        return None
    price = report.price if report.price is not None and math.isfinite(report.price) else None
    shown = [grid.lower, grid.upper, *([] if grid.stop_loss is None else [grid.stop_loss])]
    low, high = _limits([*shown, *([] if price is None else [price])])

    def place(value: float) -> float:
        return round((value - low) / (high - low) * STRIP_WIDTH, 1)

    return Strip(
        lower=place(grid.lower),
        upper=place(grid.upper),
        levels=tuple(place(float(level)) for level in _levels(grid)),
        stop=None if grid.stop_loss is None else place(grid.stop_loss),
        price=None if price is None else place(price),
    )


def trigger_bar(trigger: TriggerReading) -> float | None:
    """Length of the bar of a trigger whose threshold stands at a fixed place; None where either is not known."""
    value, threshold = trigger.value, trigger.threshold
    if value is None or not threshold or not math.isfinite(value):
        return None
    return round(min(max(value / threshold * _FULL, 0.0), float(BAR_WIDTH)), 1)


def chart_of(
    points: Sequence[tuple[datetime, float | None]],
    bands: Sequence[tuple[datetime, datetime, str, str]],
    marks: Sequence[tuple[datetime, str, str]],
    *,
    grid: Grid | None,
    since: datetime,
    until: datetime,
) -> Chart | None:
    """A chart of the stretch; None where no price is known in it.

    Parameters
    ----------
    points
        Price by evaluation, ascending; None breaks the line.
    bands
        First and last moment, state and words of each run.
    marks
        Moment, kind and words.
    """
    prices = [price for _, price in points if price is not None and math.isfinite(price)]
    if not prices:
        return None
    declared = [] if grid is None else _declared(grid)
    near = _near([price for _, price in declared], prices)
    low, high = _limits([*prices, *near])

    def across(at: datetime) -> float:
        share = (at - since).total_seconds() / (until - since).total_seconds()
        return round(min(max(share, 0.0), 1.0) * CHART_WIDTH, 1)

    def height(price: float) -> float:
        return round((high - price) / (high - low) * CHART_HEIGHT, 1)

    lines = [Line(y=height(price), name=name, price=price) for name, price in declared]
    return Chart(
        paths=tuple(_paths([(across(at), None if price is None else height(price)) for at, price in points])),
        bands=tuple(_band(across(begins), across(ends), state, words) for begins, ends, state, words in bands),
        marks=tuple(Mark(x=across(at), kind=kind, words=words) for at, kind, words in marks),
        lines=tuple(line for line in lines if 0 <= line.y <= CHART_HEIGHT),
        outside=tuple(line for line in lines if not 0 <= line.y <= CHART_HEIGHT),
    )


def _declared(grid: Grid) -> list[tuple[str, float]]:
    stop = [] if grid.stop_loss is None else [("stop", grid.stop_loss)]
    return [("upper", grid.upper), ("lower", grid.lower), *stop]


def _near(declared: Sequence[float], prices: Sequence[float]) -> list[float]:
    """Declared prices that leave the price at least a quarter of the height."""
    low, high = min(prices), max(prices)
    room = 1.5 * max(high - low, high * 1e-3)
    return [price for price in declared if low - room <= price <= high + room]


def _band(begins: float, ends: float, state: str, words: str) -> Band:
    return Band(x=begins, width=round(max(ends - begins, 1.0), 1), state=state, words=words)


def _paths(points: Sequence[tuple[float, float | None]]) -> list[str]:
    paths: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            paths.append([])
        else:
            paths[-1].append(f"{x},{y}")
    return [" ".join(path) for path in paths if path]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = _MARGIN * (high - low) or abs(high) * 1e-3 or 1.0
    return low - room, high + room


def _levels(grid: Grid) -> Sequence[float]:
    return list(grid.level_prices()[1:-1]) if grid.levels <= _MOST_LEVELS else []
