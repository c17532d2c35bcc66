"""Exit state of SPEC 6 for one grid, evaluation by evaluation, each from the bars known at that moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mm_pipeline_tests.reference.bars import MS_15M, newest_known
from mm_pipeline_tests.reference.grid import (
    Grid,
    GridVersion,
    Market,
    StopWatch,
    closes_outside,
    grid_in_force,
    range_excess_atr,
)
from mm_pipeline_tests.reference.verdict import RegimeJudge, decline

WEEK_MS = 7 * 24 * 3_600_000

MANDATORY = ("regime_trend", "range_invalidated", "closes_outside", "stop_loss_breached")
LATEST = ("stop_likely", "transition_persists", "half_life_doubled", "volatility_expanded")
WARNING = ("transition_likely", "confidence_declining", "efficiency_rising", "reversion_slowing")
SEEN_IN_BARS = ("range_invalidated", "closes_outside", "stop_loss_breached")
TRIGGERS = (*MANDATORY, *LATEST, *WARNING)


@dataclass(frozen=True)
class ExitThresholds:
    """Thresholds of SPEC 6; the defaults are the seed's table."""

    trend_needs_4h: bool = False
    range_buffer_atr: float = 0.5
    closes_outside: int = 2
    transition_1h_bars: int = 4
    transition_4h_bars: int = 2
    half_life_ratio: float = 2.0
    half_life_kappa: str = "ou_kappa"
    half_life_bars: int = 1
    expansion: float = 1.25
    probability: float = 0.40
    decline_bars: int = 6
    decline_drop: float = 0.10
    efficiency: float = 0.42
    efficiency_lag_bars: int = 6
    efficiency_bars: int = 3
    slowing_ratio: float = 0.67
    slowing_bars: int = 3
    latest_min_triggers: int = 1
    warning_min_triggers: int = 2
    information: tuple[str, ...] = ("stop_likely",)


SEED = ExitThresholds()
CONFIRMED = replace(
    SEED, trend_needs_4h=True, half_life_kappa="ou_kappa_upper", half_life_bars=3, latest_min_triggers=2
)
"""Triggers that ask for more than the seed's."""
INFORMED = replace(SEED, information=("stop_likely", "regime_trend", "volatility_expanded", "transition_likely"))
"""Fewer triggers than the seed's: the others are shown and ask for nothing."""


@dataclass(frozen=True)
class Trigger:
    """One trigger at one evaluation; value and margin are None where an input is missing, and it is not fired then.

    One that is information has a value alone.
    """

    value: float | None
    threshold: float | None
    margin: float | None
    is_fired: bool
    since: int | None = None


@dataclass(frozen=True)
class ExitState:
    """The state, its triggers, and the state it would be without each fired trigger."""

    evaluated_at: int
    state: str
    triggers: dict[str, Trigger]
    counterfactual: dict[str, str]


def state_of(fired: Collection[str], rules: ExitThresholds, *, is_good: bool, is_fresh: bool) -> str:
    """The state that a set of fired triggers makes, given whether the market's data is good and fresh."""
    if not is_good:
        survives = is_fresh and any(name in fired for name in SEEN_IN_BARS)
        return "MANDATORY_EXIT" if survives else "UNKNOWN"
    if any(name in fired for name in MANDATORY):
        return "MANDATORY_EXIT"
    if sum(name in fired for name in LATEST) >= rules.latest_min_triggers:
        return "LATEST_ACCEPTABLE_EXIT"
    if sum(name in fired for name in WARNING) >= rules.warning_min_triggers:
        return "WARNING"
    return "NORMAL"


