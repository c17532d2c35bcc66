"""The small picture beside a page: made to be read on a telephone, where it is a third as wide. PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import polars as pl

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.reporting.canvas import INK, canvas, png
from mm_pipeline.reporting.charts import (
    _GRID,
    _RANGE,
    _STOP,
    STATE_COLOURS,
    _apart,
    _draw_grid,
    _draw_price,
    _draw_states,
    _end,
    _since,
)
from mm_pipeline.reporting.grid_report import SEVERITY
from mm_pipeline.reporting.pages.limits import cut
from mm_pipeline.reporting.pages.words import price_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DAYS: Final = 2.0
"""Days shown: enough for the way that led here, few enough for the last hours to be seen."""
_WIDTH_IN, _HEIGHT_IN = 8.1, 5.4
_TITLE_LENGTH = 34
_TITLE_PT, _LABEL_PT, _AXIS_PT = 19, 16, 14
_SHORT: Final[Mapping[str, str]] = MappingProxyType({"LATEST_ACCEPTABLE_EXIT": "LATEST EXIT"})
_EVALUATION: Final = timedelta(milliseconds=Timeframe.M15.ms)


def page_chart_png(bars_15m: pl.DataFrame, rows: pl.DataFrame, grid: Grid | None, *, days: float = DAYS) -> bytes:
    """Price of the last days in the grid, over the states it was judged to be in.

    Parameters
    ----------
    bars_15m
        15m Bars frame (``close_time, low, high, close`` are used), ascending; may be empty.
    rows
        Exit or entry states of one grid (``evaluated_at, state``), ascending; the range that the newest proposes
        (``proposed_lower`` and so on) is drawn for a disabled grid in place of its own.
    grid
        None where its file cannot be read.
    days
        How far back from the newest bar or evaluation, whichever is later.

    Returns
    -------
    bytes
        PNG of about 890 x 590 pixels.
    """
    figure, axes = canvas(_WIDTH_IN, _HEIGHT_IN)
    drawn, end = _drawn_grid(grid, rows), _end(bars_15m, rows)
    shown, judged = _since(bars_15m, "close_time", end, days), _since(rows, "evaluated_at", end, days)
    if shown.is_empty() or end is None:
        axes.text(0.5, 0.5, "no bars", ha="center", va="center", transform=axes.transAxes, fontsize=_TITLE_PT)
        axes.set_axis_off()
    else:
        _draw_states(axes, _to_the_end_of_the_newest(judged))
        _draw_price(axes, shown)
        if drawn is not None:
            _draw_grid(axes, drawn, shown)
        _draw_axes(axes, shown["close_time"][0], end)
        _draw_labels(axes, shown, drawn)
        _draw_legend(figure, judged)
    _draw_title(axes, grid, rows, end)
    return png(figure)


def _drawn_grid(grid: Grid | None, rows: pl.DataFrame) -> Grid | None:
    """The grid itself, or for a disabled one the grid that is proposed."""
    if grid is None or grid.enabled or rows.is_empty() or "proposed_lower" not in rows.columns:
        return grid
    newest = rows.row(-1, named=True)
    proposed = {name: newest[f"proposed_{name}"] for name in ("lower", "upper", "levels", "stop_loss")}
    if any(value is None for value in proposed.values()):
        return grid
    return grid.model_copy(update=proposed | {"enabled": True})


def _to_the_end_of_the_newest(rows: pl.DataFrame) -> pl.DataFrame:
    """An evaluation stands for the 15 minutes after it: without them a state that has just begun has no width."""
    judged = rows.select("evaluated_at", "state")
    return pl.concat([judged, judged.tail(1).with_columns(pl.col("evaluated_at") + _EVALUATION)])


def _draw_axes(axes: Axes, begin: datetime, end: datetime) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=5)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))  # type: ignore[no-untyped-call]
    axes.set_xlim(begin, end + _EVALUATION)  # type: ignore[arg-type]
    axes.margins(y=0.08)
    axes.tick_params(axis="x", labelsize=_AXIS_PT)
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_labels(axes: Axes, bars: pl.DataFrame, grid: Grid | None) -> None:
    """The last price and the lines of the grid, named at the right edge: prices stand there, not at the left."""
    last = float(bars["close"][-1])
    labels = {"last": (last, INK)}
    if grid is not None:
        labels |= {"upper": (grid.upper, _GRID), "lower": (grid.lower, _GRID)}
        if grid.enabled and grid.stop_loss is not None:
            labels["stop"] = (grid.stop_loss, _STOP)
    bottom, top = axes.get_ylim()
    axes.plot([bars["close_time"][-1]], [last], marker="o", markersize=9, color=INK, zorder=4, clip_on=False)
    for name, height, (price, colour) in _apart(labels, 0.075 * (top - bottom), bottom, top):
        axes.annotate(
            f"  {name} {price_digits(price)}",
            (1.0, height),
            xycoords=("axes fraction", "data"),
            fontsize=_LABEL_PT,
            fontweight="bold" if name == "last" else "normal",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _draw_legend(figure: Figure, rows: pl.DataFrame) -> None:
    """Names of the states that are in the picture, most urgent first."""
    from matplotlib.patches import Patch

    present = set(rows["state"])
    handles = [
        Patch(facecolor=STATE_COLOURS[state], edgecolor=_RANGE, linewidth=0.6, label=_words(state).lower())
        for state in SEVERITY
        if state in present
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=3, frameon=False, fontsize=_AXIS_PT)


def _draw_title(axes: Axes, grid: Grid | None, rows: pl.DataFrame, end: datetime | None) -> None:
    """Grid and market, and below them the newest state and its time."""
    name = (
        "" if grid is None else f"{grid.id}  {grid.symbol}" if len(grid.id + grid.symbol) < _TITLE_LENGTH else grid.id
    )
    state = _words(rows["state"][-1]) if len(rows) else "UNKNOWN"
    at = "" if end is None else f"   {end:%Y-%m-%d %H:%M} UTC"
    title = f"{cut(name, _TITLE_LENGTH)}\n{state}{at}".strip()
    axes.set_title(title, loc="left", fontsize=_TITLE_PT, color=INK, fontweight="bold")


def _words(state: str) -> str:
    return _SHORT.get(state, state).replace("_", " ")
