"""How good forecasts of giveback were, as Markdown, as it stands in the study of give-back."""

from __future__ import annotations

from collections.abc import Sequence

from mm_pipeline.application.studies.giveback_coverage import Estimate, Score

_HEAD = (
    "| delay | forecast | p90 covered (95 %) | 30-day windows in 85-95 % (95 %) | lowest, highest window "
    "| pinball, % of capital | over the normal's (95 %) |\n"
    "| --- | --- | --- | --- | --- | ---: | --- |"
)


def giveback_markdown(scores: Sequence[Score]) -> str:
    """One row a horizon and method."""
    return "\n".join([_HEAD, *map(_row, scores)])


def share_text(share: Estimate) -> str:
    """``90.0 % (89.6 to 90.4)``."""
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def ratio_text(ratio: Estimate) -> str:
    """``0.981 (0.977 to 0.984)``."""
    return f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def extremes_text(score: Score) -> str:
    """``88.3 %, 91.8 %``."""
    found = [window.coverage for window in score.windows]
    return f"{100 * min(found):.1f} %, {100 * max(found):.1f} %" if found else ""


def _row(score: Score) -> str:
    cells = (
        score.horizon,
        score.method,
        share_text(score.coverage),
        f"{share_text(score.windows_inside)} of {len(score.windows)}",
        extremes_text(score),
        f"{score.pinball_pct.value:.4f}",
        "1" if score.method == "normal" else ratio_text(score.pinball_to_normal),
    )
    return f"| {' | '.join(cells)} |"
