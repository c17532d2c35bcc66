"""Small pictures that are read at a glance: a grid's price and states. PNG bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from mm_pipeline.domain.grid import Grid
from mm_pipeline.reporting.canvas import INK, canvas, png
from mm_pipeline.reporting.grid_report import SEVERITY
from mm_pipeline.reporting.price_words import price_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATE_COLOURS: Final = {
    "MANDATORY_EXIT": "#d64545",
    "LATEST_ACCEPTABLE_EXIT": "#f08a24",
    "WARNING": "#f7d04b",
    "UNKNOWN": "#b9a3d6",
    "NORMAL": "#dff0df",
    "ENTER": "#8fd08f",
    "WAIT": "#e4ecf4",
    "AVOID": "#f3cf9c",
}
_GRID, _STOP, _RANGE = "#1f6fb4", "#b3202c", "#7a8691"


def state_chart_png(
    bars: pl.DataFrame,
    states: pl.DataFrame,
    *,
    grid: Grid | None = None,
    metrics_1h: pl.DataFrame | None = None,
    days: float = 7.0,
    title: str | None = None,
) -> bytes:
    """Price of the last days over the states it was judged to be in.

    Parameters
    ----------
    bars
        15m Bars frame (``close_time, low, high, close`` are used), ascending.
    states
        ``evaluated_at, state`` of one grid, ascending: exit or entry states.
    grid
        Its bounds and, where it is enabled, its levels and stop are drawn.
    metrics_1h
        ``known_at, range_high, range_low``: the confirmed-swing range as it was known.
    days
        How far back from the newest bar or evaluation, whichever is later: a silent market shows its silence.
    title
        None: the grid's id, newest state and price.

    Returns
    -------
    bytes
        PNG of about 880 x 420 pixels.
    """
    figure, axes = canvas(8.0, 3.8)
    end = _end(bars, states)
    shown = _since(bars, "close_time", end, days)
    judged = _since(states, "evaluated_at", end, days)
    if shown.is_empty():
        axes.text(0.5, 0.5, "no bars", ha="center", va="center", transform=axes.transAxes, color=_RANGE)
    else:
        _draw_states(axes, judged)
        _draw_price(axes, shown)
        if metrics_1h is not None:
            _draw_range(axes, _since(metrics_1h, "known_at", end, days))
        if grid is not None:
            _draw_grid(axes, grid, shown)
        _finish(axes, shown, end, grid)
        _draw_legend(figure, judged)
    axes.set_title(_title(title, grid, states, end), loc="left", fontsize=11, color=INK, fontweight="bold")
    return png(figure)


def _end(bars: pl.DataFrame, states: pl.DataFrame) -> datetime | None:
    """The newest close or evaluation; None where there is neither."""
    newest: list[datetime] = [
        time for time in (bars["close_time"].max(), states["evaluated_at"].max()) if isinstance(time, datetime)
    ]
    return max(newest, default=None)


def _since(frame: pl.DataFrame, time: str, end: datetime | None, days: float) -> pl.DataFrame:
    if end is None:
        return frame.clear()
    return frame.filter(pl.col(time) > pl.lit(end) - pl.duration(hours=days * 24))


def _draw_states(axes: Axes, states: pl.DataFrame) -> None:
    """A band per unbroken run; one evaluation stands for the 15 minutes after it."""
    runs = (
        states.group_by(pl.col("state").rle_id().alias("run"), maintain_order=True)
        .agg(pl.col("state").first(), begins=pl.col("evaluated_at").first(), ends=pl.col("evaluated_at").last())
        .with_columns(ends=pl.col("begins").shift(-1).fill_null(pl.col("ends")))
    )
    for state, begins, ends in runs.select("state", "begins", "ends").iter_rows():
        axes.axvspan(begins, ends, color=STATE_COLOURS[state], alpha=0.75, linewidth=0, zorder=0)


def _draw_price(axes: Axes, bars: pl.DataFrame) -> None:
    times = bars["close_time"].to_list()
    axes.fill_between(times, bars["low"].to_list(), bars["high"].to_list(), color=INK, alpha=0.18, linewidth=0)
    axes.plot(times, bars["close"].to_list(), color=INK, linewidth=1.1, zorder=3)


def _draw_range(axes: Axes, metrics_1h: pl.DataFrame) -> None:
    times = metrics_1h["known_at"].to_list()
    for name in ("range_high", "range_low"):
        axes.step(times, metrics_1h[name].to_list(), where="post", color=_RANGE, linewidth=0.9, linestyle=":", zorder=2)


def _draw_grid(axes: Axes, grid: Grid, bars: pl.DataFrame) -> None:
    """Bounds, levels and stop where they are near enough to price to be read."""
    style = "-" if grid.enabled else (0, (5, 4))
    for price in (grid.lower, grid.upper):
        axes.axhline(price, color=_GRID, linewidth=1.3, linestyle=style, zorder=2)
    if grid.enabled:
        for price in grid.level_prices()[1:-1]:
            axes.axhline(price, color=_GRID, linewidth=0.4, alpha=0.6, zorder=1)
        if grid.stop_loss is not None:
            axes.axhline(grid.stop_loss, color=_STOP, linewidth=1.3, linestyle="--", zorder=2)
    axes.set_ylim(*_price_limits(grid, bars))


def _price_limits(grid: Grid, bars: pl.DataFrame) -> tuple[float, float]:
    """All of the price; bounds and stop too unless that would press the price into less than a quarter."""
    low, high = float(bars["low"].min()), float(bars["high"].max())  # type: ignore[arg-type]
    has_stop = grid.enabled and grid.stop_loss is not None
    lines = (grid.lower, grid.upper, grid.stop_price) if has_stop else (grid.lower, grid.upper)
    height = max(high - low, high * 1e-4)
    bottom, top = min(low, *lines), max(high, *lines)
    if top - bottom > 4 * height:
        bottom, top = max(bottom, low - 1.5 * height), min(top, high + 1.5 * height)
    return bottom - 0.06 * (top - bottom), top + 0.06 * (top - bottom)


def _draw_legend(figure: Figure, states: pl.DataFrame) -> None:
    """Names of the states that are in the picture, most urgent first, and of the dotted line."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    present = set(states["state"])
    handles: list[Patch | Line2D] = [
        Patch(facecolor=STATE_COLOURS[state], edgecolor=_RANGE, linewidth=0.4, label=state.replace("_", " ").lower())
        for state in SEVERITY
        if state in present
    ]
    handles.append(Line2D([], [], color=_RANGE, linewidth=0.9, linestyle=":", label="swing range"))
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=8)


