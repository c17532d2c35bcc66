"""The bars that the two models are fitted and judged on, and what is to be foretold on each.

Fitting does not belong here (:mod:`.calibration`), nor do the features (:mod:`.features`, :mod:`.confidence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mm_pipeline.domain.arrays import Floats, Times
from mm_pipeline.domain.candles import epoch_ms
from mm_pipeline.domain.indicators.windows import rows
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.domain.regime.confidence import confidence_features
from mm_pipeline.domain.regime.features import has_range, transition_features
from mm_pipeline.domain.regime.logistic import LogisticSeries, LogisticTable
from mm_pipeline.domain.regime.policy import RegimePolicy
from mm_pipeline.domain.regime.verdict import VERDICTS, Calibration, market_regime

HORIZON_BARS: Final = 8
"""1h bars over which both models look ahead (SPEC 4)."""


@dataclass(frozen=True)
class MarketHistory:
    """Metrics of one market at 1h and 4h, and the first close (epoch ms) after its warm-up."""

    metrics_1h: pl.DataFrame
    metrics_4h: pl.DataFrame
    warm_from_ms: int


@dataclass(frozen=True)
class Sample:
    """Bars of one market to fit and judge on, each of shape (n,).

    Attributes
    ----------
    close_ms
        When the bar closed.
    outcome_known_ms
        When it was known what followed: a fit before that moment must not use the bar.
    outcome
        0 or 1.
    features
        Finite values by name.
    """

    close_ms: Times
    outcome_known_ms: Times
    outcome: Floats
    features: Mapping[str, Floats]


def leaves_range(close: Floats, range_high: Floats, range_low: Floats) -> Floats:
    """1 where one of the next ``HORIZON_BARS`` closes lies outside the range known at the bar, else 0, shape (n,).

    NaN where there is no range (the upper bound above the lower), or fewer bars follow.
    """
    ahead = _following(close)
    with np.errstate(invalid="ignore"):
        outside = (ahead.max(axis=1) > range_high) | (ahead.min(axis=1) < range_low)
        is_judged = (range_high > range_low) & np.isfinite(ahead).all(axis=1)
    return np.where(is_judged, outside, np.nan)


def stays_shown(shown: NDArray[np.int64]) -> Floats:
    """1 where the verdict code is the same on all of the next ``HORIZON_BARS`` bars, else 0, shape (n,).

    NaN where there is no verdict (a negative code) at or after the bar, or fewer bars follow.
    """
    codes = np.where(shown >= 0, shown, np.nan)
    ahead = _following(codes)
    is_judged = np.isfinite(codes) & np.isfinite(ahead).all(axis=1)
    return np.where(is_judged, (ahead == codes[:, None]).all(axis=1), np.nan)


def transition_sample(market: MarketHistory) -> Sample:
    """Bars after the warm-up with a confirmed-swing range, and whether price left it."""
    metrics = market.metrics_1h
    close, high, low = (_floats(metrics, name) for name in ("close", "range_high", "range_low"))
    outcome = leaves_range(close, high, low)
    return _sample(metrics, outcome, transition_features(metrics), has_range(metrics), market.warm_from_ms)


def confidence_sample(market: MarketHistory, *, policy: RegimePolicy, p_transition: LogisticSeries) -> Sample:
    """Bars whose shown verdict rests on out-of-sample ``p_transition`` alone, and whether it stayed."""
    metrics = market.metrics_1h
    undecided = LogisticSeries((), (LogisticTable(0, 0.0, ()),))
    regime = market_regime(
        metrics, policy=policy, higher=market.metrics_4h, calibration=Calibration(p_transition, undecided)
    )
    raw, shown = _codes(regime["verdict_raw"]), _codes(regime["verdict"])
    features = confidence_features(
        metrics,
        raw=raw,
        shown=shown,
        p_transition=_floats(regime, "p_transition"),
        range_score=_floats(regime, "range_score"),
    )
    # Until then the shown verdict may still be a raw one that in-sample probabilities made.
    settled_ms = p_transition.tables[0].valid_from_ms + policy.shown.window_bars * Timeframe.H1.ms
    return _sample(metrics, stays_shown(shown), features, shown >= 0, max(settled_ms, market.warm_from_ms))


def _sample(
    metrics: pl.DataFrame,
    outcome: Floats,
    features: Mapping[str, Floats],
    is_asked: NDArray[np.bool_],
    from_ms: int,
) -> Sample:
    close_ms, known_ms = epoch_ms(metrics["close_time"]), epoch_ms(metrics["known_at"])
    # Across a hole the next rows are not the next hours.
    last_ms = _following(close_ms.astype(np.float64))[:, -1]
    is_unbroken = last_ms - close_ms == HORIZON_BARS * Timeframe.H1.ms
    outcome_known = _following(known_ms.astype(np.float64)).max(axis=1)
    finite = np.all([np.isfinite(values) for values in features.values()], axis=0)
    used = is_asked & finite & is_unbroken & np.isfinite(outcome) & (close_ms >= from_ms)
    return Sample(
        close_ms=close_ms[used],
        outcome_known_ms=outcome_known[used].astype(np.int64),
        outcome=outcome[used],
        features={name: values[used] for name, values in features.items()},
    )


def _following(values: Floats) -> Floats:
    """The next ``HORIZON_BARS`` values of each bar, shape (n, HORIZON_BARS); NaN past the end."""
    padded = np.concatenate([values[1:], np.full(HORIZON_BARS, np.nan)])
    return rows(padded, HORIZON_BARS)[: len(values)]


def _codes(verdicts: pl.Series) -> NDArray[np.int64]:
    places = {name: code for code, name in enumerate(VERDICTS)}
    return verdicts.replace_strict(places, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()


def _floats(frame: pl.DataFrame, name: str) -> Floats:
    return frame[name].cast(pl.Float64).to_numpy()
