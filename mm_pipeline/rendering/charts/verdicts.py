"""How verdicts met the truth. PNG bytes."""

from __future__ import annotations

from mm_pipeline.application.studies.verdicts import ConfusionTable
from mm_pipeline.reporting.canvas import INK, canvas, png


def confusion_chart_png(table: ConfusionTable, *, title: str) -> bytes:
    """Shares of the shown verdicts within each true regime, with hours; darker is more."""
    from matplotlib.colors import LinearSegmentedColormap

    figure, axes = canvas(7.2, 3.4)
    shares = [[table.share(truth, shown) for shown in table.shown_names] for truth in table.truth_names]
    blues = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#9dc3e6", "#1f4e79"])
    axes.imshow(shares, cmap=blues, vmin=0, vmax=1, aspect="auto")
    for row, truth in enumerate(table.truth_names):
        for column, shown in enumerate(table.shown_names):
            share, hours = table.share(truth, shown), table.count(truth, shown)
            colour = "white" if share > 0.55 else INK
            axes.text(column, row, f"{share:.0%}\n{hours:,} h", ha="center", va="center", color=colour, fontsize=10)
    axes.set_xticks(range(len(table.shown_names)), table.shown_names, fontsize=9)
    axes.set_yticks(
        range(len(table.truth_names)), [f"{name}\n{table.base_rate(name):.0%}" for name in table.truth_names]
    )
    axes.set(xlabel="shown verdict", ylabel="true regime (share of all hours)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    return png(figure)
