"""Entry state of SPEC 6 for one disabled grid at one evaluation, and the range proposed to its operator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mm_pipeline_tests.reference.bars import newest_known
from mm_pipeline_tests.reference.exit_state import LATEST, ExitJudge
from mm_pipeline_tests.reference.grid import Grid, Market, grid_in_force
from mm_pipeline_tests.reference.metrics import has_range


@dataclass(frozen=True)
class EntryThresholds:
    """Thresholds of the entry state; the page leaves width and number of levels to the settings."""

    min_confidence: float = 0.5
    buffer_atr: float = 0.5
    min_width_pct: float = 3.0
    fee_multiple: float = 3.0
    max_levels: int = 50
    stop_atr_4h: float = 1.5


@dataclass(frozen=True)
class Proposal:
    """A range to enter, in quote, and its number of prices; None where not even one interval earns its fees."""

    lower: float
    upper: float
    stop_loss: float | None
    levels: int | None


@dataclass(frozen=True)
class EntryState:
    """State, what it was judged by, and the proposal (None without a confirmed-swing range)."""

    state: str
    verdict: str | None
    confidence: float | None
    proposal: Proposal | None


def entry_state(judge: ExitJudge, at: int, rules: EntryThresholds, *, is_good: bool, is_liquid: bool) -> EntryState:
    """Decide at one evaluation (epoch ms); the exit judge tells which triggers of the market are on."""
    hour = newest_known(judge.market.hourly.bars, at)
    verdict = None if hour is None else judge.hourly.shown(hour)
    confidence = None if hour is None else judge.hourly.confidence[hour]
    grid = grid_in_force(judge.versions, at)
    assert grid is not None
    proposal = propose(judge.market, grid, at, rules)
    fired = {name for name, trigger in judge.triggers_at(at).items() if trigger.is_fired}
    state = "WAIT"
    if not is_good:
        state = "UNKNOWN"
    elif verdict in ("TREND", "TRANSITION"):
        state = "AVOID"
    elif _may_enter(verdict, confidence, fired, rules) and is_liquid and _is_met(judge.market, proposal, at):
        state = "ENTER"
    return EntryState(state, verdict, confidence, proposal)


def _may_enter(verdict: str | None, confidence: float | None, fired: Collection[str], rules: EntryThresholds) -> bool:
    """Of the exit triggers, a grid that starts now can meet only those of the market."""
    is_confident = confidence is not None and confidence >= rules.min_confidence
    return verdict == "RANGE_OK" and is_confident and not any(name in fired for name in ("regime_trend", *LATEST))


def _is_met(market: Market, proposal: Proposal | None, at: int) -> bool:
    """There are levels, and price is among them: a grid placed beside the price would be outside from its start."""
    newest = newest_known(market.quarters, at)
    if proposal is None or not proposal.levels or newest is None:
        return False
    return proposal.lower <= market.quarters.close[newest] <= proposal.upper


def propose(market: Market, grid: Grid, at: int, rules: EntryThresholds) -> Proposal | None:
    """Bounds from the confirmed-swing range, as many levels as pay for their fees, a stop below."""
    hour, coarse = newest_known(market.hourly.bars, at), newest_known(market.coarse.bars, at)
    row = None if hour is None else market.hourly.at(hour)
    if row is None or row["atr_14"] is None or not has_range(row):
        return None
    lower = row["range_low"] - rules.buffer_atr * row["atr_14"]
    upper = row["range_high"] + rules.buffer_atr * row["atr_14"]
    middle = (lower + upper) / 2
    half = max((upper - lower) / 2, middle * rules.min_width_pct / 200)
    lower, upper = middle - half, middle + half
    atr_4h = None if coarse is None else market.coarse.at(coarse)["atr_14"]
    stop = None if atr_4h is None else lower - rules.stop_atr_4h * atr_4h
    for count in range(rules.max_levels, 1, -1):
        levels = spaced(lower, upper, count, grid.spacing)
        if all(
            _net(levels[i], levels[i + 1], grid.fee) >= rules.fee_multiple * grid.fee * (levels[i] + levels[i + 1])
            for i in range(count - 1)
        ):
            return Proposal(lower, upper, stop, count)
    return Proposal(lower, upper, stop, None)


def spaced(lower: float, upper: float, count: int, spacing: str) -> list[float]:
    """Prices of ``count`` levels at equal differences (arithmetic) or equal ratios (geometric)."""
    if spacing == "arithmetic":
        return [lower + (upper - lower) * i / (count - 1) for i in range(count)]
    return [lower * (upper / lower) ** (i / (count - 1)) for i in range(count)]


def _net(bought: float, sold: float, fee: float) -> float:
    return sold - bought - fee * (bought + sold)
