"""A picture of how far a forecast of giveback can be believed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mm_pipeline.application.studies.giveback_coverage import WINDOW_BAND, WINDOW_DAYS, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = ("#1f4e79", "#c55a11", "#548235", "#7f6000", "#7030a0", "#404040")
_BAND, _INK = "#dff0df", "#7a8691"


def giveback_chart_png(scores: Sequence[Score]) -> bytes:
    """Draw the model's coverage of p90 by window, a panel a horizon, and pinball losses over the normal's, as PNG.

    Parameters
    ----------
    scores
        Output of :func:`~mm_pipeline.application.studies.giveback_coverage.scores`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    model = [score for score in scores if score.method == "model"]
    figure = Figure(figsize=(9.5, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(model), 2, width_ratios=(3, 1))
    for row, score in enumerate(model):
        axes = figure.add_subplot(grid[row, 0])
        _draw_windows(axes, score)
        if row == 0:
            axes.legend(fontsize=7, ncols=4, loc="lower left", frameon=False)
    _draw_losses(figure.add_subplot(grid[:, 1]), scores)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100, format="png", metadata={"Software": None})
    return picture.getvalue()


def _draw_windows(axes: Axes, score: Score) -> None:
    axes.axhspan(*WINDOW_BAND, color=_BAND, linewidth=0, zorder=0)
    axes.axhline(0.9, color=_INK, linewidth=0.8, linestyle="--")
    for place, series in enumerate(dict.fromkeys(window.series for window in score.windows)):
        shown = [window for window in score.windows if window.series == series]
        middle = timedelta(days=WINDOW_DAYS / 2)
        # matplotlib draws dates; its annotations know numbers only.
        times: Any = [datetime.fromtimestamp(window.start_ms / 1000, UTC) + middle for window in shown]
        covered = [window.coverage for window in shown]
        colour = _COLOURS[place % len(_COLOURS)]
        axes.plot(times, covered, color=colour, marker=".", markersize=5, linewidth=0.7, label=series)
    axes.set_title(
        f"{score.horizon}: p90 covered {score.coverage.value:.1%}; "
        f"{score.windows_inside.value:.0%} of {len(score.windows)} windows of {WINDOW_DAYS} days in the band",
        fontsize=9,
    )
    axes.set(ylim=(0.80, 1.0))
    axes.tick_params(labelsize=8)


def _draw_losses(axes: Axes, scores: Sequence[Score]) -> None:
    horizons = list(dict.fromkeys(score.horizon for score in scores))
    for place, method in enumerate(("model", "unconditional")):
        ratios = [score.pinball_to_normal for score in scores if score.method == method]
        values = np.array([ratio.value for ratio in ratios])
        around = [values - [ratio.low for ratio in ratios], [ratio.high for ratio in ratios] - values]
        at = np.arange(len(horizons)) + (place - 0.5) * 0.3
        axes.errorbar(at, values, yerr=around, fmt="o", color=_COLOURS[place], capsize=3, label=method)
    axes.axhline(1.0, color=_INK, linewidth=0.8, linestyle="--")
    axes.set_xticks(np.arange(len(horizons)), horizons)
    axes.set_xlim(-0.6, len(horizons) - 0.4)
    axes.set_title("pinball loss over that of\na normal, sigma sqrt(d)", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, frameon=False, loc="lower left")