def _finish(axes: Axes, bars: pl.DataFrame, end: datetime | None, grid: Grid | None) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_xlim(bars["close_time"][0], end)  # type: ignore[arg-type]
    axes.margins(y=0.08)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    bottom, top = axes.get_ylim()
    labels = {"price": (float(bars["close"][-1]), INK)}
    if grid is not None:
        labels |= {"upper": (grid.upper, _GRID), "lower": (grid.lower, _GRID)}
        if grid.enabled and grid.stop_loss is not None:
            labels["stop"] = (grid.stop_loss, _STOP)
    gap = 0.055 * (top - bottom)
    for name, y, (price, colour) in _apart(labels, gap, bottom, top):
        axes.annotate(
            f" {name} {price_text(price)}",
            (1.0, y),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _apart(
    labels: dict[str, tuple[float, str]], gap: float, bottom: float, top: float
) -> Sequence[tuple[str, float, tuple[float, str]]]:
    """Heights at which labels inside the picture do not overlap, from low to high; those outside stand at its edge."""
    placed = []
    last = float("-inf")
    for name, (price, colour) in sorted(labels.items(), key=lambda item: item[1][0]):
        height = max(min(max(price, bottom), top), last + gap)
        placed.append((name, height, (price, colour)))
        last = height
    return placed


def _title(title: str | None, grid: Grid | None, states: pl.DataFrame, end: datetime | None) -> str:
    if title is not None:
        return title
    name = grid.id if grid is not None else ""
    state = states["state"][-1] if len(states) else SEVERITY[1]
    newest = f"{end:%Y-%m-%d %H:%M} UTC" if end is not None else ""
    return "   ".join(part for part in (name, state, newest) if part)
