"""Verdicts, probabilities and signals of the package equal a plain loop written from SPEC 4 alone."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from mm_pipeline.domain.market import Timeframe
from mm_pipeline_tests.reference.samples import EVERY_SAMPLE, SIMULATED, Sample, loops_of, sample_named
from mm_pipeline_tests.reference.sides import columns_of, differences, judges_of, market_frames

VERDICTS = {"TREND", "TRANSITION", "RANGE_OK", "RANGE_WEAK"}


@pytest.fixture(scope="module", params=EVERY_SAMPLE)
def sample(request: pytest.FixtureRequest) -> Sample:
    recorded_data = None if request.param == SIMULATED else request.getfixturevalue("recorded_data")
    return sample_named(request.param, recorded_data)


@pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.H4])
def test_every_verdict_equals_the_plain_loop(sample: Sample, timeframe: Timeframe) -> None:
    package = columns_of(market_frames(sample)[timeframe])
    judge = judges_of(sample)[0 if timeframe is Timeframe.H1 else 1]
    rows = [asdict(judge.at(t)) for t in range(len(judge.metrics))]
    found = {name: differences(package[name], [row[name] for row in rows]) for name in rows[0]}
    assert {name: pairs for name, pairs in found.items() if pairs} == {}


def test_the_four_probabilities_sum_to_one(sample: Sample) -> None:
    package = columns_of(market_frames(sample)[Timeframe.H1])
    names = ("p_transition", "p_trend", "p_range_ok", "p_range_weak")
    rows = [row for row in zip(*(package[name] for name in names), strict=True) if row[1] is not None]
    assert rows
    assert all(sum(p or 0.0 for p in row) == pytest.approx(1) for row in rows)


def test_samples_show_every_verdict_and_signal(recorded_data: object) -> None:
    seen: dict[str, set[object]] = {"verdict": set(), "primary_regime": set(), "secondary_signal": set()}
    for name in EVERY_SAMPLE:
        package = columns_of(market_frames(sample_named(name, recorded_data))[Timeframe.H1])  # type: ignore[arg-type]
        for column, values in seen.items():
            values.update(package[column])
    assert seen["verdict"] == VERDICTS | {None}
    assert seen["primary_regime"] == {"TREND", "RANGE", None}
    assert seen["secondary_signal"] == {"BREAKING", "WEAKENING", "STABLE", None}


def test_a_shown_verdict_needs_24_raw_ones_behind_it() -> None:
    sample = sample_named(SIMULATED, None)
    frames = market_frames(sample)
    for timeframe, loop in zip((Timeframe.H1, Timeframe.H4), loops_of(sample), strict=True):
        package = columns_of(frames[timeframe])
        first = {name: next(i for i in range(len(loop)) if package[name][i]) for name in ("verdict_raw", "verdict")}
        assert first["verdict"] - first["verdict_raw"] == 23
