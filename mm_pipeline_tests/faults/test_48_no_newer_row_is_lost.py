"""Row 48: whatever writes a month, rows that are later than the writer's own evaluation stay as they are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.clock import Clock
from mm_pipeline.adapters.config.home import frames_dir, journal_file
from mm_pipeline.adapters.journal import sqlite_url
from mm_pipeline.adapters.writing import turns_of
from mm_pipeline.domain.candles import CandleSource, CircuitStore
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.settings import Settings, load_settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = [*DAGSTER_WARNINGS, pytest.mark.fault]

START = datetime(2024, 12, 20, tzinfo=UTC)
MARCH, APRIL = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
AT = datetime(2025, 3, 4, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
BY_EVALUATION = ("exit_states", "entry_states", "grid_analysis", "positions", "risk", "notifications", "deliveries")
BY_MARKET = ("regime_metrics_1h", "regime_metrics_4h", "regime_1h", "regime_4h", "candles")


@dataclass
class InterruptedSources(FixedSources):
    """Candles from memory; what is asked for once runs between a run's planning and its first write."""

    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    def open(
        self, exchanges: Collection[str], *, settings: Settings, clock: Clock, circuits: CircuitStore
    ) -> Mapping[str, CandleSource]:
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().open(exchanges, settings=settings, clock=clock, circuits=circuits)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return ranging_candles(START, 80, seed=3)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def sources(candles: pl.DataFrame) -> InterruptedSources:
    return InterruptedSources({ETH: candles})


@pytest.fixture
def installation(tmp_path: Path, sources: InterruptedSources) -> Installation:
    made = Installation(tmp_path, sources)
    made.grid("eth")
    made.grid("idle", enabled=False)
    return made


def frames(installation: Installation) -> dict[tuple[str, str], pl.DataFrame]:
    """Every stored frame of March by dataset and key."""
    store = installation.store
    return {
        (dataset, key): store.read(dataset, key, start=MARCH, end=APRIL)
        for dataset in (*BY_EVALUATION, *BY_MARKET)
        for key in store.keys(dataset)
    }


def assert_nothing_was_lost(before: Mapping[tuple[str, str], pl.DataFrame], installation: Installation) -> None:
    after = frames(installation)
    assert set(after) >= set(before)
    for name, frame in before.items():
        assert after[name].equals(frame), name


def test_48_backfill_that_began_before_two_ticks_ends_after_them_and_keeps_their_rows(
    installation: Installation, instance: dg.DagsterInstance, sources: InterruptedSources
) -> None:
    ticked: dict[tuple[str, str], pl.DataFrame] = {}

    def ticks() -> None:
        installation.tick(AT + BAR, instance)
        installation.tick(AT + 2 * BAR, instance)
        ticked.update(frames(installation))

    sources.meanwhile.append(ticks)
    installation.run(AT + timedelta(minutes=1), instance, months=("2025-03", "2025-03"))
    assert ticked["exit_states", "eth"]["evaluated_at"][-1] == AT + 2 * BAR
    after = frames(installation)
    for (dataset, key), frame in ticked.items():
        column = "evaluated_at" if "evaluated_at" in frame.columns else "open_time"
        assert after[dataset, key][column].to_list() == frame[column].to_list() or dataset in {"positions", "risk"}
        assert after[dataset, key].filter(pl.col(column) > AT).equals(frame.filter(pl.col(column) > AT)), dataset


def test_48_backfill_writes_nothing_while_another_process_holds_the_frames(
    tmp_path: Path, instance: dg.DagsterInstance, sources: InterruptedSources
) -> None:
    made = Installation(tmp_path, sources, settings={"writing": {"give_up_after": "1s"}})
    made.grid("eth")
    made.tick(AT, instance)
    before = frames(made)
    other = turns_of(str(frames_dir(made.home)), sqlite_url(journal_file(made.home)), load_settings().writing)
    with other.ordinary("another backfill"):
        done = made.run(AT + BAR, instance, months=("2025-03", "2025-03"), raises=False)
    assert not done.success
    assert frames(made).keys() == before.keys()
    assert_nothing_was_lost(before, made)


def test_48_tick_executed_again_changes_no_later_row_and_journals_nothing(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    for number in range(4):
        installation.tick(AT + number * 5 * BAR, instance)
    before = frames(installation)
    with installation.journal() as journal:
        journalled = journal.evaluations()
        decisions = journal.notifications.decisions()
    again = {"mm/evaluated_at": (AT + 5 * BAR).isoformat(), "mm/live": "true"}
    installation.run(AT + timedelta(days=1), instance, month="2025-03", tags=again)
    assert_nothing_was_lost(before, installation)
    with installation.journal() as journal:
        assert journal.evaluations() == journalled
        assert journal.notifications.decisions() == decisions


def test_48_hourly_run_executed_again_keeps_the_newer_hours_and_kpis(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    for at in (AT, AT + timedelta(hours=3)):
        installation.tick(at, instance)
        installation.run(at, instance, job="hourly_metrics", month="2025-03", tags={"mm/evaluated_at": at.isoformat()})
    before = frames(installation) | {
        ("kpis", key): installation.store.read("kpis", key, start=MARCH, end=APRIL)
        for key in installation.store.keys("kpis")
    }
    again = {"mm/evaluated_at": AT.isoformat()}
    installation.run(AT + timedelta(days=1), instance, job="hourly_metrics", month="2025-03", tags=again)
    assert_nothing_was_lost({name: frame for name, frame in before.items() if name[0] != "kpis"}, installation)
    for name, frame in before.items():
        assert installation.store.read(*name, start=MARCH, end=APRIL).equals(frame), name


@dataclass(frozen=True)
class LaterAtEachLook:
    """A clock that is a bar later each time."""

    looks: Iterator[int]

    def now(self) -> datetime:
        return AT + next(self.looks) * BAR

    def now_ms(self) -> int:
        return to_ms(self.now())


def test_48_backfill_across_a_quarter_of_an_hour_judges_as_of_when_it_began(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run whose later stages looked at the clock again judged bars that its first stage never asked for."""
    looks = itertools.count()
    monkeypatch.setattr("mm_pipeline.bootstrap.FixedClock", lambda _at: LaterAtEachLook(looks))
    installation.run(AT, instance, months=("2025-03", "2025-03"))
    states = installation.store.read("exit_states", "eth", start=MARCH, end=APRIL)
    assert states["evaluated_at"][-1] == AT + BAR  # the first look was that of the code location
    assert "UNKNOWN" not in set(states["state"])
