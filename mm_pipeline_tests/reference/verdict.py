"""Regime verdict of SPEC 4 bar by bar. ``p_transition`` and ``confidence`` are inputs: they come from fitted tables."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mm_pipeline_tests.reference.indicators import DICKEY_FULLER_5_PCT
from mm_pipeline_tests.reference.metrics import MarketMetrics, Row, has_range


@dataclass(frozen=True)
class RegimeThresholds:
    """Thresholds of SPEC 4 with the page's own values."""

    trend_min_confirmations: int = 3
    trend_efficiency: float = 0.49
    ema_gap_atr: float = 0.25
    direction_bars: int = 24
    transition_probability: float = 0.5
    transition_efficiency: float = 0.42
    transition_efficiency_bars: int = 6
    transition_expansion: float = 1.25
    transition_min_signs: int = 2
    range_score_ok: float = 0.6
    touches: int = 3
    crossings: int = 6
    hysteresis_bars: int = 24
    weakening_probability: float = 0.40
    declining_bars: int = 6
    declining_drop: float = 0.10


@dataclass(frozen=True)
class Regime:
    """The columns of SPEC 4 for one bar; None where a lookback is not complete."""

    range_score: float | None
    confirmations: int | None
    p_transition: float | None
    p_trend: float | None
    p_range_ok: float | None
    p_range_weak: float | None
    verdict_raw: str | None
    verdict: str | None
    primary_regime: str | None
    secondary_signal: str | None


def sign(value: float) -> int:
    """-1, 0 or 1."""
    return (value > 0) - (value < 0)


def range_score(row: Row, rules: RegimeThresholds, *, is_1h: bool) -> float | None:
    """0..1; the mean of four parts on 1h bars, of the first three on 4h bars."""
    if row["swing_structure"] is None or row["atr_14"] is None or (is_1h and row["ou_status"] is None):
        return None
    if not has_range(row):
        return 0.0
    parts = [
        row["containment_72"],
        min(row["touches_upper_72"], row["touches_lower_72"], rules.touches) / rules.touches,
        min(row["midline_crossings_72"], rules.crossings) / rules.crossings,
    ]
    if is_1h:
        t = 0.0 if row["ou_t"] is None else row["ou_t"]
        parts.append(min(1.0, max(0.0, -t / DICKEY_FULLER_5_PCT)))
    return float(sum(parts) / len(parts))


