"""How good probabilities were, as a table of 80 columns and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from mm_pipeline.application.studies.probabilities import ProbabilityScore
    from mm_pipeline.application.studies.resampling import Estimate


def estimate_data(estimate: Estimate) -> Mapping[str, float | None]:
    """``value``, ``low`` and ``high``; null where there is none."""
    return {name: number_data(value) for name, value in asdict(estimate).items()}


def number_data(value: float) -> float | None:
    """A number, or null where there is none."""
    return value if isfinite(value) else None


def score_data(score: ProbabilityScore) -> dict[str, Any]:
    """``base_rate, mean_said, skill, slope, decile_gap, mean_gap`` and ``rows``."""
    return {
        "base_rate": score.base_rate,
        "mean_said": score.mean_said,
        "skill": estimate_data(score.skill),
        "slope": number_data(score.slope),
        "decile_gap": score.decile_gap,
        "mean_gap": score.mean_gap,
        "rows": score.rows,
    }


def score_table(rows: Iterable[tuple[str, str, ProbabilityScore]], second: str) -> Table:
    """One row a market and what was foretold; ``second`` heads the latter."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("market", second):
        table.add_column(heading, no_wrap=True)
    for heading in ("seen", "said", "skill (95 %)", "slope", "decile gap"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, what, score in rows:
        skill = f"{score.skill.value:.3f} ({score.skill.low:.2f} to {score.skill.high:.2f})"
        shares = (f"{100 * share:.1f} %" for share in (score.base_rate, score.mean_said))
        table.add_row(name, what, *shares, skill, f"{score.slope:.2f}", f"{score.decile_gap:.3f}")
    return table
