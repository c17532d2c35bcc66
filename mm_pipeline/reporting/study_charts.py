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
_SIZE: Final = 16
_PAGED_SIZE: Final = 60


def outcomes_chart_png(outcomes: pl.DataFrame, *, title: str) -> bytes:
    """Draw each episode at its beginning: what leaving then made more than holding for 24 hours, % of the capital.

    Parameters
    ----------
    outcomes
        Rows of ``OUTCOME_COLUMNS``. Episodes with a page have large marks.
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
        axes.set_xlim(outcomes["began_at"].min(), outcomes["ended_at"].max())  # type: ignore[arg-type]  # dates are drawn
        axes.margins(x=0.02, y=0.15)
    axes.axhline(0.0, color=_EDGE, linewidth=0.8)
    axes.set_ylabel("leaving less holding 24 h, % of capital", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    return png(figure)


def _draw(axes: Axes, rows: pl.DataFrame, state: str) -> None:
    colour, is_paged = STATE_COLOURS[state], rows["pages"] > 0
    for part, edge, words in ((rows.filter(is_paged), INK, ", paged"), (rows.filter(~is_paged), _EDGE, "")):
        if part.height:
            axes.scatter(
                part["began_at"].to_list(),
                part["saved_pct"].to_list(),
                s=_PAGED_SIZE if words else _SIZE,
                facecolors=colour,
                edgecolors=edge,
                linewidths=1.2 if words else 0.6,
                label=f"{state.replace('_', ' ').lower()}{words}",
                zorder=3,
                clip_on=False,
            )
