"""Fit one logistic regression by Newton's method. What is fitted, and on which bars, does not belong here."""

from __future__ import annotations

from typing import Final

import numpy as np

from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.errors import PipelineError

MAX_STEPS: Final = 50
TOLERANCE: Final = 1e-10
"""Largest change of a standardised coefficient at which the fit has converged (Newton converges quadratically)."""
MAX_HALVINGS: Final = 30


def fit_logistic(features: Floats, outcome: Floats, ridge: float) -> tuple[float, Floats]:
    """Most likely coefficients of ``P(outcome = 1) = 1 / (1 + exp(-(intercept + coefficients . features)))``.

    Features are standardised inside, so that the penalty treats them alike, and the coefficients are folded back to the
    features' own units. A feature that never varies gets the coefficient 0.

    Parameters
    ----------
    features
        Shape (n, k), finite.
    outcome
        Shape (n,), 0 or 1, both present.
    ridge
        Subtracts ``ridge / 2 * sum(b^2)`` over the standardised coefficients from the log-likelihood (the intercept is
        free). 0 is plain maximum likelihood.

    Returns
    -------
    Intercept, and coefficients of shape (k,).

    Raises
    ------
    PipelineError
        Where the outcome is always the same, features are collinear or separate the outcome without a ridge.
    """
    base_rate = float(np.mean(outcome)) if len(outcome) else 0.0
    if not 0.0 < base_rate < 1.0:
        raise PipelineError(
            f"a model cannot be fitted: its outcome is {base_rate:g} on all {len(outcome)} bars.",
            "Give more candles, or a longer first fit window.",
        )
    centre, spread = features.mean(axis=0), features.std(axis=0)
    varies = spread > 1e-12 * np.maximum(1.0, np.abs(centre))
    standard = (features[:, varies] - centre[varies]) / spread[varies]
    design = np.column_stack([np.ones(len(outcome)), standard])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    start = np.zeros(design.shape[1])
    start[0] = np.log(base_rate / (1.0 - base_rate))
    fitted = _climb(design, outcome, penalty, start)
    coefficients = np.zeros(features.shape[1])
    coefficients[varies] = fitted[1:] / spread[varies]
    return float(fitted[0] - coefficients @ centre), coefficients


def _climb(design: Floats, outcome: Floats, penalty: Floats, start: Floats) -> Floats:
    """Newton's method on the penalised log-likelihood, each step halved until it does not descend."""
    fitted, height = start, _height(design, outcome, penalty, start)
    for _ in range(MAX_STEPS):
        step = _newton_step(design, outcome, penalty, fitted)
        for _ in range(MAX_HALVINGS):
            reached = _height(design, outcome, penalty, fitted + step)
            if reached >= height - 1e-12 * abs(height):
                break
            step = step / 2.0
        fitted, height = fitted + step, reached
        if np.max(np.abs(step)) < TOLERANCE:
            return fitted
    raise PipelineError(
        f"a model did not converge in {MAX_STEPS} steps: a feature separates the outcomes.",
        "Give more candles, or a longer first fit window.",
    )


def _newton_step(design: Floats, outcome: Floats, penalty: Floats, fitted: Floats) -> Floats:
    probability = np.exp(-np.logaddexp(0.0, -(design @ fitted)))
    slope = design.T @ (outcome - probability) - penalty * fitted
    curvature = (design.T * (probability * (1.0 - probability))) @ design + np.diag(penalty)
    try:
        return np.asarray(np.linalg.solve(curvature, slope))
    except np.linalg.LinAlgError as error:
        raise PipelineError(
            "a model cannot be fitted: its features determine each other or the outcome.",
            "Give more candles, or a longer first fit window.",
        ) from error


def _height(design: Floats, outcome: Floats, penalty: Floats, fitted: Floats) -> float:
    score = design @ fitted
    return float(outcome @ score - np.logaddexp(0.0, score).sum() - 0.5 * penalty @ fitted**2)
