"""A picture of what the signals of a month were worth. PNG bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from mm_pipeline.reporting.canvas import INK, canvas, png
from mm_pipeline.reporting.charts import STATE_COLOURS
from mm_pipeline.reporting.grid_report import SEVERITY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EDGE: Final = "#7a8691"
_SIZE: Final = 42


def outcomes_chart_png(outcomes: pl.DataFrame, *, title: str) -> bytes:
    """Each episode at its beginning: what leaving then made more than holding for 24 hours, % of the capital.

    Parameters
    ----------
    outcomes
        Rows of ``OUTCOME_COLUMNS``. A page that was told is a filled mark, an episode without one a hollow mark.
    """
    figure, axes = canvas(8.0, 3.2)
    saved = outcomes.with_columns(
        saved_pct=100 * (pl.col("leave_pnl_quote") - pl.col("hold_pnl_24h_quote")) / pl.col("capital_quote")
    ).filter(pl.col("saved_pct").is_not_null())
    if saved.is_empty():
        axes.text(0.5, 0.5, "no episode to be judged", ha="center", transform=axes.transAxes, color=_EDGE)
    else:
        for state in (state for state in reversed(SEVERITY) if state in set(saved["state"])):
            _draw(axes, saved.filter(pl.col("state") == state), state)
        axes.legend(fontsize=7, frameon=False, ncols=2)
    axes.axhline(0.0, color=_EDGE, linewidth=0.8)
    axes.set_ylabel("leaving less holding 24 h, % of capital", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    return png(figure)


def _draw(axes: Axes, rows: pl.DataFrame, state: str) -> None:
    colour, is_paged = STATE_COLOURS[state], rows["pages"] > 0
    for part, is_filled in ((rows.filter(is_paged), True), (rows.filter(~is_paged), False)):
        axes.scatter(
            part["began_at"].to_list(),
            part["saved_pct"].to_list(),
            s=_SIZE,
            facecolors=colour if is_filled else "none",
            edgecolors=INK if is_filled else colour,
            linewidths=0.7 if is_filled else 1.4,
            label=f"{state.replace('_', ' ').lower()}{', paged' if is_filled else ''}" if len(part) else None,
            zorder=3,
        )
