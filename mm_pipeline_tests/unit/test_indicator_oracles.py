"""Metrics against independent libraries on recorded candles: TA-Lib, statsmodels, arch and scipy.

Every check runs on the package's fast path and on the plain loop that the fast path is compared with elsewhere, so that
the yardstick is itself measured. TA-Lib sees the full history: an exponential mean of everything ever seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mm_pipeline.domain.market import Timeframe
from mm_pipeline_tests.reference.bars import Bars
from mm_pipeline_tests.reference.indicators import ema_decay, finite_length, ornstein_uhlenbeck, wilder_decay
from mm_pipeline_tests.reference.samples import ETH, KUCOIN_BTC, recorded
from mm_pipeline_tests.reference.sides import Columns, MetricsOf, loop_metrics, package_metrics

Floats = NDArray[np.float64]

BLOCK_BARS = 60

# statsmodels, imported by arch too, is built on decorators that this pandas deprecates
pytestmark = pytest.mark.filterwarnings("ignore:(Substitution|Appender) is deprecated")

SAMPLES = ((ETH, Timeframe.H1), (ETH, Timeframe.H4), (KUCOIN_BTC, Timeframe.H1))


class Case:
    """Bars of one file and timeframe, the rows that are checked, and what one side says of them."""

    def __init__(self, bars: Bars, timeframe: Timeframe, metrics_of: MetricsOf) -> None:
        self.bars = bars
        self.timeframe = timeframe
        self.closes, self.highs, self.lows = (np.array(v) for v in (bars.close, bars.high, bars.low))
        starts = np.linspace(1200, len(bars) - BLOCK_BARS, 4).astype(int)
        self.rows = [int(start) + i for start in starts for i in range(BLOCK_BARS)]
        self.columns: Columns = metrics_of(bars, timeframe, self.rows)

    def column(self, name: str) -> Floats:
        """A metric at the checked rows."""
        return np.array(self.columns[name], dtype=float)

    def windows(self, length: int) -> Iterator[tuple[int, Floats]]:
        """Position in the columns, and the closes of the window that ends at that row; every fifth row."""
        for i, row in enumerate(self.rows):
            if i % 5 == 0:
                yield i, self.closes[row + 1 - length : row + 1]


@pytest.fixture(scope="module", params=[package_metrics, loop_metrics], ids=["package", "loop"])
def metrics_of(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module", params=SAMPLES, ids=["eth-1h", "eth-4h", "kucoin-btc-1h"])
def case(request: pytest.FixtureRequest, recorded_data: Path, metrics_of: MetricsOf) -> Case:
    name, timeframe = request.param
    sample = recorded(recorded_data / name)
    return Case(sample.hours if timeframe is Timeframe.H1 else sample.coarse, timeframe, metrics_of)


def test_bollinger_equals_ta_lib(case: Case) -> None:
    import talib

    upper, middle, lower = talib.BBANDS(case.closes, timeperiod=20, nbdevup=2, nbdevdn=2)
    for name, expected in (("upper", upper), ("middle", middle), ("lower", lower)):
        np.testing.assert_allclose(case.column(f"bollinger_{name}"), expected[case.rows], rtol=1e-9)
    width = ((upper - lower) / middle)[case.rows]
    np.testing.assert_allclose(case.column("bollinger_bandwidth"), width, rtol=1e-6)  # it squares before it subtracts


@pytest.mark.parametrize("period", [20, 50])
def test_ema_equals_ta_lib_up_to_the_cut_tail_and_exactly_with_it(case: Case, period: int) -> None:
    import talib

    whole = talib.EMA(case.closes, timeperiod=period)
    finite = case.column(f"ema_{period}")
    np.testing.assert_allclose(finite, whole[case.rows], rtol=5e-4)
    np.testing.assert_allclose(_with_tail(finite, whole, case.rows, ema_decay(period)), whole[case.rows], rtol=1e-9)


def test_atr_equals_ta_lib_up_to_the_cut_tail_and_exactly_with_it(case: Case) -> None:
    import talib

    whole = talib.ATR(case.highs, case.lows, case.closes, timeperiod=14)
    finite = case.column("atr_14")
    np.testing.assert_allclose(finite, whole[case.rows], rtol=1e-3)
    np.testing.assert_allclose(_with_tail(finite, whole, case.rows, wilder_decay(14)), whole[case.rows], rtol=1e-9)


def test_atr_baseline_equals_the_mean_of_ta_lib_true_ranges(case: Case) -> None:
    import talib

    mean = talib.SMA(talib.TRANGE(case.highs, case.lows, case.closes)[1:], timeperiod=200)
    expected = mean[np.array(case.rows) - 1]
    np.testing.assert_allclose(case.column("atr_baseline_200"), expected, rtol=1e-9)
    np.testing.assert_allclose(case.column("volatility_expansion"), case.column("atr_14") / expected, rtol=1e-9)


def test_adx_equals_ta_lib_within_a_tenth_of_a_point(case: Case) -> None:
    import talib

    whole = talib.ADX(case.highs, case.lows, case.closes, timeperiod=14)
    np.testing.assert_allclose(case.column("adx_14"), whole[case.rows], rtol=0, atol=0.1)


@pytest.mark.parametrize("case", [SAMPLES[0], SAMPLES[2]], ids=["eth-1h", "kucoin-btc-1h"], indirect=True)
def test_mean_reversion_equals_statsmodels(case: Case) -> None:
    import statsmodels.api as sm
    from statsmodels.tsa.stattools import adfuller

    columns = {name: case.column(f"ou_{name}") for name in ("t", "kappa", "kappa_upper", "half_life_bars")}
    for i, closes in case.windows(240):
        x = np.log(closes)
        fit = sm.OLS(np.diff(x), sm.add_constant(x[:-1])).fit()
        rho_c = max(0.01, 1 + fit.params[1] + (1 + 3 * (1 + fit.params[1])) / 239)
        kappa = max(0.0, -math.log(rho_c))
        upper = max(0.0, -math.log(max(0.01, rho_c - 1.645 * fit.bse[1])))
        half_life = math.log(2) / kappa if kappa else math.inf
        found = [columns[name][i] for name in ("t", "kappa", "kappa_upper", "half_life_bars")]
        np.testing.assert_allclose(found, [fit.tvalues[1], kappa, upper, half_life], rtol=1e-9, atol=1e-12)
        assert found[0] == pytest.approx(adfuller(x, maxlag=0, regression="c", autolag=None)[0])


def test_loop_regression_equals_statsmodels_in_every_estimate(recorded_data: Path) -> None:
    import statsmodels.api as sm

    closes = recorded(recorded_data / ETH).hours.close
    for end in range(5000, len(closes), 3000):
        window = closes[end - 240 : end]
        x = np.log(window)
        fit = sm.OLS(np.diff(x), sm.add_constant(x[:-1])).fit()
        loop = ornstein_uhlenbeck(window)
        found = np.array([loop.intercept, loop.slope, loop.standard_error, loop.t], dtype=float)
        np.testing.assert_allclose(found, (*fit.params, fit.bse[1], fit.tvalues[1]), rtol=1e-9)


def test_variance_ratio_equals_arch(case: Case) -> None:
    from arch.unitroot import VarianceRatio

    ratio, z = case.column("variance_ratio_10"), case.column("variance_ratio_10_z")
    for i, closes in case.windows(241):
        oracle = VarianceRatio(np.log(closes), lags=10, trend="c", debiased=True, robust=True, overlap=True)
        np.testing.assert_allclose((ratio[i], z[i]), (oracle.vr, oracle.stat), rtol=1e-9, atol=1e-12)


def test_swings_equal_scipy_strict_extrema(case: Case) -> None:
    from scipy.signal import argrelmax, argrelmin

    for name, centres, prices, extreme in (
        ("high", argrelmax(case.highs, order=2)[0], case.highs, max),
        ("low", argrelmin(case.lows, order=2)[0], case.lows, min),
    ):
        for i, row in enumerate(case.rows):
            known = centres[(centres >= row - 71) & (centres <= row - 2)]
            assert case.columns[f"swing_{name}"][i] == prices[known[-1]]
            assert case.columns[f"swing_{name}_confirmed_at"][i] == case.bars.close_time[known[-1] + 2]
            assert case.columns[f"range_{name}"][i] == extreme(prices[known])


def test_zscore_and_rank_equal_scipy(case: Case) -> None:
    from scipy.stats import percentileofscore, zscore

    middle = {row: i for i, row in enumerate(case.rows)}
    month = 30 * case.timeframe.bars_per_day
    strided = np.lib.stride_tricks.sliding_window_view(case.closes, 20)
    bandwidth = 4 * strided.std(axis=1) / strided.mean(axis=1)
    for row, i in middle.items():
        window = bandwidth[row - 18 - month : row - 18]
        assert case.column("zscore_20")[i] == pytest.approx(zscore(case.closes[row - 19 : row + 1])[-1], rel=1e-9)
        expected = percentileofscore(window, window[-1], kind="strict") / 100
        assert case.column("bandwidth_rank")[i] == pytest.approx(expected, abs=1e-12)


def _with_tail(finite: Floats, whole: Floats, rows: list[int], decay: float) -> Floats:
    """Add to a finite mean what it leaves out: the full history's value, L bars earlier, with weight d^L."""
    tail = decay ** finite_length(decay)
    earlier = whole[np.array(rows) - finite_length(decay)]
    return np.asarray((1 - tail) * finite + tail * earlier)
