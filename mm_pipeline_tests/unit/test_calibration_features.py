"""The features of both models, bar by bar, against the formulas in their docstrings."""

import math

import numpy as np
import polars as pl
import pytest

from mm_pipeline.domain.regime.confidence import CONFIDENCE_FEATURES, confidence_features
from mm_pipeline.domain.regime.features import TRANSITION_FEATURES, transition_features
from mm_pipeline_tests.reference.calibration import history_of, random_walk

METRICS = history_of(random_walk(days=60, seed=4)).metrics_1h
ROWS = METRICS.to_dicts()


def expected_transition_features(row: dict[str, float]) -> dict[str, float]:
    """One bar, written out."""
    above, below = row["range_high"] - row["close"], row["close"] - row["range_low"]
    near, far = min(above, below) / row["atr_14"], max(above, below) / row["atr_14"]
    inside = min(max(near, 0.0), 8.0)
    week_move = row["close"] * row["realised_volatility_168"] * math.sqrt(8 / (365 * 24))
    hour = row["close_time"].hour  # type: ignore[attr-defined]
    return {
        "is_outside": float(near < 0),
        "outside_atr_root": math.sqrt(min(max(-near, 0.0), 8.0)),
        "inside_atr_root": math.sqrt(inside),
        "inside_baseline": min(inside * row["atr_14"] / row["atr_baseline_200"], 8.0),
        "inside_week": min(inside * row["atr_14"] / week_move, 8.0),
        "far_atr_log": math.log(1 + min(far, 16.0)),
        "hour_sin": math.sin(hour * math.pi / 12),
        "hour_cos": math.cos(hour * math.pi / 12),
    }


def test_transition_features_agree_with_their_formulas_bar_by_bar() -> None:
    found = transition_features(METRICS)
    assert tuple(found) == TRANSITION_FEATURES
    outside = 0
    for bar in range(400, len(ROWS), 3):
        expected = expected_transition_features(ROWS[bar])
        assert {name: values[bar] for name, values in found.items()} == pytest.approx(expected, rel=1e-9)
        outside += expected["is_outside"] == 1.0
    assert outside > 10


@pytest.mark.parametrize("missing", ["range_high", "atr_14", "volatility_expansion", "realised_volatility_168"])
def test_a_missing_metric_leaves_no_feature(missing: str) -> None:
    found = transition_features(METRICS.with_columns(pl.lit(None, pl.Float64).alias(missing)))
    assert all(np.isnan(values).all() for values in found.values())


def test_a_flat_market_leaves_no_feature_and_no_warning() -> None:
    flat = METRICS.with_columns(atr_14=pl.lit(0.0), realised_volatility_168=pl.lit(0.0))
    assert np.isnan(transition_features(flat)["inside_week"]).all()


def test_confidence_features_are_those_of_the_shown_verdict_alone() -> None:
    bars = len(METRICS)
    rng = np.random.default_rng(0)
    raw, shown = rng.integers(0, 4, size=(2, bars))
    p_transition, score = rng.uniform(size=(2, bars))
    p_transition[::7] = np.nan
    found = confidence_features(METRICS, raw=raw, shown=shown, p_transition=p_transition, range_score=score)
    assert tuple(found) == CONFIDENCE_FEATURES
    for bar in range(100, bars, 11):
        verdict = ("range_ok", "range_weak", "transition", "trend")[shown[bar]]
        hour = ROWS[bar]["close_time"].hour
        expected = dict.fromkeys(CONFIDENCE_FEATURES, 0.0) | {
            "hour_sin": math.sin(hour * math.pi / 12),
            "hour_cos": math.cos(hour * math.pi / 12),
            f"{verdict}:shown": 1.0,
            f"{verdict}:raw_agrees": float(raw[bar] == shown[bar]),
            f"{verdict}:p_transition": 0.0 if bar % 7 == 0 else p_transition[bar],
            f"{verdict}:range_score": score[bar],
            f"{verdict}:efficiency_ratio_10": ROWS[bar]["efficiency_ratio_10"],
        }
        assert {name: values[bar] for name, values in found.items()} == pytest.approx(expected, rel=1e-12)
