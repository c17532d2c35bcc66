"""What a study may declare, when its grids are placed, and that every refusal says what to write."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from mm_pipeline.adapters.config.strict_yaml import validation_errors
from mm_pipeline.domain.study import PlacedEvery, StudyDeclaration, spans_of
from mm_pipeline_tests.study_samples import declared, study_of


def test_month_is_one_span() -> None:
    (span,) = spans_of(datetime(2024, 2, 17, 5, tzinfo=UTC), PlacedEvery.MONTHLY)
    assert (span.label, span.start, span.end) == (
        "2024-02",
        datetime(2024, 2, 1, tzinfo=UTC),
        datetime(2024, 3, 1, tzinfo=UTC),
    )


def test_weeks_begin_on_mondays_and_the_last_reaches_into_the_next_month() -> None:
    spans = spans_of(datetime(2024, 12, 1, tzinfo=UTC), PlacedEvery.WEEKLY)
    assert [(span.label, span.start.day) for span in spans] == [
        ("2024-w49", 2),
        ("2024-w50", 9),
        ("2024-w51", 16),
        ("2024-w52", 23),
        ("2025-w01", 30),
    ]
    assert spans[-1].end == datetime(2025, 1, 6, tzinfo=UTC)


def test_every_monday_of_years_is_in_one_month() -> None:
    months = [datetime(year, month, 1, tzinfo=UTC) for year in range(2020, 2027) for month in range(1, 13)]
    spans = [span for month in months for span in spans_of(month, PlacedEvery.WEEKLY)]
    assert all(before.end == after.start for before, after in pairwise(spans))
    assert len({span.label for span in spans}) == len(spans)


def test_hash_follows_what_places_grids_alone() -> None:
    assert study_of().hash == study_of(policies=["seed"], first_month="2022-05", markets=["kucoin:BTC/USDT"]).hash
    changed = [
        study_of(placed="weekly"),
        study_of(when_over="place_anew"),
        study_of(template={"levels": 12}),
        study_of(template={"half_width": {"atr_4h": 5.0}}),
    ]
    assert len({study.hash for study in [study_of(), *changed]}) == 5


@pytest.mark.parametrize(
    ("changes", "key", "told"),
    [
        ({"markets": []}, "markets", "names no market. Write at least one."),
        ({"markets": ["eth"]}, "markets", "names no exchange. Write it like kucoin:ETH/USDT."),
        ({"markets": ["kucoin:ETH/USDT", "binance:ETH/USDT"]}, "markets", "the same base"),
        ({"policies": []}, "policies", "names no policy. Write at least one."),
        ({"policies": ["seed", "seed"]}, "policies", "seed is named twice. Keep one of the two."),
        ({"policies": ["My Policy"]}, "policies", "is no policy. Write a name like calibrated"),
        ({"first_month": "2024-13"}, "first_month", "refused"),
        ({"placed": "daily"}, "placed", "Write 'monthly' or 'weekly'."),
        ({"when_over": "wait"}, "when_over", "Write 'stay_out' or 'place_anew'."),
        ({"template": {"half_width": {}}}, "template.half_width", "Write either {pct: 5.0} or {atr_4h: 6.0}."),
        ({"template": {"half_width": {"pct": 5.0, "atr_4h": 6.0}}}, "template.half_width", "it needs one measure"),
        ({"template": {"stop_distance": {"pct": 60.0}}}, "template.stop_distance.pct", "Write 50.0 or less."),
        ({"template": {"levels": 1}}, "template.levels", "Write 2 or more."),
        ({"template": {"level": 5}}, "template.level", "Write levels if that is meant"),
    ],
)
def test_refusal_names_key_and_what_to_write(changes: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        StudyDeclaration.model_validate(declared(**changes))
    error = validation_errors("studies/a.yaml", refused.value, StudyDeclaration)
    assert error.key == key
    assert told in str(error)