class ExitJudge:
    """Exit states of one grid, enabled in all its versions, under one policy."""

    def __init__(
        self,
        market: Market,
        judges: tuple[RegimeJudge, RegimeJudge],
        versions: Sequence[GridVersion],
        rules: ExitThresholds,
    ) -> None:
        self.market, self.versions, self.rules = market, versions, rules
        self.hourly, self.coarse = judges
        self._fired: dict[int, dict[str, Trigger]] = {}
        self._stops: dict[int, StopWatch] = {}

    def evaluations(self) -> list[int]:
        """Every 15m close at which a started version of the grid is in force."""
        return [closed for closed in self.market.quarters.close_time if grid_in_force(self.versions, closed)]

    def at(self, evaluated_at: int, *, is_good: bool = True, is_fresh: bool = True) -> ExitState:
        """State with triggers, since and counterfactuals at one evaluation (epoch ms)."""
        triggers = {
            name: replace(trigger, since=self._since(name, evaluated_at) if trigger.is_fired else None)
            for name, trigger in self.triggers_at(evaluated_at).items()
        }
        fired = [name for name, trigger in triggers.items() if trigger.is_fired]
        without = {
            name: state_of([other for other in fired if other != name], self.rules, is_good=is_good, is_fresh=is_fresh)
            for name in fired
        }
        state = state_of(fired, self.rules, is_good=is_good, is_fresh=is_fresh)
        return ExitState(evaluated_at, state, triggers, without)

    def _since(self, name: str, evaluated_at: int) -> int:
        """Earliest evaluation of the unbroken fired run, at most seven days back."""
        earliest = evaluated_at
        while earliest - MS_15M >= evaluated_at - WEEK_MS:
            if not grid_in_force(self.versions, earliest - MS_15M):
                break
            if not self.triggers_at(earliest - MS_15M)[name].is_fired:
                break
            earliest -= MS_15M
        return earliest

    def triggers_at(self, at: int) -> dict[str, Trigger]:
        """All triggers by name, without ``since``."""
        if at not in self._fired:
            grid = grid_in_force(self.versions, at)
            assert grid is not None
            hour = newest_known(self.market.hourly.bars, at)
            coarse = newest_known(self.market.coarse.bars, at)
            found = {
                "regime_trend": self._regime_trend(hour, coarse),
                "range_invalidated": self._range_invalidated(grid, at),
                "closes_outside": self._closes_outside(grid, at),
                "stop_loss_breached": self._stop_loss_breached(grid, at),
                "transition_persists": self._transition_persists(hour, coarse),
                "half_life_doubled": self._half_life_doubled(hour),
                "volatility_expanded": self._volatility_expanded(hour),
                "transition_likely": self._transition_likely(hour),
                "confidence_declining": self._confidence_declining(hour),
                "efficiency_rising": self._efficiency_rising(hour),
                "reversion_slowing": self._reversion_slowing(hour),
                # The stop's own reference stands in reference/risk.py: here its past is not known.
                "stop_likely": _missing(0.5),
            }
            shown = self.rules.information
            self._fired[at] = {
                name: Trigger(each.value, None, None, False) if name in shown else each for name, each in found.items()
            }
        return self._fired[at]

    def _regime_trend(self, hour: int | None, coarse: int | None) -> Trigger:
        verdict = None if hour is None else self.hourly.shown(hour)
        verdict_4h = None if coarse is None else self.coarse.shown(coarse)
        if verdict is None or (self.rules.trend_needs_4h and verdict_4h is None):
            return _missing(1.0)
        is_trend = verdict == "TREND"
        if self.rules.trend_needs_4h:
            is_trend = is_trend and verdict_4h in ("TREND", "TRANSITION")
        return Trigger(float(is_trend), 1.0, 1.0 if is_trend else -1.0, is_trend)

    def _range_invalidated(self, grid: Grid, at: int) -> Trigger:
        excess = range_excess_atr(self.market, self.versions, grid, at)
        return _over(excess, self.rules.range_buffer_atr, is_strict=True)

    def _closes_outside(self, grid: Grid, at: int) -> Trigger:
        return _over(closes_outside(self.market.hourly.bars, self.versions, grid, at), self.rules.closes_outside)

    def _stop_loss_breached(self, grid: Grid, at: int) -> Trigger:
        if grid.started_at not in self._stops:
            self._stops[grid.started_at] = StopWatch(self.market.quarters, self.versions, grid)
        nearest = self._stops[grid.started_at].at(at)
        return _missing(grid.stop_loss) if nearest is None else _under(*nearest)

    def _transition_persists(self, hour: int | None, coarse: int | None) -> Trigger:
        alternatives = [
            _over(_transition_run(self.hourly, hour, self.rules.transition_1h_bars), self.rules.transition_1h_bars),
            _over(_transition_run(self.coarse, coarse, self.rules.transition_4h_bars), self.rules.transition_4h_bars),
        ]
        known = [each for each in alternatives if each.margin is not None]
        return max(known, key=lambda each: each.margin or 0.0) if known else alternatives[0]

    def _half_life_doubled(self, hour: int | None) -> Trigger:
        worst = self._slowest(hour, self.rules.half_life_kappa, self.rules.half_life_bars)
        return _under(worst, 1 / self.rules.half_life_ratio)

    def _reversion_slowing(self, hour: int | None) -> Trigger:
        return _under(self._slowest(hour, "ou_kappa", self.rules.slowing_bars), self.rules.slowing_ratio)

    def _slowest(self, hour: int | None, kappa: str, bars: int) -> float | None:
        """Largest ratio of kappa to its baseline over the last bars."""
        window = _last(hour, bars)
        if window is None:
            return None
        rows = [self.market.hourly.at(i) for i in window]
        if any(row[kappa] is None or row["ou_kappa_baseline"] is None for row in rows):
            return None
        return float(max(row[kappa] / row["ou_kappa_baseline"] for row in rows))

    def _volatility_expanded(self, hour: int | None) -> Trigger:
        value = None if hour is None else self.market.hourly.at(hour)["volatility_expansion"]
        return _over(value, self.rules.expansion, is_strict=True)

    def _transition_likely(self, hour: int | None) -> Trigger:
        return _over(None if hour is None else self.hourly.p_transition[hour], self.rules.probability)

    def _confidence_declining(self, hour: int | None) -> Trigger:
        bars, needed = self.rules.decline_bars, self.rules.decline_drop
        measured = None if hour is None else decline(self.hourly.confidence, hour, bars)
        if measured is None:
            return _missing(needed)
        slope, drop = measured
        return Trigger(drop, needed, min(-slope * (bars - 1), drop - needed), slope < 0 and drop - needed >= 0)

    def _efficiency_rising(self, hour: int | None) -> Trigger:
        level, lag, bars = self.rules.efficiency, self.rules.efficiency_lag_bars, self.rules.efficiency_bars
        window = _last(hour, bars + lag)
        if window is None:
            return _missing(level)
        ratios = [self.market.hourly.at(i)["efficiency_ratio_24"] for i in window]
        if None in ratios:
            return _missing(level)
        above = [now - level for now in ratios[lag:]]
        rise = [now - before for now, before in zip(ratios[lag:], ratios[:-lag], strict=True)]
        is_fired = min(above) >= 0 and min(rise) > 0
        return Trigger(ratios[-1], level, min(*above, *rise), is_fired)


def _last(hour: int | None, bars: int) -> range | None:
    return None if hour is None or hour + 1 < bars else range(hour + 1 - bars, hour + 1)


def _transition_run(judge: RegimeJudge, newest: int | None, needed: int) -> int | None:
    """Consecutive TRANSITION verdicts up to the number needed; None where one of those bars has no verdict yet."""
    window = _last(newest, needed)
    if window is None:
        return None
    verdicts = [judge.shown(i) for i in window]
    if None in verdicts:
        return None
    run = 0
    while run < needed and verdicts[-1 - run] == "TRANSITION":
        run += 1
    return run


def _missing(threshold: float) -> Trigger:
    return Trigger(None, threshold, None, False)


def _over(value: float | None, threshold: float, *, is_strict: bool = False) -> Trigger:
    if value is None:
        return _missing(threshold)
    margin = value - threshold
    return Trigger(value, threshold, margin, margin > 0 if is_strict else margin >= 0)


def _under(value: float | None, threshold: float) -> Trigger:
    if value is None:
        return _missing(threshold)
    return Trigger(value, threshold, threshold - value, threshold - value >= 0)
