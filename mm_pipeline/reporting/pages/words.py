"""Values of a page in words, each number with its unit and a bounded length. Which lines a page has is elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mm_pipeline.domain.account import PositionSource
from mm_pipeline.domain.exit_state import LATEST, MANDATORY, WARNING
from mm_pipeline.domain.grid import Grid, unprofitable
from mm_pipeline.domain.notifications.decision import Notice
from mm_pipeline.domain.notifications.delay_risk import HORIZONS, DelayRisk
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.price_words import NO_STOP_TEXT, price_text
from mm_pipeline.reporting.trigger_words import TRIGGER_WORDS

TIERS: Final[Mapping[Notice, Sequence[str]]] = {
    Notice.MANDATORY_EXIT: MANDATORY,
    Notice.LATEST_ACCEPTABLE_EXIT: LATEST,
    Notice.WARNING: WARNING,
}
"""Triggers of each state that has its own, most urgent first."""
NOT_AVAILABLE: Final = "not available"
_FULL_DIGITS_BELOW = 1e10
_REASON_LENGTH = 160
_HORIZON_WORDS = dict(zip(HORIZONS, ("15 min", "1 h", "4 h", "24 h"), strict=True))
_WAITED = "4h"
"""A page is short: one delay shows what is usual beside what is at risk."""
_STOP_HORIZON = "24h"
_PROBABILITIES = ("stop_likely", "transition_likely")
"""Triggers whose value is a probability."""
_HEALTH = {"ABOVE_GRID": ", above the grid", "IN_GRID": ", in the grid", "BELOW_GRID": ", below the grid"}


def notice_words(notice: Notice) -> str:
    """A notice as it is spoken: ``MANDATORY EXIT``."""
    return notice.value.replace("_", " ")


def span_text(span: timedelta) -> str:
    """A length of time in minutes below two hours, in hours below two days, in days beyond."""
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    large, small = (("d", 1440), ("h", 60)) if minutes >= 2880 else (("h", 60), ("min", 1))
    left = minutes % large[1] // small[1]
    return f"{minutes // large[1]} {large[0]}" + (f" {left} {small[0]}" if left else "")


def time_text(at: datetime, *, beside: datetime | None = None) -> str:
    """A time in UTC; without its date where it is on the day of ``beside``."""
    return f"{at:%H:%M} UTC" if beside is not None and at.date() == beside.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def quote_of(grid: Grid | None) -> str:
    """Currency in which a grid's prices are; ``quote`` where its file cannot be read."""
    return "quote" if grid is None else grid.symbol.partition("/")[2]


def quote_text(price: float | None, quote: str) -> str:
    """A price with its currency."""
    return NOT_AVAILABLE if price is None or not math.isfinite(price) else f"{price_digits(price)} {quote}"


def price_digits(price: float) -> str:
    """A price with as many digits as tell it apart, very small and very large ones included."""
    return price_text(price) if math.isfinite(price) else NOT_AVAILABLE


_ROUNDING: Final = 1e-8
"""Below it an amount is what sums of money round off (the residual of the PnL identity)."""


def amount_text(amount: float) -> str:
    """Digits of a sum of money: two after the point, four below 1 where they say more."""
    if abs(amount) < _ROUNDING:
        return "0.00"
    if abs(amount) < 0.1:
        return price_digits(amount)
    text = number_text(amount, 2 if abs(amount) >= 1 else 4)
    return text[:-2] if abs(amount) < 1 and text.endswith("00") else text


def number_text(number: float | None, decimals: int) -> str:
    """A number of bounded length."""
    if number is None or not math.isfinite(number):
        return NOT_AVAILABLE
    return f"{number:,.{decimals}f}" if abs(number) < _FULL_DIGITS_BELOW else f"{number:.4g}"


