"""The formulas of SPEC 3, one window at a time: the plain yardstick that the fast path is measured with.

Every function takes the values of exactly its window, oldest first, and returns the value at the window's end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Values = Sequence[float]

TAIL = 1e-4
RHO_FLOOR = 0.01
DICKEY_FULLER_5_PCT = 2.88
NORMAL_95_PCT = 1.645


def ema_decay(period: int) -> float:
    """d = 1 - alpha of an exponential mean, alpha = 2 / (n + 1)."""
    return 1 - 2 / (period + 1)


def wilder_decay(period: int) -> float:
    """d = 1 - alpha of Wilder's smoothing, alpha = 1 / n."""
    return 1 - 1 / period


def finite_length(decay: float) -> int:
    """Number of values that a finite weighted mean looks at."""
    return math.ceil(math.log(TAIL) / math.log(decay))


def finite_mean(window: Values, decay: float) -> float:
    """Mean weighted with ``decay ** age``."""
    total = 0.0
    weights = 0.0
    for age, value in enumerate(reversed(window)):
        total += decay**age * value
        weights += decay**age
    return total / weights


def efficiency_ratio(closes: Values) -> float:
    """Kaufman 1995 over n + 1 closes; 0 where nothing moved."""
    path = sum(abs(closes[i] - closes[i - 1]) for i in range(1, len(closes)))
    return abs(closes[-1] - closes[0]) / path if path > 0 else 0.0


def mean_and_sigma(closes: Values) -> tuple[float, float]:
    """Mean and population standard deviation; exactly the level and 0 where all closes are equal."""
    if min(closes) == max(closes):
        return closes[0], 0.0
    mean = math.fsum(closes) / len(closes)
    return mean, math.sqrt(math.fsum((c - mean) ** 2 for c in closes) / len(closes))


def share_below(values: Values) -> float:
    """Share of the window (its last value included) strictly below the last value."""
    return sum(value < values[-1] for value in values) / len(values)


def true_range(high: float, low: float, previous_close: float) -> float:
    """Wilder 1978."""
    return max(high - low, abs(high - previous_close), abs(low - previous_close))


def directional_moves(high: float, low: float, previous_high: float, previous_low: float) -> tuple[float, float]:
    """Wilder's +DM and -DM of one bar: only the larger of the two moves counts, and only outwards."""
    up = high - previous_high
    down = previous_low - low
    return (up if up > down and up > 0 else 0.0), (down if down > up and down > 0 else 0.0)


def directional_index(highs: Values, lows: Values, closes: Values) -> float:
    """DX, 0..100, of the Wilder window plus the bar before it; 0 where nothing moved."""
    decay = wilder_decay(14)
    plus, minus, ranges = [], [], []
    for i in range(1, len(closes)):
        up, down = directional_moves(highs[i], lows[i], highs[i - 1], lows[i - 1])
        plus.append(up)
        minus.append(down)
        ranges.append(true_range(highs[i], lows[i], closes[i - 1]))
    span = finite_mean(ranges, decay)
    if span == 0:
        return 0.0
    plus_di = 100 * finite_mean(plus, decay) / span
    minus_di = 100 * finite_mean(minus, decay) / span
    total = plus_di + minus_di
    return 100 * abs(plus_di - minus_di) / total if total > 0 else 0.0


def realised_volatility(closes: Values, bars_per_year: float) -> float:
    """Root mean square of n log returns (n + 1 closes), per square root of a year of 365 days."""
    squares = [math.log(closes[i] / closes[i - 1]) ** 2 for i in range(1, len(closes))]
    return math.sqrt(math.fsum(squares) / len(squares) * bars_per_year)


def variance_ratio(closes: Values, q: int) -> tuple[float | None, float | None]:
    """Lo & MacKinlay 1988: overlapping, debiased ratio and its heteroscedasticity-robust z; None at variance 0."""
    if min(closes) == max(closes):
        return None, None
    x = [math.log(c) for c in closes]
    n = len(x) - 1
    drift = (x[-1] - x[0]) / n
    single = [(x[i] - x[i - 1] - drift) ** 2 for i in range(1, n + 1)]
    variance = math.fsum(single) / (n - 1)
    if variance == 0:
        return None, None
    m = q * (n - q + 1) * (1 - q / n)
    variance_q = math.fsum((x[i] - x[i - q] - q * drift) ** 2 for i in range(q, n + 1)) / m
    ratio = variance_q / variance
    theta = 0.0
    for lag in range(1, q):
        overlap = math.fsum(single[i] * single[i - lag] for i in range(lag, n))
        theta += (2 * (1 - lag / q)) ** 2 * n * overlap / math.fsum(single) ** 2
    return ratio, (math.sqrt(n) * (ratio - 1) / math.sqrt(theta) if theta > 0 else None)


def is_swing(values: Values) -> bool:
    """Williams fractal on five values: the middle one is strictly above the two on either side."""
    return len(values) == 5 and all(values[2] > values[i] for i in (0, 1, 3, 4))


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """AR(1) of a log price: speed (1/bar), the upper end of its interval, Dickey-Fuller t, standard error, status."""

    kappa: float | None
    kappa_upper: float | None
    half_life_bars: float | None
    intercept: float | None
    slope: float | None
    standard_error: float | None
    t: float | None
    status: str


def ornstein_uhlenbeck(closes: Values) -> OrnsteinUhlenbeck:
    """SPEC 3: dx = a + b x by least squares, Marriott & Pope 1954 correction of rho = 1 + b."""
    x = np.log(np.asarray(closes, dtype=float))
    regressor = x[:-1]
    change = x[1:] - x[:-1]
    n = len(regressor)
    if min(closes[:-1]) == max(closes[:-1]):
        return OrnsteinUhlenbeck(None, None, None, None, None, None, None, "INCONCLUSIVE")
    centred = regressor - regressor.mean()
    spread = float((centred**2).sum())
    b = float((centred * (change - change.mean())).sum()) / spread
    a = float(change.mean() - b * regressor.mean())
    residual = change - a - b * regressor
    se = math.sqrt(float((residual**2).sum()) / (n - 2) / spread)
    t = b / se if se > 0 else math.copysign(math.inf, b)
    rho = 1 + b
    rho_c = max(RHO_FLOOR, rho + (1 + 3 * rho) / n)
    kappa = max(0.0, -math.log(rho_c))
    kappa_upper = max(0.0, -math.log(max(RHO_FLOOR, rho_c - NORMAL_95_PCT * se)))
    half_life = math.log(2) / kappa if kappa > 0 else math.inf
    status = "INCONCLUSIVE"
    if rho_c >= 1:
        status = "NOT_MEAN_REVERTING"
    elif t < -DICKEY_FULLER_5_PCT:
        status = "MEAN_REVERTING"
    return OrnsteinUhlenbeck(kappa, kappa_upper, half_life, a, b, se, t, status)


def midline_crossings(closes: Values, midline: float) -> int:
    """Sign changes of close - midline, zeros skipped."""
    sides = [c > midline for c in closes if c != midline]
    return sum(sides[i] != sides[i - 1] for i in range(1, len(sides)))
