"""What ``mm backfill`` says before, between and after its months, in lines of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mm_pipeline.rendering.terminal.operator_tables import seconds_text

if TYPE_CHECKING:
    from mm_pipeline.application.backfill import BackfillPlan, MonthMade

WIDTH: Final = 80
_MB: Final = 1_000_000


def plan_lines(plan: BackfillPlan) -> list[str]:
    """How many months are to be made and why, which are not, and what it may cost."""
    made, stays = _made_words(plan), _current_words(plan)
    empty = [f"{month}: {why}" for month, why in plan.empty.items()]
    return [*_wrapped(f"{made} {stays}".rstrip()), *(line for one in empty for line in _wrapped(one)), *_costs(plan)]


def _made_words(plan: BackfillPlan) -> str:
    if not plan.months:
        return "Nothing to make."
    keys, why = list(plan.months), Counter(", ".join(reasons) for reasons in plan.months.values())
    reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
    return f"{_months(len(keys))} to make, {keys[0]} to {keys[-1]} ({reasons})."


def _current_words(plan: BackfillPlan) -> str:
    if not plan.current:
        return ""
    is_one = len(plan.current) == 1
    stays = f"{_months(len(plan.current))} {'is' if is_one else 'are'} current"
    return f"{stays}: --again makes {'it' if is_one else 'them'} too."


def _costs(plan: BackfillPlan) -> list[str]:
    estimate = plan.estimate
    if not plan.months:
        return []
    return [
        f"Expected: {estimate.rows:,} rows, {seconds_text(estimate.seconds)}, {estimate.bytes / _MB:,.1f} MB of frames",
        *_wrapped(f"by {estimate.pace.source}: {estimate.pace.rows_per_s:,.0f} rows/s."),
    ]


def month_line(made: MonthMade, done: int, months: int) -> str:
    """What was made of a month, and how many are done."""
    return f"{made.month} made, {made.rows:,} rows in {made.seconds:.1f} s ({done} of {months} months)"


def end_lines(made: Sequence[MonthMade], seconds: float) -> list[str]:
    """What was made, and what came of comparing it with the exchange's own hours."""
    hours = sum(month.hours_compared for month in made)
    differing = [line for month in made for line in month.hours_differing]
    silent = [f"{month.month} {line}" for month in made for line in month.not_compared]
    compared = f"{hours:,} hours compared with the exchange's own 1h candles, {len(differing)} differ"
    return [
        f"{_months(len(made))}, {made[0].month} to {made[-1].month}, in {seconds:.1f} s",
        *([compared] if hours else []),
        *(line for one in differing for line in _wrapped(f"hour differs: {one}")),
        *(line for one in silent for line in _wrapped(f"hours not compared: {one}")),
        *(_wrapped("mm backfill --refetch asks for all candles of a month again.") if differing else []),
    ]


def _months(count: int) -> str:
    return "1 month" if count == 1 else f"{count} months"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