def clean_reason(reason: str) -> str:
    """A reason as one line of bounded length."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in reason).split())
    return line if len(line) <= _REASON_LENGTH else line[: _REASON_LENGTH - 3] + "..."


def some_of(names: Sequence[str], noun: str, *, room: int = 130) -> str:
    """As many names as have room, at least one, and how many more there are."""
    shown = [names[0]]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > room:
            break
        shown.append(name)
    hidden = len(names) - len(shown)
    more = f" and {hidden} more {noun}{'s' * (hidden != 1)}" if hidden else ""
    return ", ".join(shown) + more


def comparison(trigger: TriggerReading, quote: str) -> str:
    """Value against threshold: ``1.31 > 1.25 x``; in words where the question is yes or no."""
    words = TRIGGER_WORDS[trigger.name]
    if words.is_yes_no:
        return words.measures
    value, threshold = (_trigger_digits(trigger.name, number) for number in (trigger.value, trigger.threshold))
    if trigger.name in _PROBABILITIES:
        return f"p={value} {words.sign} p={threshold}"
    unit = {"": "of 1", "ratio": "x", "quote": quote}.get(words.unit, words.unit)
    return f"{value} {words.sign} {threshold} {unit}"


def _trigger_digits(name: str, number: float | None) -> str:
    words = TRIGGER_WORDS[name]
    return price_digits(number) if words.unit == "quote" and number is not None else number_text(number, words.decimals)


def trigger_lines(fired: Iterable[TriggerReading], names: Sequence[str], quote: str) -> list[str]:
    """A line for each of these triggers that fired, with what its value is where no sentence of the page says it."""
    return [
        f"- {trigger.name}: {comparison(trigger, quote)}"
        + ("" if trigger.name in MANDATORY else f" ({TRIGGER_WORDS[trigger.name].measures})")
        for trigger in triggers_among(fired, names)
    ]


def other_trigger_lines(fired: Sequence[TriggerReading], told: Notice, quote: str) -> list[str]:
    """A line for each other state whose triggers fired: the page's own has lines of its own."""
    lines = []
    for notice, names in TIERS.items():
        on = [f"{trigger.name} {comparison(trigger, quote)}" for trigger in triggers_among(fired, names)]
        if on and notice is not told:
            lines.append(f"Also on ({notice.value.split('_')[0].lower()}): {'; '.join(on)}.")
    return lines


def triggers_among(fired: Iterable[TriggerReading], names: Sequence[str]) -> list[TriggerReading]:
    """Those of these names that fired, once each, in the order of the names."""
    by_name = {trigger.name: trigger for trigger in fired}
    return [by_name[name] for name in names if name in by_name]


def grid_text(report: GridReport, *, price_name: str = "price") -> str:
    """Id, market, price and declared bounds of a grid."""
    grid, quote = report.grid, quote_of(report.grid)
    price = f"{price_name} {quote_text(report.price, quote)}{bar_time_text(report)}"
    if grid is None:
        return f"{report.grid_id}: {price}; market and bounds are not known."
    bounds = f"{price_digits(grid.lower)} to {price_digits(grid.upper)} {quote}"
    loss = unprofitable(grid) if grid.enabled else None
    lost = "" if loss is None else f" {loss[:1].upper()}{loss[1:]}."
    health = _HEALTH.get(report.position_health or "", "")
    return f"{report.grid_id} {grid.market}: {price}, grid {bounds}{health}.{lost}"


def bar_time_text(report: GridReport) -> str:
    """When the bar of a price closed, and how long before the evaluation where that was not its own bar."""
    if report.as_of is None or report.price is None:
        return ""
    age = f", {span_text(report.evaluated_at - report.as_of)} old" if report.is_late else ""
    return f" at {time_text(report.as_of, beside=report.evaluated_at)}{age}"


def proposal_line(report: GridReport) -> str:
    """The range proposed to a disabled grid."""
    quote, proposed = quote_of(report.grid), report.proposal
    lower, upper, levels, stop = (proposed.get(name) for name in ("lower", "upper", "levels", "stop_loss"))
    if lower is None or upper is None:
        return f"Proposed range: {NOT_AVAILABLE}."
    shared = f", {number_text(levels, 0)} levels" if levels is not None else ""
    below = f", stop {quote_text(stop, quote)}" if stop is not None else ""
    return f"Proposed range {price_digits(lower)} to {price_digits(upper)} {quote}{shared}{below}."


def verdict_line(report: GridReport) -> str:
    """The market's verdict and the probability that it lasts."""
    if report.verdict is None:
        return f"Verdict: {NOT_AVAILABLE}."
    confidence = NOT_AVAILABLE if report.confidence is None else f"p={report.confidence:.2f}"
    return f"Verdict {report.verdict}, confidence {confidence}."


def stop_line(report: GridReport, *, price_name: str = "price") -> str:
    """How far price is from the stop: in quote, of the price, and in ATR."""
    grid, price, atr, quote = report.grid, report.price, report.distance_to_stop_atr, quote_of(report.grid)
    if grid is None or price is None or not math.isfinite(price) or price <= 0:
        return f"Stop distance: {NOT_AVAILABLE}."
    if grid.stop_loss is None:
        return f"{NO_STOP_TEXT.capitalize()} may be lost."
    distance = abs(price - grid.stop_loss)
    in_atr = "" if atr is None or not math.isfinite(atr) else f", {number_text(abs(atr), 2)} ATR"
    risk = f", stop risk {report.stop_loss_risk or 'not known now'}"
    return (
        f"Stop {quote_text(grid.stop_loss, quote)}: {price_name} is {amount_text(distance)} {quote} "
        f"({percent_text(distance / price)}{in_atr}) {'above' if price > grid.stop_loss else 'below'} it{risk}."
    )


