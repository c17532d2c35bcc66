"""The tables that ship: in order, sane, made under the shipped thresholds, and as good as they say."""

from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mm_pipeline.adapters.config.calibration_files import (
    candles_used,
    load_calibration,
    load_model_file,
    policy_sha256,
    shipped_calibration,
)
from mm_pipeline.adapters.config.calibration_records import ModelFile, ModelName
from mm_pipeline.cli.history.calibrate import read_history
from mm_pipeline.domain.regime.calibration import Schedule, fit_models
from mm_pipeline.domain.regime.samples import MarketHistory, confidence_sample, transition_sample
from mm_pipeline_tests.reference.calibration import DAY_MS, SETTINGS

MODELS: tuple[ModelName, ...] = ("p_transition", "confidence")
BASE = {"hour_sin": 0.0, "hour_cos": -1.0}
IN_THE_MIDDLE = BASE | {
    "is_outside": 0.0,
    "outside_atr_root": 0.0,
    "inside_atr_root": 2.0,
    "inside_baseline": 4.0,
    "inside_week": 2.5,
    "far_atr_log": np.log1p(5.0),
}
NEAR_A_BOUND = IN_THE_MIDDLE | {"inside_atr_root": 0.3, "inside_baseline": 0.09, "inside_week": 0.06}
OUTSIDE = NEAR_A_BOUND | {"is_outside": 1.0, "outside_atr_root": 1.0, "inside_atr_root": 0.0, "inside_baseline": 0.0}


def shipped(model: ModelName) -> ModelFile:
    return load_model_file(shipped_calibration(), model)


@pytest.mark.parametrize("model", MODELS)
def test_shipped_tables_follow_each_other_and_never_saw_what_they_judge(model: ModelName) -> None:
    tables = shipped(model).tables
    assert len(tables) >= 8
    assert all(earlier.valid_from < later.valid_from for earlier, later in pairwise(tables))
    assert all(earlier.fit_rows < later.fit_rows for earlier, later in pairwise(tables))
    for table in tables:
        assert table.fit_until <= table.valid_from - timedelta(hours=8)
        assert table.fit_until - table.fit_from >= timedelta(days=150)


def test_shipped_confidence_starts_after_probabilities_out_of_sample() -> None:
    assert shipped("confidence").tables[0].fit_from >= shipped("p_transition").tables[0].valid_from


@pytest.mark.parametrize("model", MODELS)
def test_shipped_tables_beat_the_base_rate_out_of_sample(model: ModelName) -> None:
    content = shipped(model)
    assert content.out_of_sample.skill_low > 0.15
    for table in content.tables:
        assert table.out_of_sample is not None
        assert table.out_of_sample.skill_low > 0
    well_filled = [part for part in content.out_of_sample.reliability if part.count >= 500]
    assert len(well_filled) >= 8
    assert all(abs(part.mean_predicted - part.observed_share) < 0.06 for part in well_filled)


@pytest.mark.parametrize("model", MODELS)
def test_shipped_tables_were_made_under_the_shipped_thresholds(model: ModelName) -> None:
    assert shipped(model).made_by.policy_sha256 == policy_sha256(SETTINGS.metrics, SETTINGS.regime)


def test_every_shipped_table_is_sane_about_leaving_a_range() -> None:
    series = load_calibration(shipped_calibration()).p_transition
    at_ms = np.array([table.valid_from_ms for table in series.tables])

    def predicted(features: dict[str, float]) -> np.ndarray:
        values, is_in_sample = series.predict({name: np.full(len(at_ms), v) for name, v in features.items()}, at_ms)
        assert not is_in_sample.any()
        return values

    assert (predicted(IN_THE_MIDDLE) < 0.15).all()
    assert (predicted(NEAR_A_BOUND) > 0.5).all()
    assert (predicted(NEAR_A_BOUND) < 0.9).all()
    assert (predicted(OUTSIDE) > 0.9).all()


def test_every_shipped_table_is_more_confident_in_a_settled_range_than_in_a_transition() -> None:
    series = load_calibration(shipped_calibration()).confidence
    at_ms = np.array([table.valid_from_ms for table in series.tables])

    def predicted(verdict: str, **parts: float) -> np.ndarray:
        given = BASE | {f"{verdict}:{part}": value for part, value in parts.items()} | {f"{verdict}:shown": 1.0}
        return series.predict({name: np.full(len(at_ms), given.get(name, 0.0)) for name in series.features}, at_ms)[0]

    settled = predicted("range_ok", raw_agrees=1.0, p_transition=0.05, range_score=0.9, efficiency_ratio_10=0.2)
    doubted = predicted("range_ok", raw_agrees=0.0, p_transition=0.6, range_score=0.62, efficiency_ratio_10=0.2)
    moving = predicted("transition", raw_agrees=1.0, p_transition=0.6, range_score=0.5, efficiency_ratio_10=0.4)
    assert (settled > 0.65).all()
    assert (doubted < 0.25).all()
    assert (moving < 0.25).all()


@cache
def histories(recorded: Path) -> tuple[MarketHistory, ...]:
    return tuple(read_history(recorded / used.name, SETTINGS) for used in shipped("p_transition").made_by.candles)


def test_recorded_candles_are_those_of_the_shipped_tables(recorded_data: Path) -> None:
    for used in shipped("p_transition").made_by.candles:
        assert candles_used(recorded_data / used.name) == used
    assert shipped("confidence").made_by == shipped("p_transition").made_by


@pytest.mark.parametrize("model", MODELS)
def test_shipped_scores_are_those_that_recorded_candles_give(model: ModelName, recorded_data: Path) -> None:
    content = shipped(model)
    series = load_calibration(shipped_calibration()).p_transition
    if model == "p_transition":
        samples = [transition_sample(market) for market in histories(recorded_data)]
    else:
        samples = [
            confidence_sample(market, policy=SETTINGS.regime, p_transition=series)
            for market in histories(recorded_data)
        ]
    at_ms = np.concatenate([sample.close_ms for sample in samples])
    outcome = np.concatenate([sample.outcome for sample in samples])
    features = {name: np.concatenate([sample.features[name] for sample in samples]) for name in content.features}
    predicted, is_in_sample = content.series.predict(features, at_ms)
    square = (predicted - outcome) ** 2
    assert square[~is_in_sample].mean() == pytest.approx(content.out_of_sample.brier, rel=1e-8)
    starts = [table.valid_from_ms for table in content.series.tables] + [np.iinfo(np.int64).max]
    for table, (start_ms, end_ms) in zip(content.tables, pairwise(starts), strict=True):
        judged = (at_ms >= start_ms) & (at_ms < end_ms)
        assert table.out_of_sample is not None
        assert judged.sum() == table.out_of_sample.rows
        assert square[judged].mean() == pytest.approx(table.out_of_sample.brier, rel=1e-8)
        assert outcome[judged].mean() == pytest.approx(table.out_of_sample.base_rate, rel=1e-8)


def test_fitting_recorded_candles_again_gives_the_shipped_tables(recorded_data: Path) -> None:
    schedule = Schedule(first_fit_ms=180 * DAY_MS, step_ms=91 * DAY_MS)
    again = fit_models(histories(recorded_data), policy=SETTINGS.regime, schedule=schedule)
    for fitted, model in ((again.p_transition, MODELS[0]), (again.confidence, MODELS[1])):
        kept = shipped(model).series
        assert fitted.features == kept.features
        for one, other in zip(fitted.series.tables, kept.tables, strict=True):
            assert one.valid_from_ms == other.valid_from_ms
            np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-6, atol=1e-8)
