"""A picture of how far the fitted probabilities can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.regime.calibration import FittedModels
from mm_pipeline.domain.regime.forecast_quality import ForecastQuality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _SHADE = "#1f4e79", "#b8cce4"


def save_reliability_chart(models: FittedModels, path: Path) -> None:
    """Draw predicted probability against observed share, out of sample, one panel per model, as PNG.

    Bars below show how many predictions fell into each bin; whiskers are Wilson's 95 % intervals.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    curves, counts = figure.subplots(2, 2, height_ratios=(4, 1), sharex=True)
    qualities = {
        "p_transition: a close outside the range within 8 h": models.p_transition.out_of_sample,
        "confidence: the verdict unchanged for 8 h": models.confidence.out_of_sample,
    }
    for curve, count, (title, quality) in zip(curves, counts, qualities.items(), strict=True):
        _draw_curve(curve, title, quality)
        _draw_counts(count, quality)
    try:
        figure.savefig(path, dpi=110, format="png", metadata={"Software": None})
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.", "Choose another path for the chart.") from error


def _draw_curve(axes: Axes, title: str, quality: ForecastQuality) -> None:
    bins = quality.reliability
    predicted, observed = [b.mean_predicted for b in bins], [b.observed_share for b in bins]
    below = [max(0.0, b.observed_share - b.share_low) for b in bins]
    above = [max(0.0, b.share_high - b.observed_share) for b in bins]
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--", label="perfect")
    axes.axhline(quality.base_rate, color="grey", linewidth=0.8, linestyle=":", label="base rate")
    axes.errorbar(predicted, observed, yerr=[below, above], color=_INK, marker="o", markersize=4, capsize=2)
    axes.set_title(
        f"{title}\nBrier {quality.brier:.4f}, base rate's {quality.brier_of_base_rate:.4f}, "
        f"skill {quality.skill:.3f} ({quality.skill_low:.3f} to {quality.skill_high:.3f})",
        fontsize=10,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed share")
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def _draw_counts(axes: Axes, quality: ForecastQuality) -> None:
    bins = quality.reliability
    axes.bar([b.mean_predicted for b in bins], [b.count for b in bins], width=0.06, color=_SHADE, edgecolor=_INK)
    axes.set(xlabel="predicted probability", ylabel="bars")