def percent_text(share: float) -> str:
    """A share in percent."""
    return f"{number_text(100 * share, 2)} %"


def has_stop(report: GridReport) -> bool:
    """Whether the grid was declared with a stop; True where its declaration is not known."""
    return report.grid is None or report.grid.stop_loss is not None


def position_line(report: GridReport, quote: str) -> str:
    """What the grid holds and has earned, and where that is known from; empty where nothing is."""
    risk = report.risk
    if risk is not None and risk.get("position_unknown"):
        return f"Position ({_source_text(risk)}): not known, {risk['position_unknown']}."
    if risk is None or risk["inventory_base"] is None or report.grid is None:
        return ""
    base = report.grid.symbol.split("/")[0]
    held, modelled = (f"{value:,.6g} {base}" for value in (risk["inventory_base"], _modelled_inventory(risk)))
    model = f" (model {modelled})" if modelled != held else ""
    if risk.get("pnl_unknown"):
        why = f"PnL not known: {risk['pnl_unknown']}"
        return f"Position ({_source_text(risk)}): {held}{model}, {why}.{_old_import(risk, base)}"
    parts = f"grid profit {amount_text(risk['grid_profit_quote'])} {quote}, unrealised "
    parts += f"{amount_text(risk['unrealised_quote'])} {quote}"
    pnl = f"PnL {amount_text(risk['total_pnl_quote'])} {quote} ({parts})"
    return f"Position ({_source_text(risk)}): {held}{model}, {pnl}.{_old_import(risk, base)}"


def _old_import(risk: Mapping[str, Any], base: str) -> str:
    """What an import says that is too old to decide anything."""
    imported, until = risk.get("imported_inventory_base"), risk.get("imported_until")
    if imported is None or until is None:
        return ""
    return f" An import with fills until {time_text(until)} shows {imported:,.6g} {base}: too old, it decides nothing."


def _modelled_inventory(risk: Mapping[str, Any]) -> float:
    """What the figures of risk are of."""
    modelled = risk.get("modelled_inventory_base")
    return float(risk["inventory_base"] if modelled is None else modelled)


def _source_text(risk: Mapping[str, Any]) -> str:
    known_until = risk.get("known_until")
    if risk["source"] != PositionSource.IMPORT or known_until is None:
        return str(risk["source"])
    return f"import, fills until {known_until:%Y-%m-%d %H:%M} UTC"


def risk_lines(risk: DelayRisk | None, quote: str, *, has_stop: bool = True) -> list[str]:
    """Capital at risk for each delay of an exit, and the give-back to be expected."""
    capital = capital_line(risk, quote, has_stop=has_stop)
    if risk is None:
        return [capital, f"Expected give-back if delayed: {NOT_AVAILABLE}."]
    usual, bad = (figures[_WAITED] for figures in (risk.giveback_p50_quote, risk.giveback_p90_quote))
    giveback = f"{_HORIZON_WORDS[_WAITED]} {amount_text(usual)} / {amount_text(bad)} {quote}"
    return [capital, f"Expected give-back if delayed (p50 / p90): {giveback}."]


def capital_line(risk: DelayRisk | None, quote: str, *, has_stop: bool = True, is_touched: bool = False) -> str:
    """Capital at risk for each delay of an exit, and the worst case: none at a stop that was touched."""
    if risk is None:
        return f"Capital at risk: {NOT_AVAILABLE}."
    at_risk = ", ".join(
        f"{words} {amount_text(risk.capital_at_risk_quote[horizon])} {quote}"
        for horizon, words in _HORIZON_WORDS.items()
    )
    if is_touched:
        return f"Capital at risk if delayed: {at_risk} ({risk.source})."
    end = "at the stop" if has_stop else f"({NO_STOP_TEXT})"
    worst = f"worst case {end} {amount_text(risk.worst_case_quote)} {quote}"
    if has_stop and _STOP_HORIZON in risk.stop_probability:
        worst += f", touched within 24 h: {risk.stop_probability[_STOP_HORIZON]:.0%}"
    return f"Capital at risk if delayed: {at_risk}; {worst} ({risk.source})."
