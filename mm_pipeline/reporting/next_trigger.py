"""What would make a grid's state worse next, and how far price is from what ends a range; values and their words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.notifications.decision import Notice
from mm_pipeline.reporting.grid_report import SEVERITY, GridReport, TriggerReading
from mm_pipeline.reporting.pages.words import TIERS, amount_text, percent_text, quote_of
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS, comparison_text

_STOP = "stop_loss_breached"
_CLOSES = "closes_outside"


@dataclass(frozen=True, kw_only=True)
class NextTrigger:
    """The trigger that is nearest to firing among those of the next worse state that has any.

    Attributes
    ----------
    notice
        State that it asks for.
    distance_quote
        How far price has to move until it can fire, in quote; None where it does not ask about the price.
    """

    trigger: TriggerReading
    notice: Notice
    distance_quote: float | None

    def text(self, report: GridReport) -> str:
        """In words: what it asks, its value against its threshold, and the way of price."""
        name, words = self.trigger.name, TRIGGER_WORDS[self.trigger.name]
        asked = words.measures if words.is_yes_no else f"{words.measures}: {_value(self.trigger)}"
        way = "" if self.distance_quote is None else f"; {_way(self.distance_quote, report)}"
        return f"{self.notice.value.replace('_', ' ')} by {name} ({asked}{way})"


def next_worse(report: GridReport) -> NextTrigger | None:
    """The next worse trigger that has not fired; None of a blind grid, of the worst state, and where none has a value.

    Nearest is the one that lacks least of its own threshold.
    """
    for notice, names in tuple(TIERS.items())[::-1]:
        if report.state == "UNKNOWN" or SEVERITY.index(notice.value) >= report.severity:
            continue
        waiting = [(lack, one) for one in report.triggers if one.name in names and (lack := _lack(one)) is not None]
        if waiting:
            nearest = min(waiting, key=lambda pair: pair[0])[1]
            return NextTrigger(trigger=nearest, notice=notice, distance_quote=_distance(nearest, report))
    return None


def edges_text(report: GridReport) -> str:
    """How far price is from the bounds and the stop of its grid, in quote and of the price; empty where not known."""
    grid, price = report.grid, report.price
    if grid is None or price is None or not (math.isfinite(price) and price > 0):
        return ""
    edges = {"the upper bound": grid.upper, "the lower bound": grid.lower}
    if grid.stop_loss is not None:
        edges["the stop"] = grid.stop_loss
    quote = quote_of(grid)
    ways = [
        f"{amount_text(abs(price - edge))} {quote} ({percent_text(abs(price - edge) / price)}) "
        f"{'above' if price > edge else 'below'} {name}"
        for name, edge in edges.items()
    ]
    return f"Price is {', '.join(ways)}."


def _lack(trigger: TriggerReading) -> float | None:
    """Share of its threshold that a trigger lacks; None where it has fired or asks for nothing."""
    margin, threshold = trigger.margin, trigger.threshold
    if trigger.fired or margin is None or threshold is None or not math.isfinite(margin):
        return None
    return -margin / abs(threshold) if threshold else -margin


def _distance(trigger: TriggerReading, report: GridReport) -> float | None:
    grid, price = report.grid, report.price
    if grid is None or price is None or not math.isfinite(price):
        return None
    if trigger.name == _CLOSES:
        return _inside(grid, price)
    return max(0.0, price - grid.stop_loss) if trigger.name == _STOP and grid.stop_loss is not None else None


def _inside(grid: Grid, price: float) -> float:
    return max(0.0, min(price - grid.lower, grid.upper - price))


def _value(trigger: TriggerReading) -> str:
    """``1.10, fires > 1.25 ratio``."""
    value, _, rest = comparison_text(trigger.name, trigger.value, trigger.threshold).partition(" ")
    return f"{value}, fires {rest}"


def _way(distance: float, report: GridReport) -> str:
    return f"{amount_text(distance)} {quote_of(report.grid)} away" if distance else "price is beyond it now"