class RegimeJudge:
    """Verdicts of one market on one timeframe.

    Parameters
    ----------
    metrics
        Metrics of the timeframe that is judged.
    coarse
        Metrics of the 4h bars that confirm 1h bars; None when 4h bars are judged themselves.
    p_transition, confidence
        One value a bar, None where there is none.
    """

    def __init__(
        self,
        metrics: MarketMetrics,
        coarse: MarketMetrics | None = None,
        *,
        p_transition: Sequence[float | None] | None = None,
        confidence: Sequence[float | None] | None = None,
        rules: RegimeThresholds | None = None,
    ) -> None:
        self.metrics = metrics
        self.coarse = coarse
        self.p_transition = p_transition if p_transition is not None else [None] * len(metrics)
        self.confidence = confidence if confidence is not None else [None] * len(metrics)
        self.rules = rules or RegimeThresholds()
        self._raw: dict[int, str | None] = {}

    def at(self, t: int) -> Regime:
        """Everything of SPEC 4 at bar ``t``; all None where there is no raw verdict yet."""
        held = self.confirmations(t)
        score = None if self.raw(t) is None else self._range_score(t)
        shown = self.shown(t)
        p_trend, p_range_ok, p_range_weak = self._split(t, held, score)
        return Regime(
            range_score=score,
            confirmations=None if held is None else sum(held),
            p_transition=self.p_transition[t],
            p_trend=p_trend,
            p_range_ok=p_range_ok,
            p_range_weak=p_range_weak,
            verdict_raw=self.raw(t),
            verdict=shown,
            primary_regime=self._primary(held, shown),
            secondary_signal=self._secondary(t, shown),
        )

    def coarse_index(self, t: int) -> int | None:
        """Newest 4h bar with close_time <= this bar's close_time."""
        assert self.coarse is not None
        closed = bisect_right(self.coarse.bars.close_time, self.metrics.bars.close_time[t])
        return closed - 1 if closed else None

    def confirmations(self, t: int) -> list[bool] | None:
        """Which confirmations of a trend hold; None where one cannot be known yet."""
        closes, row = self.metrics.bars.close, self.metrics.at(t)
        gaps = [row["ema_gap_atr"]]
        if self.coarse is not None:
            k = self.coarse_index(t)
            gaps.append(None if k is None else self.coarse.at(k)["ema_gap_atr"])
        if t < self.rules.direction_bars or row["swing_structure"] is None or None in gaps:
            return None
        d = sign(closes[t] - closes[t - self.rules.direction_bars])
        agreeing = {1: "UP", -1: "DOWN"}.get(d)
        return [
            row["efficiency_ratio_24"] >= self.rules.trend_efficiency,
            row["swing_structure"] == agreeing,
            *(d * gap >= self.rules.ema_gap_atr for gap in gaps),
        ]

    def raw(self, t: int) -> str | None:
        """The first verdict that holds, before hysteresis."""
        if t not in self._raw:
            self._raw[t] = self._judge(t)
        return self._raw[t]

    def _judge(self, t: int) -> str | None:
        held = self.confirmations(t)
        row = self.metrics.at(t)
        score = self._range_score(t)
        if held is None or score is None or row["atr_baseline_200"] is None:
            return None
        needed = self.rules.trend_min_confirmations if self.coarse is not None else len(held)
        if sum(held) >= needed:
            return "TREND"
        probability = self.p_transition[t]
        if probability is not None and probability >= self.rules.transition_probability:
            return "TRANSITION"
        if sum(self._transition_signs(t, row)) >= self.rules.transition_min_signs:
            return "TRANSITION"
        return "RANGE_OK" if score >= self.rules.range_score_ok else "RANGE_WEAK"

    def _range_score(self, t: int) -> float | None:
        return range_score(self.metrics.at(t), self.rules, is_1h=self.coarse is not None)

    def _transition_signs(self, t: int, row: Row) -> list[bool]:
        ratio = row["efficiency_ratio_24"]
        before = self.metrics.at(t - self.rules.transition_efficiency_bars)["efficiency_ratio_24"]
        expansion = row["volatility_expansion"]
        close = self.metrics.bars.close[t]
        return [
            ratio >= self.rules.transition_efficiency and ratio > before,
            expansion is not None and expansion > self.rules.transition_expansion,
            has_range(row) and not row["range_low"] <= close <= row["range_high"],
        ]

    def shown(self, t: int) -> str | None:
        """Most recent raw verdict, within 24 bars, that held on two bars in a row; else the raw one."""
        first = t + 1 - self.rules.hysteresis_bars
        if first < 0 or any(self.raw(i) is None for i in range(first, t + 1)):
            return None
        for j in range(t, first, -1):
            if self.raw(j) == self.raw(j - 1):
                return self.raw(j)
        return self.raw(t)

    def _split(self, t: int, held: list[bool] | None, score: float | None) -> Sequence[float | None]:
        """p_trend, p_range_ok, p_range_weak: with p_transition (0 where it is None) they sum to 1."""
        if held is None or score is None:
            return None, None, None
        rest = 1 - (self.p_transition[t] or 0.0)
        p_trend = rest * sum(held) / len(held)
        remaining = rest - p_trend
        return p_trend, remaining * score, remaining * (1 - score)

    def _primary(self, held: list[bool] | None, shown: str | None) -> str | None:
        if shown is None or held is None:
            return None
        return "TREND" if shown == "TREND" or (shown == "TRANSITION" and sum(held) >= 2) else "RANGE"

    def _secondary(self, t: int, shown: str | None) -> str | None:
        if shown is None:
            return None
        if shown in ("TREND", "TRANSITION"):
            return "BREAKING"
        probability = self.p_transition[t]
        is_likely = probability is not None and probability >= self.rules.weakening_probability
        drop = decline(self.confidence, t, self.rules.declining_bars)
        is_declining = drop is not None and drop[0] < 0 and drop[1] >= self.rules.declining_drop
        return "WEAKENING" if shown == "RANGE_WEAK" or is_likely or is_declining else "STABLE"


def decline(values: Sequence[Any], t: int, bars: int) -> tuple[float, float] | None:
    """Least-squares slope (per bar) and first - last over the last ``bars`` values; None where one is missing."""
    window = list(values[max(0, t + 1 - bars) : t + 1])
    if len(window) < bars or None in window:
        return None
    middle = (bars - 1) / 2
    mean = sum(window) / bars
    slope = sum((i - middle) * (y - mean) for i, y in enumerate(window)) / sum((i - middle) ** 2 for i in range(bars))
    return slope, window[0] - window[-1]
