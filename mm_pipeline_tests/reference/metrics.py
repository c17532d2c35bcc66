"""Regime metrics of SPEC 3 by a plain loop over bars; each value looks at exactly its own window."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from mm_pipeline_tests.reference import indicators as formula
from mm_pipeline_tests.reference.bars import MS_1H, Bars

Row = dict[str, Any]

SWING_WINDOW = 72
SWING_K = 2
OU_CLOSES = 240
OU_BASELINE = 720
TOUCH_ATR = 0.25
DAY_MS = 24 * MS_1H


class MarketMetrics:
    """The metrics of one market and timeframe, computed bar by bar and remembered.

    Parameters
    ----------
    bars
        Bars of one timeframe, gaps filled.
    length_ms
        Length of a bar in milliseconds; the OU metrics exist on 1h bars only.
    """

    def __init__(self, bars: Bars, length_ms: int) -> None:
        self.bars = bars
        self.length_ms = length_ms
        self._negated_low = [-low for low in bars.low]
        self._dx: dict[int, float] = {}
        self._bandwidth: dict[int, float] = {}
        self._ou: dict[int, formula.OrnsteinUhlenbeck | None] = {}
        self._rows: dict[int, Row] = {}

    def __len__(self) -> int:
        return len(self.bars)

    def rows(self, which: Iterable[int] | None = None) -> list[Row]:
        """The metrics of these bars (default: all), a dict a bar; None while a lookback is not complete."""
        return [self.at(t) for t in (range(len(self)) if which is None else which)]

    def at(self, t: int) -> Row:
        """All metrics of bar ``t``."""
        if t not in self._rows:
            row = self._trend(t) | self._bollinger(t) | self._volatility(t)
            row |= self._swings(t)
            row |= self._range_behaviour(t, row)
            if self.length_ms == MS_1H:
                row |= self._reversion(t)
            self._rows[t] = row
        return self._rows[t]

    def _closes(self, t: int, count: int) -> list[float] | None:
        return self.bars.close[t + 1 - count : t + 1] if t + 1 >= count else None

    def true_ranges(self, t: int, count: int) -> list[float] | None:
        """The last ``count`` true ranges; each needs the close before it."""
        if t < count:
            return None
        high, low, close = self.bars.high, self.bars.low, self.bars.close
        return [formula.true_range(high[i], low[i], close[i - 1]) for i in range(t + 1 - count, t + 1)]

    def atr(self, t: int) -> float | None:
        """atr_14 in quote."""
        decay = formula.wilder_decay(14)
        ranges = self.true_ranges(t, formula.finite_length(decay))
        return None if ranges is None else formula.finite_mean(ranges, decay)

    def ema(self, t: int, period: int) -> float | None:
        """Finite EMA of the close, in quote."""
        decay = formula.ema_decay(period)
        closes = self._closes(t, formula.finite_length(decay))
        return None if closes is None else formula.finite_mean(closes, decay)

    def adx(self, t: int) -> float | None:
        """adx_14, 0..100: finite smoothing of DX, each DX from its own finite window."""
        decay = formula.wilder_decay(14)
        length = formula.finite_length(decay)
        if t < 2 * length - 1:
            return None
        return formula.finite_mean([self._directional_index(i, length) for i in range(t + 1 - length, t + 1)], decay)

    def _directional_index(self, t: int, length: int) -> float:
        if t not in self._dx:
            window = slice(t - length, t + 1)
            self._dx[t] = formula.directional_index(
                self.bars.high[window], self.bars.low[window], self.bars.close[window]
            )
        return self._dx[t]

    def _trend(self, t: int) -> Row:
        row: Row = {}
        for n in (10, 24):
            closes = self._closes(t, n + 1)
            row[f"efficiency_ratio_{n}"] = None if closes is None else formula.efficiency_ratio(closes)
        fast, slow, atr = self.ema(t, 20), self.ema(t, 50), self.atr(t)
        gap = None
        if fast is not None and slow is not None and atr is not None:
            gap = (fast - slow) / atr if atr > 0 else 0.0
        return row | {"ema_20": fast, "ema_50": slow, "ema_gap_atr": gap, "adx_14": self.adx(t)}

    def _bollinger(self, t: int) -> Row:
        names = ("middle", "upper", "lower", "bandwidth")
        closes = self._closes(t, 20)
        row: Row = {f"bollinger_{name}": None for name in names} | {"zscore_20": None, "bandwidth_rank": None}
        if closes is None:
            return row
        mean, sigma = formula.mean_and_sigma(closes)
        row["bollinger_middle"] = mean
        row["bollinger_upper"] = mean + 2 * sigma
        row["bollinger_lower"] = mean - 2 * sigma
        row["bollinger_bandwidth"] = self._bandwidth_at(t)
        row["zscore_20"] = (closes[-1] - mean) / sigma if sigma > 0 else 0.0
        month = 30 * DAY_MS // self.length_ms
        if t + 1 >= month + 19:
            row["bandwidth_rank"] = formula.share_below([self._bandwidth_at(i) for i in range(t + 1 - month, t + 1)])
        return row

    def _bandwidth_at(self, t: int) -> float:
        if t not in self._bandwidth:
            mean, sigma = formula.mean_and_sigma(self.bars.close[t - 19 : t + 1])
            self._bandwidth[t] = 4 * sigma / mean
        return self._bandwidth[t]

    def _volatility(self, t: int) -> Row:
        atr, ranges = self.atr(t), self.true_ranges(t, 200)
        baseline = None if ranges is None else sum(ranges) / 200
        expansion = None
        if atr is not None and baseline is not None and baseline > 0:
            expansion = atr / baseline
        row: Row = {"atr_14": atr, "atr_baseline_200": baseline, "volatility_expansion": expansion}
        bars_per_year = 365 * DAY_MS / self.length_ms
        for n in (24, 168):
            closes = self._closes(t, n + 1)
            value = None if closes is None else formula.realised_volatility(closes, bars_per_year)
            row[f"realised_volatility_{n}"] = value
        closes = self._closes(t, 241)
        ratio, z = (None, None) if closes is None else formula.variance_ratio(closes, 10)
        return row | {"variance_ratio_10": ratio, "variance_ratio_10_z": z}

    def _swings(self, t: int) -> Row:
        names = ("swing_high", "swing_high_confirmed_at", "swing_low", "swing_low_confirmed_at", "swing_structure")
        row: Row = dict.fromkeys((*names, "range_high", "range_low"))
        if t + 1 < SWING_WINDOW + SWING_K:
            return row
        highs = self._swing_centres(t, self.bars.high)
        lows = self._swing_centres(t, self._negated_low)
        for name, centres, prices in (("high", highs, self.bars.high), ("low", lows, self.bars.low)):
            if centres:
                row[f"swing_{name}"] = prices[centres[-1]]
                row[f"swing_{name}_confirmed_at"] = self.bars.close_time[centres[-1] + SWING_K]
        row["range_high"] = max((self.bars.high[i] for i in highs), default=None)
        row["range_low"] = min((self.bars.low[i] for i in lows), default=None)
        row["swing_structure"] = self._structure(highs, lows)
        return row

    def _swing_centres(self, t: int, values: list[float]) -> list[int]:
        """Centres in [t - 71, t] that are confirmed by bar ``t``."""
        found = []
        for centre in range(t + 1 - SWING_WINDOW, t + 1):
            if centre + SWING_K <= t and formula.is_swing(values[centre - SWING_K : centre + SWING_K + 1]):
                found.append(centre)
        return found

    def _structure(self, highs: list[int], lows: list[int]) -> str:
        if len(highs) < 2 or len(lows) < 2:
            return "MIXED"
        high_before, high = (self.bars.high[i] for i in highs[-2:])
        low_before, low = (self.bars.low[i] for i in lows[-2:])
        if high > high_before and low > low_before:
            return "UP"
        return "DOWN" if high < high_before and low < low_before else "MIXED"

    def _range_behaviour(self, t: int, row: Row) -> Row:
        """The four counts against the range known now come together: none of them before atr_14."""
        names = ("containment_72", "touches_upper_72", "touches_lower_72", "midline_crossings_72")
        result: Row = dict.fromkeys(names)
        if not has_range(row) or row["atr_14"] is None:
            return result
        top, bottom = row["range_high"], row["range_low"]
        window = range(t + 1 - SWING_WINDOW, t + 1)
        closes = [self.bars.close[i] for i in window]
        result["containment_72"] = sum(bottom <= c <= top for c in closes) / SWING_WINDOW
        result["midline_crossings_72"] = formula.midline_crossings(closes, (top + bottom) / 2)
        near = TOUCH_ATR * row["atr_14"]
        result["touches_upper_72"] = sum(self.bars.high[i] >= top - near for i in window)
        result["touches_lower_72"] = sum(self.bars.low[i] <= bottom + near for i in window)
        return result

    def _reversion(self, t: int) -> Row:
        ou = self._ou_at(t)
        names = ("ou_kappa", "ou_kappa_upper", "ou_half_life_bars", "ou_t", "ou_status", "ou_kappa_baseline")
        if ou is None:
            return dict.fromkeys(names)
        baseline = None
        if t >= OU_BASELINE + OU_CLOSES - 1:
            before = [self._ou_at(i) for i in range(t - OU_BASELINE, t)]
            kappas = [each.kappa for each in before if each is not None and each.kappa is not None]
            baseline = (median(kappas) or None) if kappas else None
        return dict(zip(names, (ou.kappa, ou.kappa_upper, ou.half_life_bars, ou.t, ou.status, baseline), strict=True))

    def _ou_at(self, t: int) -> formula.OrnsteinUhlenbeck | None:
        if t not in self._ou:
            closes = self._closes(t, OU_CLOSES)
            self._ou[t] = None if closes is None else formula.ornstein_uhlenbeck(closes)
        return self._ou[t]


def has_range(row: Row) -> bool:
    """Whether there is a confirmed-swing range: both bounds, the upper above the lower."""
    top, bottom = row["range_high"], row["range_low"]
    return top is not None and bottom is not None and top > bottom
