"""The confusion table as Markdown, as it stands in the study of verdicts."""

from __future__ import annotations

from collections.abc import Mapping

from mm_pipeline.application.studies.verdicts import ConfusionTable, Delay, Share


def confusion_markdown(table: ConfusionTable, delays: Mapping[str, Delay]) -> str:
    """Matrix and scores, one row a true regime."""
    heading = [
        "true regime",
        *table.shown_names,
        "base rate",
        "recall (95 %)",
        "precision (95 %)",
        "delay, median / p90",
    ]
    lines = [_row(heading), _row(["---"] + ["---:"] * (len(heading) - 1))]
    for truth in table.truth_names:
        shares = [f"{table.share(truth, shown):.0%}" for shown in table.shown_names]
        scores = [f"{table.base_rate(truth):.0%}", share_text(table.recall(truth)), share_text(table.precision(truth))]
        lines.append(_row([truth, *shares, *scores, _delay_text(delays[truth])]))
    return "\n".join([*lines, "", f"{verdict_on(table)}"])


def verdict_on(table: ConfusionTable) -> str:
    """Accuracy beside that of always saying the most frequent regime."""
    always = max(table.truth_names, key=table.base_rate)
    return (
        f"Right on {share_text(table.accuracy())} of {table.hours:,} hours; "
        f"always saying {always} would be right on {table.base_rate(always):.1%}."
    )


def share_text(share: Share) -> str:
    """``54.6% (50.9% to 57.8%)``; a dash where there is nothing to share."""
    if share.value is None or share.low is None or share.high is None:
        return "-"
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def hours_text(hours: float | None) -> str:
    """``4 h``; a dash where there are none."""
    return "-" if hours is None else f"{hours:.0f} h"


def _delay_text(delay: Delay) -> str:
    missed = f"{delay.missed / delay.segments:.0%} of {delay.segments} missed" if delay.segments else "none began"
    return f"{hours_text(delay.median_h)} / {hours_text(delay.p90_h)}, {missed}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
