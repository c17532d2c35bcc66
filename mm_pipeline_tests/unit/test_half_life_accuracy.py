"""The rolling AR(1) against least squares in two passes and long double, where running sums would lose digits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mm_pipeline.domain.indicators.mean_reversion import RHO_FLOOR, ornstein_uhlenbeck

CLOSES = 240
UPPER_Z = 1.645
BARS = 1500
TOLERANCE = 1e-10

Floats = NDArray[np.float64]
LongDoubles = NDArray[np.longdouble]

pytestmark = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="this machine has no long double")


def reverting(level: float, step: float, tick: float, *, seed: int = 1) -> Floats:
    """Closes that return to a level by 3 % a bar, in whole ticks."""
    shocks = np.random.default_rng(seed).normal(0, step, BARS)
    log_price = np.zeros(BARS)
    for bar in range(1, BARS):
        log_price[bar] = 0.97 * log_price[bar - 1] + shocks[bar]
    return np.round(level * np.exp(log_price) / tick) * tick


def after_a_crash(close: Floats) -> Floats:
    """The same, a third lower from the middle on: one move is larger than all others together."""
    return np.where(np.arange(len(close)) < len(close) // 2, close, close * 2 / 3)


SERIES = {
    "price of 3000": reverting(3000.0, 4e-3, 0.01),
    "quiet at 3000": reverting(3000.0, 2e-6, 1e-4),
    "quiet at 100,000": reverting(1e5, 1e-6, 1e-4),
    "stablecoin": reverting(1.0, 5e-5, 1e-4),
    "stablecoin in fine ticks": reverting(1.0, 2e-6, 1e-7),
    "fraction of a cent": reverting(2e-5, 4e-3, 1e-10),
    "crash into a quiet market": after_a_crash(reverting(3000.0, 2e-5, 1e-4)),
}


def two_passes(closes: Floats) -> dict[str, float]:
    """SPEC 3's estimates of one window, in long double, means first."""
    x: LongDoubles = np.log(closes.astype(np.longdouble))
    level, change = x[:-1] - x[:-1].mean(), np.diff(x) - np.diff(x).mean()
    n = len(level)
    slope = (level * change).sum() / (level * level).sum()
    residual = change - slope * level
    error = np.sqrt((residual * residual).sum() / (n - 2) / (level * level).sum())
    rho = max(np.longdouble(RHO_FLOOR), 1 + slope + (1 + 3 * (1 + slope)) / n)
    upper = max(np.longdouble(RHO_FLOOR), rho - UPPER_Z * error)
    kappa, kappa_upper = max(0.0, -np.log(rho)), max(0.0, -np.log(upper))
    return {"rho": float(rho), "kappa": float(kappa), "kappa_upper": float(kappa_upper), "t": float(slope / error)}


@pytest.mark.parametrize("name", SERIES)
def test_every_window_equals_two_passes_in_long_double(name: str) -> None:
    close = SERIES[name]
    found = ornstein_uhlenbeck(close, CLOSES, UPPER_Z)
    for bar in range(CLOSES - 1, BARS, 7):
        window = close[bar - CLOSES + 1 : bar + 1]
        if (window[:-1] == window[0]).all():
            continue
        for estimate, expected in two_passes(window).items():
            error = abs(getattr(found, estimate)[bar] - expected)
            assert error <= TOLERANCE * abs(expected), f"{estimate} at {bar}: off by {error} of {expected}"


@pytest.mark.parametrize("level", [1.0, 3000.0, 0.1 + 0.2])
def test_flat_window_has_no_estimate_and_its_neighbours_have(level: float) -> None:
    close = reverting(level, 4e-3, level * 1e-5)
    close[500:900] = level
    found = ornstein_uhlenbeck(close, CLOSES, UPPER_Z)
    # the levels of a window are all its closes but the newest
    is_flat = np.array([bar >= CLOSES - 1 and np.ptp(close[bar - CLOSES + 1 : bar]) == 0 for bar in range(BARS)])
    assert is_flat.sum() > 100
    for estimate in (found.rho, found.kappa, found.kappa_upper, found.half_life_bars, found.t):
        assert np.isnan(estimate[is_flat]).all()
        assert not np.isnan(estimate[CLOSES - 1 :][~is_flat[CLOSES - 1 :]]).any()
