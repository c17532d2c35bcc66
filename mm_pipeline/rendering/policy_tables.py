"""The study of policies as tables of 80 columns: rows of text, for the terminal and for Markdown alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from mm_pipeline.application.studies.policies.scores import PolicyScore
from mm_pipeline.application.studies.policies.study import ConfigurationScores
from mm_pipeline.application.studies.resampling import Estimate

Cells = Sequence[str]


@dataclass(frozen=True)
class TextTable:
    """A title, headings and rows; the first column is text, the others are figures."""

    title: str
    headings: Cells
    rows: Sequence[Cells]


def policy_tables(scores: ConfigurationScores) -> list[TextTable]:
    """Tables of one configuration, all series pooled."""
    grid = scores.configuration.grid
    paired, free = scores.pooled.paired, scores.pooled.free
    judged = {name: score for name, score in paired.items() if score.random is not None}
    return [
        _worth(f"{grid}; grids of stop_flat", paired),
        _opponents(f"{grid}; against opponents", judged),
        _pages(f"{grid}; pages as warnings of the stop", judged),
        _worth(f"{grid}; entries of its own", free),
    ]


def _worth(title: str, scores: Mapping[str, PolicyScore]) -> TextTable:
    rows = [
        (
            name,
            str(score.episodes),
            str(score.exits),
            str(score.stops),
            str(score.never_entered),
            number(score.time_in_market_ratio),
            number(score.drawdown_ratio_stop_flat),
            number(score.pnl_per_episode_pct),
            estimate(score.pnl_minus_stop_flat_pct),
        )
        for name, score in scores.items()
    ]
    headings = ("policy", "grids", "exits", "stops", "skip", "time", "dd", "PnL", "less stop_flat's")
    return TextTable(title, headings, rows)


def _opponents(title: str, scores: Mapping[str, PolicyScore]) -> TextTable:
    rows = []
    for name, score in scores.items():
        by_chance, shifted = score.random, score.shifted
        rows.append(
            (
                name,
                "" if by_chance is None else estimate(by_chance.pnl_minus_pct),
                number(score.es10_pct),
                estimate(score.es10_minus_tight_stop_pct),
                "" if shifted is None else f"{shifted.es10_p:.3f}",
                "" if shifted is None else number(shifted.drawdown_ratio),
                "" if shifted is None else f"{shifted.drawdown_p:.3f}",
            )
        )
    headings = ("policy", "PnL - random", "ES10", "ES10 - tight", "p", "dd", "p dd")
    return TextTable(title, headings, rows)


def _pages(title: str, scores: Mapping[str, PolicyScore]) -> TextTable:
    rows = []
    for name, score in scores.items():
        pages = score.pages
        if pages is not None:
            figures = (pages.recall, pages.recall_chance)
            counts = (pages.latest_per_stop, pages.warning_per_stop, pages.lead_median_h)
            rows.append(
                (
                    name,
                    *(number(figure) for figure in figures),
                    *(number(count, 1) for count in counts),
                    number(pages.lead_p10_h),
                    number(pages.firm_skill),
                    estimate(pages.lift),
                )
            )
    headings = ("policy", "recall", "luck", "pages", "warn", "lead", "p10", "FIRM", "lift")
    return TextTable(title, headings, rows)


def number(value: float, digits: int = 2) -> str:
    """Empty where there is none."""
    return f"{value:.{digits}f}" if isfinite(value) else ""


def estimate(value: Estimate) -> str:
    """``-0.11 [-0.22, 0.00]``."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]" if isfinite(value.value) else ""


def markdown(table: TextTable) -> str:
    """The table as Markdown, its title above."""
    rule = "| --- |" + " ---: |" * (len(table.headings) - 1)
    lines = [f"| {' | '.join(cells)} |" for cells in (table.headings, *table.rows)]
    return "\n".join([f"**{table.title}**", "", lines[0], rule, *lines[1:]])
