"""Tables are fitted on the past alone, and judged on what came after."""

from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.regime.calibration import FittedModels, Schedule, fit_models, walk_forward
from mm_pipeline.domain.regime.samples import HORIZON_BARS, Sample
from mm_pipeline_tests.reference.calibration import DAY_MS, HOUR_MS, SETTINGS, history_of, random_walk

SCHEDULE = Schedule(first_fit_ms=20 * DAY_MS, step_ms=10 * DAY_MS)
DAYS = 130


def sample_of(seed: int, hours: int = 1_500) -> Sample:
    """Bars of one market whose outcome depends on the first of two features."""
    rng = np.random.default_rng(seed)
    close_ms = np.arange(1, hours + 1, dtype=np.int64) * HOUR_MS
    lead, noise = rng.normal(size=(2, hours))
    outcome = (rng.uniform(size=hours) < 1 / (1 + np.exp(-lead))).astype(float)
    return Sample(close_ms, close_ms + HORIZON_BARS * HOUR_MS, outcome, {"lead": lead, "noise": noise})


def altered_from(sample: Sample, cut_ms: int) -> Sample:
    """The same bars, with other outcomes where they were not known before the cut and other features after it."""
    is_unknown = sample.outcome_known_ms >= cut_ms
    is_later = sample.close_ms >= cut_ms
    outcome = np.where(is_unknown, 1.0 - sample.outcome, sample.outcome)
    features = {name: np.where(is_later, 9.0 - values, values) for name, values in sample.features.items()}
    return Sample(sample.close_ms, sample.outcome_known_ms, outcome, features)


@settings(max_examples=15, deadline=None)
@given(cut_h=st.integers(21 * 24, 1_500), seed=st.integers(0, 50))
def test_another_future_leaves_every_table_before_it_as_it_was(cut_h: int, seed: int) -> None:
    samples = [sample_of(seed), sample_of(seed + 1)]
    cut_ms = cut_h * HOUR_MS
    one = walk_forward(samples, SCHEDULE)
    other = walk_forward([altered_from(sample, cut_ms) for sample in samples], SCHEDULE)
    pairs = list(zip(one.series.tables, other.series.tables, strict=True))
    before = [(a, b) for a, b in pairs if a.valid_from_ms <= cut_ms]
    after = [(a, b) for a, b in pairs if a.valid_from_ms > cut_ms + HORIZON_BARS * HOUR_MS]
    assert before
    assert all(a == b for a, b in before)
    assert all(a != b for a, b in after)


@cache
def fitted(cut_day: int | None) -> FittedModels:
    """Both models on a made-up market whose candles are others from a day on."""
    candles = random_walk(days=DAYS, seed=7)
    if cut_day is not None:
        late = pl.col("open_time").to_physical() >= cut_day * DAY_MS
        prices = ("open", "high", "low", "close")
        wilder = random_walk(days=DAYS, seed=8).select(pl.col(name).alias(f"other_{name}") for name in prices)
        mixed = candles.hstack(wilder)
        candles = mixed.with_columns(
            pl.when(late).then(pl.col(f"other_{name}")).otherwise(pl.col(name)).alias(name) for name in prices
        ).select(candles.columns)
    return fit_models([history_of(candles)], policy=SETTINGS.regime, schedule=SCHEDULE)


@pytest.mark.parametrize("cut_day", [75, 96, 115])
def test_other_candles_later_leave_both_models_before_as_they_were(cut_day: int) -> None:
    whole, altered = fitted(None), fitted(cut_day)
    for one, other in ((whole.p_transition, altered.p_transition), (whole.confidence, altered.confidence)):
        before = [table.valid_from_ms <= cut_day * DAY_MS for table in one.series.tables]
        assert [t for t, b in zip(one.series.tables, before, strict=True) if b] == [
            t for t, b in zip(other.series.tables, before, strict=True) if b
        ]
    assert whole.p_transition.series.tables[-1] != altered.p_transition.series.tables[-1]


def test_a_fit_ends_eight_hours_before_its_table_begins() -> None:
    models = fitted(None)
    for model in (models.p_transition, models.confidence):
        for table in model.tables:
            assert table.fit_until_ms <= table.table.valid_from_ms - HORIZON_BARS * HOUR_MS
            assert table.table.valid_from_ms % DAY_MS == 0
        assert len({table.fit_from_ms for table in model.tables}) == 1


def test_confidence_rests_on_probabilities_out_of_sample_alone() -> None:
    models = fitted(None)
    first_ms = models.p_transition.series.tables[0].valid_from_ms
    settled_ms = first_ms + SETTINGS.regime.shown.window_bars * HOUR_MS
    assert models.confidence.tables[0].fit_from_ms >= settled_ms


def test_an_outcome_that_was_known_late_is_left_out_of_the_fit() -> None:
    sample = sample_of(1)
    late = sample.outcome_known_ms.copy()
    late[:100] = 21 * DAY_MS
    before = walk_forward([sample], SCHEDULE).tables
    after = walk_forward([Sample(sample.close_ms, late, sample.outcome, sample.features)], SCHEDULE).tables
    assert after[0].table.valid_from_ms == 21 * DAY_MS
    assert [b.fit_rows - a.fit_rows for a, b in zip(after, before, strict=True)] == [100, *[0] * (len(after) - 1)]


def test_tables_share_out_the_judged_bars_and_score_as_the_series_predicts() -> None:
    samples = [sample_of(3), sample_of(4)]
    model = walk_forward(samples, SCHEDULE)
    judged = [table.out_of_sample for table in model.tables if table.out_of_sample]
    assert sum(quality.rows for quality in judged) == model.out_of_sample.rows
    squares, rows = 0.0, 0
    for sample in samples:
        predicted, is_in_sample = model.series.predict(sample.features, sample.close_ms)
        squares += float(((predicted - sample.outcome)[~is_in_sample] ** 2).sum())
        rows += int((~is_in_sample).sum())
    assert rows == model.out_of_sample.rows
    assert model.out_of_sample.brier == pytest.approx(squares / rows, rel=1e-12)
    assert model.out_of_sample.skill_low > 0


def test_markets_are_pooled_whatever_their_order() -> None:
    one, other = sample_of(5), sample_of(6)
    forth, back = walk_forward([one, other], SCHEDULE), walk_forward([other, one], SCHEDULE)
    for a, b in zip(forth.series.tables, back.series.tables, strict=True):
        np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=1e-8)


@pytest.mark.parametrize("hours", [0, 20 * 24 - 1])
def test_bars_that_end_before_the_first_table_are_refused(hours: int) -> None:
    with pytest.raises(PipelineError, match="end before the first table") as refusal:
        walk_forward([sample_of(1, hours)], SCHEDULE)
    assert refusal.value.hint


def test_progress_is_told_after_each_table() -> None:
    told: list[int] = []
    model = walk_forward([sample_of(1)], SCHEDULE, lambda: told.append(1))
    assert len(told) == len(model.tables)
