from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_pipeline.adapters.clock import FixedClock, SystemClock
from mm_pipeline.domain.instants import from_ms, to_ms


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_any_millisecond_survives_the_round_trip(ms: int) -> None:
    assert to_ms(from_ms(ms)) == ms


def test_time_in_another_zone_is_the_same_instant() -> None:
    at = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert FixedClock(at).now() == datetime(2024, 1, 1, tzinfo=UTC)
    assert FixedClock(at).now().utcoffset() == timedelta(0)


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        FixedClock(datetime(2024, 1, 1))  # noqa: DTZ001


def test_system_clock_agrees_with_the_platform() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    clock = SystemClock()
    assert before <= clock.now() <= from_ms(clock.now_ms()) <= datetime.now(UTC)
