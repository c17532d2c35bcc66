"""The paper clock: real, faster, standing, and changed while it runs."""

from datetime import UTC, datetime, timedelta

import pytest

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.paper import clock as clock_module
from mm_pipeline.paper.clock import PaperClock

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
START_MS = 1_740_830_400_000


@pytest.fixture
def real_ms(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The machine's time as a value that the test moves."""
    now = {"ms": 1_000_000.0}
    monkeypatch.setattr(clock_module, "_real_ms", lambda: now["ms"])
    return now


def test_standing_clock_stays_while_real_time_passes(real_ms: dict[str, float]) -> None:
    clock = PaperClock.standing(START)
    real_ms["ms"] += 3_600_000
    assert clock.now_ms() == START_MS
    assert clock.now() == START
    assert clock.speed == 0


def test_fast_clock_multiplies_real_time(real_ms: dict[str, float]) -> None:
    clock = PaperClock.running(START, speed=900)
    real_ms["ms"] += 1000
    assert clock.now_ms() == START_MS + 900_000


def test_real_clock_follows_the_machine(real_ms: dict[str, float]) -> None:
    clock = PaperClock.real()
    real_ms["ms"] += 250
    assert clock.now_ms() == 1_000_250


def test_clock_changed_while_running_keeps_what_was_not_changed(real_ms: dict[str, float]) -> None:
    clock = PaperClock.running(START, speed=60)
    real_ms["ms"] += 1000
    clock.advance(timedelta(minutes=-30))
    assert clock.now_ms() == START_MS + 60_000 - 1_800_000
    real_ms["ms"] += 1000
    assert clock.now_ms() == START_MS + 120_000 - 1_800_000
    clock.stand_at(START)
    real_ms["ms"] += 1000
    assert clock.now_ms() == START_MS
    clock.run_from(START, speed=2)
    real_ms["ms"] += 1000
    assert clock.now_ms() == START_MS + 2000


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf")])
def test_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        PaperClock.running(START, speed=speed)


def test_time_without_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="time zone"):
        PaperClock.standing(START.replace(tzinfo=None))
