"""Fit the two models of the verdict walk-forward, and judge each table on the bars that come after its fit.

Files do not belong here, nor what is foretold on which bars (:mod:`.samples`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.regime.forecast_quality import ForecastQuality, forecast_quality
from mm_pipeline.domain.regime.logistic import LogisticSeries, LogisticTable
from mm_pipeline.domain.regime.logistic_fit import fit_logistic
from mm_pipeline.domain.regime.policy import RegimePolicy
from mm_pipeline.domain.regime.samples import MarketHistory, Sample, confidence_sample, transition_sample
from mm_pipeline.domain.regime.verdict import Calibration

RIDGE: Final = 1.0
"""Penalty on standardised coefficients: a standard normal prior. Next to nothing against thousands of bars, it keeps
the indicator of a verdict that was hardly ever seen from running off."""
SIGNIFICANT_DIGITS: Final = 10
"""Coefficients are kept to this many digits, and judged as kept: what is shipped is what was measured."""

OnTable = Callable[[], None]


@dataclass(frozen=True)
class Schedule:
    """When tables become valid: the first after ``first_fit_ms`` of bars, then one each ``step_ms``."""

    first_fit_ms: int
    step_ms: int


@dataclass(frozen=True)
class FittedTable:
    """One table with the bars that it was fitted on, and how it did on those that it then judged (None: none yet)."""

    table: LogisticTable
    fit_from_ms: int
    fit_until_ms: int
    fit_rows: int
    fit_base_rate: float
    out_of_sample: ForecastQuality | None


@dataclass(frozen=True)
class WalkForward:
    """A walk-forward series, and its quality over all bars judged out of sample."""

    features: tuple[str, ...]
    tables: tuple[FittedTable, ...]
    out_of_sample: ForecastQuality

    @property
    def series(self) -> LogisticSeries:
        """The tables alone, as the verdict uses them."""
        return LogisticSeries(self.features, tuple(fitted.table for fitted in self.tables))


@dataclass(frozen=True)
class FittedModels:
    """Both models of the verdict."""

    p_transition: WalkForward
    confidence: WalkForward

    @property
    def calibration(self) -> Calibration:
        """What :func:`~mm_pipeline.domain.regime.verdict.market_regime` takes."""
        return Calibration(self.p_transition.series, self.confidence.series)


def fit_models(
    markets: Sequence[MarketHistory], *, policy: RegimePolicy, schedule: Schedule, on_table: OnTable | None = None
) -> FittedModels:
    """Fit ``p_transition``, judge every bar with it, then fit ``confidence`` on the verdicts that came of it.

    Verdicts depend on ``p_transition``; those on which ``confidence`` is fitted or judged rest on out-of-sample
    probabilities alone. Its first table therefore comes one first fit window after that of ``p_transition``.

    Raises
    ------
    PipelineError
        Where the candles are too short for the schedule.
    """
    p_transition = walk_forward([transition_sample(market) for market in markets], schedule, on_table)
    series = p_transition.series
    samples = [confidence_sample(market, policy=policy, p_transition=series) for market in markets]
    return FittedModels(p_transition, walk_forward(samples, schedule, on_table))


def walk_forward(samples: Sequence[Sample], schedule: Schedule, on_table: OnTable | None = None) -> WalkForward:
    """Fit a table at each date of the schedule on the bars whose outcome was known before, all markets pooled.

    ``on_table`` is called after each table. Raises :class:`PipelineError` where the bars end before the first table.
    """
    pooled = _pool(samples)
    names = tuple(pooled.features)
    matrix = np.column_stack([pooled.features[name] for name in names])
    dates = table_dates(pooled.close_ms, schedule)
    ends = [*dates[1:], np.iinfo(np.int64).max]
    predicted, climatology = np.full(len(matrix), np.nan), np.full(len(matrix), np.nan)
    tables = []
    for valid_from_ms, end_ms in zip(dates, ends, strict=True):
        known = pooled.outcome_known_ms < valid_from_ms
        intercept, coefficients = fit_logistic(matrix[known], pooled.outcome[known], RIDGE)
        table = LogisticTable(valid_from_ms, _kept(intercept), tuple(_kept(value) for value in coefficients))
        base_rate = _kept(float(pooled.outcome[known].mean()))
        judged = (pooled.close_ms >= valid_from_ms) & (pooled.close_ms < end_ms)
        bars = {name: values[judged] for name, values in pooled.features.items()}
        predicted[judged], _ = LogisticSeries(names, (table,)).predict(bars, pooled.close_ms[judged])
        climatology[judged] = base_rate
        fitted_ms = pooled.close_ms[known]
        quality = _quality(predicted, climatology, pooled, judged)
        tables.append(
            FittedTable(table, int(fitted_ms.min()), int(fitted_ms.max()), len(fitted_ms), base_rate, quality)
        )
        if on_table is not None:
            on_table()
    overall = _quality(predicted, climatology, pooled, pooled.close_ms >= dates[0])
    if overall is None:
        raise _too_short()
    return WalkForward(names, tuple(tables), overall)


def table_dates(close_ms: Times, schedule: Schedule) -> list[int]:
    """``valid_from`` (epoch ms, UTC midnights) of each table, while a bar is left for it to judge.

    Raises
    ------
    PipelineError
        Where the bars end before the first one.
    """
    day_ms = Timeframe.H1.ms * Timeframe.H1.bars_per_day
    if len(close_ms) == 0:
        raise _too_short()
    first = -(-(int(close_ms.min()) + schedule.first_fit_ms) // day_ms) * day_ms
    dates = list(range(first, int(close_ms.max()) + 1, schedule.step_ms))
    if not dates:
        raise _too_short()
    return dates


def _pool(samples: Sequence[Sample]) -> Sample:
    return Sample(
        close_ms=np.concatenate([sample.close_ms for sample in samples]),
        outcome_known_ms=np.concatenate([sample.outcome_known_ms for sample in samples]),
        outcome=np.concatenate([sample.outcome for sample in samples]),
        features={name: np.concatenate([sample.features[name] for sample in samples]) for name in samples[0].features},
    )


def _quality(
    predicted: Floats, climatology: Floats, pooled: Sample, judged: NDArray[np.bool_]
) -> ForecastQuality | None:
    return forecast_quality(predicted[judged], pooled.outcome[judged], climatology[judged], pooled.close_ms[judged])


def _kept(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _too_short() -> PipelineError:
    return PipelineError(
        "the candles end before the first table could judge a bar.",
        "Give longer candle files, or fewer --first-fit-days (confidence needs them twice).",
    )
