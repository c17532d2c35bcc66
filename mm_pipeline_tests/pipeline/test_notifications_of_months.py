"""What was told comes from the journal alone; what would have been told is the same in any order of months."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from logging import getLogger
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.application.states_before import states_before
from mm_pipeline.domain.instants import to_ms
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles
from mm_pipeline_tests.paging_samples import calm_market, with_price

pytestmark = DAGSTER_WARNINGS
FEBRUARY, MARCH, APRIL = (datetime(2025, month, 1, tzinfo=UTC) for month in (2, 3, 4))
FELL = datetime(2025, 2, 27, 9, tzinfo=UTC)
AT = datetime(2025, 3, 3, 14, tzinfo=UTC)
LOG = getLogger(__name__)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A market that fell below the grid at the end of February and stays there; another grid that waits to enter."""
    made = Installation(tmp_path, FixedSources({ETH: with_price(calm_market(), 2850.0, FELL)}))
    made.grid("eth", started_at="2025-02-20T00:00:00Z")
    made.grid("idle", started_at="2025-02-20T00:00:00Z", enabled=False)
    return made


def rows(installation: Installation, dataset: str, grid: str = "eth") -> pl.DataFrame:
    return installation.read(dataset, grid, start=FEBRUARY, end=APRIL)


def backfill(installation: Installation, instance: dg.DagsterInstance, *months: str) -> None:
    for month in months:
        installation.run(AT, instance, months=(month, month))


def without_frames(installation: Installation) -> None:
    shutil.rmtree(frames_dir(installation.home))


def test_replay_is_the_same_in_any_order_of_months(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-03"))
    together = {grid: rows(installation, "replayed_notifications", grid) for grid in ("eth", "idle")}
    in_march = together["eth"].filter(pl.col("evaluated_at") > MARCH)
    assert in_march.height
    assert in_march["episode_at"].max() < MARCH, "the emergency of February goes on"
    for months in (("2025-03", "2025-02"), ("2025-02", "2025-03")):
        without_frames(installation)
        backfill(installation, instance, *months)
        for grid, expected in together.items():
            assert rows(installation, "replayed_notifications", grid).equals(expected), (grid, months)


def test_backfill_leaves_what_was_told(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.tick(AT, instance)
    told = rows(installation, "notifications")
    assert told["is_live"].to_list() == [True]
    installation.run(AT + timedelta(minutes=1), instance, months=("2025-02", "2025-03"))

    assert rows(installation, "notifications").equals(told)
    assert not rows(installation, "replayed_notifications")["is_live"].any()


def test_frames_that_are_lost_come_back_from_the_journal(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick(AT, instance)
    told = rows(installation, "notifications")
    without_frames(installation)
    installation.run(AT + timedelta(minutes=2), instance, months=("2025-03", "2025-03"))
    assert rows(installation, "notifications").equals(told)


def test_tick_replays_nothing(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.tick(AT, instance)
    assert "eth" not in installation.store.keys("replayed_notifications")


def test_states_of_the_month_before_are_those_that_its_own_run_stores(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    backfill(installation, instance, "2025-02")
    stored = {name: rows(installation, name, grid) for name, grid in (("exit_states", "eth"), ("entry_states", "idle"))}
    without_frames(installation)
    backfill(installation, instance, "2025-03")
    with installation.watch(AT) as watch:
        before = states_before(watch, MARCH, to_ms(AT), LOG)

    told = ["evaluated_at", "state", "reasons", "grid_version"]
    assert before.made["idle"].entry_states.select(told).equals(stored["entry_states"].select(told))
    held = [pl.col("risk").struct.field(name) for name in ("source", "inventory_base")]
    made = before.made["eth"].exit_states.select(*told, *held)
    assert made.equals(stored["exit_states"].select(*told, *held))
    assert made["inventory_base"].max() > 0


def test_what_an_account_showed_is_remembered(installation: Installation, instance: dg.DagsterInstance) -> None:
    backfill(installation, instance, "2025-02", "2025-03")
    shown_at = datetime(2025, 2, 28, 12, tzinfo=UTC)
    is_shown = pl.col("evaluated_at") == shown_at
    positions = rows(installation, "positions").filter(pl.col("evaluated_at") <= MARCH)
    shown = positions.with_columns(
        source=pl.when(is_shown).then(pl.lit("exchange")).otherwise("source"),
        inventory_base=pl.when(is_shown).then(0.123).otherwise("inventory_base"),
    )
    installation.store.write("positions", "eth", shown, start=FEBRUARY, end=MARCH)
    with installation.watch(AT) as watch:
        found = states_before(watch, MARCH, to_ms(AT), LOG).made["eth"].exit_states.filter(is_shown)["risk"][0]
    assert (found["source"], found["inventory_base"]) == ("exchange", 0.123)


def test_candles_reach_back_far_enough_for_the_month_before(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    made = Installation(tmp_path, FixedSources({ETH: ranging_candles(datetime(2024, 11, 1, tzinfo=UTC), 125)}))
    made.grid("idle", enabled=False, started_at="2025-02-01T00:00:00Z")
    with made.watch(FEBRUARY + timedelta(minutes=1)) as watch:
        watch.observe_grids(to_ms(FEBRUARY))
    edited_at = datetime(2025, 2, 10, tzinfo=UTC)
    made.grid("idle", enabled=False, started_at="2025-02-10T00:00:00Z")
    with made.watch(edited_at + timedelta(minutes=1)) as watch:
        watch.observe_grids(to_ms(edited_at))
    backfill(made, instance, "2025-03")
    with made.watch(AT) as watch:
        states = states_before(watch, MARCH, to_ms(AT), LOG).made["idle"].entry_states
    assert states.height > 2600
    assert "UNKNOWN" not in set(states["state"])
