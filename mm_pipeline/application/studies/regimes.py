"""The shipped tables of ``p_transition`` and ``confidence``, judged on candles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.application.studies.probabilities import Foretold
from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.columns import epoch_ms, floats_of
from mm_pipeline.domain.regime import Calibration, RegimePolicy
from mm_pipeline.domain.regime.logistic import LogisticSeries
from mm_pipeline.domain.regime.samples import MarketHistory, Sample, confidence_sample, transition_sample

MODELS: Final = ("p_transition", "confidence")
_SHOWN: Final = ("range_ok:shown", "range_weak:shown", "transition:shown", "trend:shown")


@dataclass(frozen=True)
class JudgedModel:
    """One model on one market, over two peers.

    Attributes
    ----------
    foretold
        The peer is the market's own base rate.
    over_yardstick
        The same where the peer is the obvious: for ``p_transition`` the base rate of bars inside and outside their
        range, for ``confidence`` that of the shown verdict.
    """

    foretold: Foretold
    over_yardstick: Foretold


def judge(history: MarketHistory, calibration: Calibration, policy: RegimePolicy) -> dict[str, JudgedModel]:
    """Both models on the bars of a market that come after the fit of the table which judges them."""
    transition = transition_sample(history)
    confidence = confidence_sample(history, policy=policy, p_transition=calibration.p_transition)
    return {
        "p_transition": _judged(transition, calibration.p_transition, _is_outside(history.metrics_1h, transition)),
        "confidence": _judged(confidence, calibration.confidence, _shown_verdict(confidence)),
    }


def _judged(sample: Sample, series: LogisticSeries, group: Floats) -> JudgedModel:
    said, is_in_sample = series.predict(sample.features, sample.close_ms)
    used = ~is_in_sample
    came, group = sample.outcome[used], group[used]
    at_ms, said = sample.close_ms[used], said[used]
    base_rate = np.full(len(came), came.mean() if len(came) else np.nan)
    names, place = np.unique(group, return_inverse=True)
    rates = np.bincount(place, weights=came, minlength=len(names)) / np.maximum(np.bincount(place), 1)
    return JudgedModel(Foretold(at_ms, said, came, base_rate), Foretold(at_ms, said, came, rates[place]))


def _is_outside(metrics: pl.DataFrame, sample: Sample) -> Floats:
    """1 where a bar closes outside its confirmed-swing range."""
    rows = np.searchsorted(epoch_ms(metrics["close_time"]), sample.close_ms)
    close, high, low = (floats_of(metrics[name])[rows] for name in ("close", "range_high", "range_low"))
    return ((close > high) | (close < low)).astype(float)


def _shown_verdict(sample: Sample) -> Floats:
    """Number of the verdict that each bar shows."""
    shown: Floats = np.argmax(np.column_stack([sample.features[name] for name in _SHOWN]), axis=1).astype(np.float64)
    return shown
