"""What happened, and what leaving now and waiting cost: the sentences with which a page begins that asks to leave."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from mm_pipeline.domain.exit_state import LATEST, MANDATORY, WARNING
from mm_pipeline.domain.notifications.channel import TEXT_LIMIT
from mm_pipeline.domain.notifications.delay_risk import DelayRisk
from mm_pipeline.reporting.grid_report import GridReport, TriggerReading
from mm_pipeline.reporting.pages.words import amount_text, has_stop, number_text, quote_of, quote_text, triggers_among

_WAITED: Final = "4h"
_WAITED_WORDS: Final = "4 h"
_STOP_WITHIN: Final = "24h"
_RARELY, _SURELY = 0.05, 0.95
"""Probabilities beyond which no count of ten says more than words."""
_SAME: Final = 0.01
"""A usual loss below this share of the bad one is none."""
_OTHERS: Final = 200
"""Characters of the first line of a page, and of what the moment of sending may put before it."""
_PLACED: Final = ("closes_outside", "stop_loss_breached")
"""Triggers that say where the price is."""
_SIDES: Final = {"BELOW_GRID": "below", "ABOVE_GRID": "above"}


def led_by(lines: Sequence[str], report: GridReport, risk: DelayRisk | None, *, is_held: bool = True) -> list[str]:
    """The lines that a page must have, after what happened to the grid and, unless nothing is held, what waiting costs.

    Sentences that have no room beside them, as of endless numbers, are left out.
    """
    costs = [_now(report), *_waiting(report, risk)] if is_held else []
    room, lead = TEXT_LIMIT - _OTHERS - sum(len(line) + 1 for line in lines), ""
    for sentence in [_happened(report), *costs]:
        if len(lead) + len(sentence) + 1 < room:
            lead = f"{lead} {sentence}".strip()
    return [lead, *lines]


def _happened(report: GridReport) -> str:
    if report.grid is None:
        return ""
    coin = report.grid.symbol.split("/")[0]
    facts = [text for one in triggers_among(report.fired, MANDATORY) if (text := _fact(one, report))]
    side = _SIDES.get(report.position_health or "")
    if facts:
        is_placed = side is None or any(one.name in _PLACED for one in report.fired)
        return f"{coin} {_listed(facts if is_placed else [*facts, f'is {side} your grid'])}."
    if any(one.name == "stop_likely" for one in report.fired):
        return f"{coin} is likely to touch your stop at {quote_text(report.grid.stop_loss, quote_of(report.grid))}."
    if triggers_among(report.fired, (*LATEST, *WARNING)):
        return f"{coin} shows signs that its range ends."
    return "" if side is None else f"{coin} is {side} your grid."


def _fact(trigger: TriggerReading, report: GridReport) -> str:
    """What a mandatory trigger says of the coin."""
    side, value = _SIDES.get(report.position_health or "", "outside"), trigger.value
    if trigger.name == "stop_loss_breached" and report.grid is not None:
        is_back = has_stop(report) and report.price is not None and report.price > float(report.grid.stop_loss or 0.0)
        back = " (it is above it again)" if is_back else ""
        return f"touched your stop at {quote_text(report.grid.stop_loss, quote_of(report.grid))}{back}"
    if value is None or not math.isfinite(value):
        return ""
    if trigger.name == "closes_outside":
        return f"closed {side} your grid {number_text(value, 0)} h in a row"
    if trigger.name == "range_invalidated":
        return f"left its range by {number_text(value, 1)} times its usual 4 h swing"
    return "trends" if trigger.name == "regime_trend" else ""


def _now(report: GridReport) -> str:
    pnl = None if report.risk is None else report.risk.get("total_pnl_quote")
    if report.grid is None or pnl is None or not math.isfinite(pnl):
        return ""
    coin, quote = report.grid.symbol.split("/")
    amount = f"{'+' * (pnl > 0)}{amount_text(pnl)} {quote}"
    return f"Stopping the bot and selling its {coin} now leaves about {amount} in all since its start."


def _waiting(report: GridReport, risk: DelayRisk | None) -> list[str]:
    if risk is None:
        return ["What waiting costs is not known."]
    usual, bad = risk.giveback_p50_quote[_WAITED], risk.giveback_p90_quote[_WAITED]
    if not (math.isfinite(usual) and math.isfinite(bad)):
        return ["What waiting costs is not known."]
    quote = quote_of(report.grid)
    ten = f", one time in ten worse by {amount_text(bad)} {quote} or more" if bad > 0 else ""
    is_same = abs(usual) < _SAME * abs(bad)
    sentences = [f"In {_WAITED_WORDS}: likely {'the same' if is_same else _difference(usual, quote)}{ten}."]
    is_touched = any(one.name == "stop_loss_breached" for one in report.fired)
    probability = risk.stop_probability.get(_STOP_WITHIN)
    if probability is not None and has_stop(report) and not is_touched:
        sentences.append(f"The stop is touched within 24 h {_often(probability)}.")
    return sentences


def _difference(loss: float, quote: str) -> str:
    amount = amount_text(abs(loss))
    if amount == "0.00":
        return "the same"
    return f"{amount} {quote} {'worse' if loss > 0 else 'better'}"


def _often(probability: float) -> str:
    """A probability as a count of ten: ``6 times in ten``."""
    if probability < _RARELY:
        return "less than one time in twenty"
    if probability >= _SURELY:
        return "almost surely"
    times = max(1, round(10 * probability))
    return "one time in ten" if times == 1 else f"{times} times in ten"


def _listed(facts: Iterable[str]) -> str:
    *first, last = facts
    return f"{', '.join(first)} and {last}" if first else last
