"""The logistic fit: known coefficients, statsmodels as oracle, and refusals where there is nothing to fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.regime.logistic_fit import fit_logistic

Floats = NDArray[np.float64]


def drawn(rows: int, effects: list[float], seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Features of unlike location and scale, outcomes drawn from a model, and its coefficients (intercept last).

    ``effects`` are per standard deviation of a feature; the base rate is near one half.
    """
    rng = np.random.default_rng(seed)
    scale = 10.0 ** np.linspace(-2, 2, len(effects))
    standard = rng.normal(size=(rows, len(effects)))
    probability = 1.0 / (1.0 + np.exp(-(standard @ effects)))
    truth = np.append(np.array(effects) / scale, -3.0 * sum(effects))
    return (standard + 3.0) * scale, (rng.uniform(size=rows) < probability).astype(float), truth


def test_outcomes_of_known_coefficients_give_them_back() -> None:
    features, outcome, truth = drawn(60_000, [0.8, -0.7, 1.2])
    intercept, found = fit_logistic(features, outcome, 0.0)
    np.testing.assert_allclose([*found, intercept], truth, rtol=0.06)


# statsmodels is built on decorators that its pandas deprecates
@pytest.mark.filterwarnings("ignore:(Substitution|Appender) is deprecated")
def test_without_ridge_agrees_with_statsmodels_to_1e_6() -> None:
    from statsmodels.api import Logit, add_constant

    features, outcome, _ = drawn(3_000, [0.5, -1.0, 0.4, 0.3], seed=3)
    oracle = Logit(outcome, add_constant(features)).fit(disp=0, tol=1e-12)
    intercept, found = fit_logistic(features, outcome, 0.0)
    np.testing.assert_allclose([intercept, *found], oracle.params, rtol=1e-6)


def test_with_ridge_the_penalised_slope_is_zero() -> None:
    features, outcome, _ = drawn(2_000, [0.3, 1.0, -1.0], seed=5)
    ridge = 7.0
    intercept, found = fit_logistic(features, outcome, ridge)
    miss = outcome - 1.0 / (1.0 + np.exp(-(intercept + features @ found)))
    spread = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / spread
    np.testing.assert_allclose(standard.T @ miss, ridge * found * spread, atol=1e-6)
    assert miss.sum() == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3), shift=st.floats(-50, 50), seed=st.integers(0, 1_000))
def test_other_units_of_a_feature_leave_the_probabilities_alone(factor: float, shift: float, seed: int) -> None:
    features, outcome, _ = drawn(300, [0.2, -0.5], seed=seed)
    moved = features * np.array([factor, 1.0]) + np.array([shift, 0.0])
    one, other = (fit_logistic(values, outcome, 1.0) for values in (features, moved))
    np.testing.assert_allclose(one[0] + features @ one[1], other[0] + moved @ other[1], rtol=1e-6, atol=1e-6)


def test_a_feature_that_never_varies_gets_coefficient_zero() -> None:
    features, outcome, _ = drawn(500, [0.2, -0.5])
    with_constant = np.column_stack([features, np.full(500, 0.1)])
    expected_intercept, expected = fit_logistic(features, outcome, 0.0)
    intercept, found = fit_logistic(with_constant, outcome, 0.0)
    np.testing.assert_allclose([intercept, *found], [expected_intercept, *expected, 0.0], rtol=1e-9)


@pytest.mark.parametrize("outcome", [np.zeros(50), np.ones(50), np.empty(0)])
def test_an_outcome_that_is_always_the_same_is_refused(outcome: Floats) -> None:
    with pytest.raises(PipelineError, match="cannot be fitted") as refusal:
        fit_logistic(np.arange(len(outcome), dtype=float)[:, None], outcome, 1.0)
    assert refusal.value.hint


def test_a_feature_that_separates_the_outcomes_is_refused_without_ridge_and_tamed_with_it() -> None:
    features = np.linspace(-1, 1, 100)[:, None]
    outcome = (features[:, 0] > 0).astype(float)
    with pytest.raises(PipelineError):
        fit_logistic(features, outcome, 0.0)
    _, found = fit_logistic(features, outcome, 1.0)
    assert 0 < found[0] < 20


def test_features_that_determine_each_other_are_refused_without_ridge() -> None:
    features, outcome, _ = drawn(200, [0.2])
    with pytest.raises(PipelineError):
        fit_logistic(np.column_stack([features, features]), outcome, 0.0)
