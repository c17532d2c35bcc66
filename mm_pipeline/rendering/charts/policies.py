"""A picture of what policies are worth: drawdown against time in the market, and equity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from mm_pipeline.application.studies.policies.outcomes import Outcome
from mm_pipeline.application.studies.policies.samples import Episodes
from mm_pipeline.application.studies.policies.study import ConfigurationScores
from mm_pipeline.domain.instants import from_ms
from mm_pipeline.reporting.canvas import INK, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLOUD: Final = "#b8cce4"
_DRAWN: Final = {
    "stop_flat": "#404040",
    "tight_stop": "#7f6000",
    "seed": "#c55a11",
    "calibrated": "#1f4e79",
    "p_stop_0.5": "#548235",
    "loss_2.0": "#7030a0",
    "total_5.0": "#c00000",
}
"""Policies whose equity is drawn."""


def policies_chart_png(found: Sequence[ConfigurationScores]) -> bytes:
    """Draw each configuration: drawdown against time in the market with all random peers, and equity, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(found), 2, squeeze=False, width_ratios=(1, 1.4))
    for (left, right), scores in zip(axes, found, strict=True):
        _draw_drawdowns(left, scores)
        _draw_equity(right, scores)
    axes[0][1].legend(fontsize=7, ncols=2, loc="lower left", frameon=False)
    return png(figure)


def _draw_drawdowns(axes: Axes, scores: ConfigurationScores) -> None:
    whole = sum(run.paired["stop_flat"].held_bars for run in scores.runs)
    for name in scores.pooled.paired:
        peers = [run.paired[name].random for run in scores.runs if name in run.paired]
        drawn = [peer for peer in peers if peer is not None]
        if drawn:
            time = np.sum([peer.held_bars for peer in drawn], axis=0) / max(whole, 1)
            drawdown = np.mean([peer.drawdowns_pct for peer in drawn], axis=0)
            axes.plot(time, drawdown, ",", color=_CLOUD, zorder=0)
    for name, score in scores.pooled.paired.items():
        if name not in ("oracle", "stop_only"):
            axes.plot(score.time_in_market_ratio, score.drawdown_pct, "o", color=_DRAWN.get(name, INK), markersize=4)
            axes.annotate(name, (score.time_in_market_ratio, score.drawdown_pct), fontsize=5, color=INK)
    axes.set_title(f"{scores.configuration.name}: drawdown, % of capital, by time in the market", fontsize=8)
    axes.tick_params(labelsize=7)


def _draw_equity(axes: Axes, scores: ConfigurationScores) -> None:
    for name, colour in _DRAWN.items():
        outcomes: list[Outcome] = [run.paired[name] for run in scores.runs if name in run.paired]
        outcomes = list(scores.tight) if name == "tight_stop" else outcomes
        if outcomes:
            episodes = Episodes.joined([outcome.episodes for outcome in outcomes])
            order = np.argsort(episodes.at_ms, kind="stable")
            times = [from_ms(at_ms) for at_ms in episodes.at_ms[order].tolist()]
            axes.step(times, np.cumsum(episodes.pnl_pct[order]), where="post", color=colour, linewidth=1, label=name)  # type: ignore[arg-type]  # dates are drawn
    axes.set_title(f"{scores.configuration.grid}: sum of PnL, % of one grid's capital", fontsize=8)
    axes.tick_params(labelsize=7)
