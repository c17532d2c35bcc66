"""A picture of how far a forecast of giveback can be believed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mm_pipeline.application.studies.giveback_coverage import POOLED, WINDOW_BAND, Score
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.domain.risk import GIVEBACK_PROBABILITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = ("#1f4e79", "#c55a11", "#548235", "#7f6000", "#7030a0", "#404040")
_BAND, _INK = "#dff0df", "#7a8691"


def giveback_chart_png(scores: Sequence[Score]) -> bytes:
    """Draw for each horizon what the quantiles of each market covered, and p90 by window, as PNG.

    Parameters
    ----------
    scores
        Output of :func:`~mm_pipeline.application.studies.giveback_coverage.scores`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    horizons = list(dict.fromkeys(score.horizon for score in scores))
    figure = Figure(figsize=(9.5, 2.0 * len(horizons)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(horizons), 2, squeeze=False, width_ratios=(1, 3))
    for (left, right), horizon in zip(axes, horizons, strict=True):
        here = [score for score in scores if score.horizon == horizon]
        _draw_coverage(left, here)
        _draw_windows(right, [score for score in here if score.name != POOLED])
    axes[0][1].legend(fontsize=7, ncols=4, loc="lower left", frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=100, format="png", metadata={"Software": None})
    return picture.getvalue()


def _draw_coverage(axes: Axes, scores: Sequence[Score]) -> None:
    said = [100 * share for share in GIVEBACK_PROBABILITIES.values()]
    axes.axhline(0, color=_INK, linewidth=0.8, linestyle="--")
    for place, score in enumerate(scores):
        missed = [100 * found.value - share for found, share in zip(score.coverage.values(), said, strict=True)]
        colour = "black" if score.name == POOLED else _COLOURS[place % len(_COLOURS)]
        axes.plot(said, missed, color=colour, marker=".", linewidth=1.6 if score.name == POOLED else 0.7)
    axes.set(ylim=(-6, 6))
    axes.set_title(f"{scores[0].horizon}: covered less said, %", fontsize=9)
    axes.tick_params(labelsize=8)


def _draw_windows(axes: Axes, scores: Sequence[Score]) -> None:
    axes.axhspan(*(100 * bound for bound in WINDOW_BAND), color=_BAND, linewidth=0, zorder=0)
    axes.axhline(90, color=_INK, linewidth=0.8, linestyle="--")
    for place, score in enumerate(scores):
        times = [from_ms(window.start_ms) for window in score.windows]
        covered = [100 * window.coverage for window in score.windows]
        colour = _COLOURS[place % len(_COLOURS)]
        axes.plot(times, covered, color=colour, marker=".", markersize=4, linewidth=0.7, label=score.name)  # type: ignore[arg-type]  # dates are drawn
    axes.set(ylim=(78, 100))
    axes.set_title("p90 covered in 30-day windows, %", fontsize=9)
    axes.tick_params(labelsize=8)
