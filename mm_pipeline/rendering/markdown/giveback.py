"""How good forecasts of giveback were, as Markdown, as it stands in the study of give-back."""

from __future__ import annotations

from collections.abc import Sequence

from mm_pipeline.application.studies.giveback_coverage import Score
from mm_pipeline.application.studies.resampling import Estimate
from mm_pipeline.domain.risk import GIVEBACK_PROBABILITIES

_QUANTILES = tuple(GIVEBACK_PROBABILITIES)
_HEAD = (
    f"| market | delay | {' | '.join(_QUANTILES)} | p90, 95 % | 30-day windows in 85-95 % "
    "| pinball of p90 over a normal's (95 %) |\n"
    f"| --- | --- |{' ---: |' * len(_QUANTILES)} --- | ---: | --- |"
)


def giveback_markdown(scores: Sequence[Score]) -> str:
    """One row a market and horizon: what share of outcomes each quantile covered, in %."""
    return "\n".join([_HEAD, *map(_row, scores)])


def share_text(share: float) -> str:
    """``90.0``: in %."""
    return f"{100 * share:.1f}"


def ratio_text(ratio: Estimate) -> str:
    """``0.981 (0.977 to 0.984)``."""
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def windows_text(score: Score) -> str:
    """``95 % of 24``; empty where no window is long enough."""
    return f"{100 * score.windows_in_band:.0f} % of {len(score.windows)}" if score.windows else ""


def _row(score: Score) -> str:
    p90 = score.coverage["p90"]
    cells = (
        score.name,
        score.horizon,
        *(share_text(score.coverage[name].value) for name in _QUANTILES),
        f"{share_text(p90.low)} to {share_text(p90.high)}",
        windows_text(score),
        ratio_text(score.pinball_to_normal),
    )
    return f"| {' | '.join(cells)} |"
