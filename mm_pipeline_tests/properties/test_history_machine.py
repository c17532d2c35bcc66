"""Whatever runs over the past in whatever order: a stored month equals a fresh home's, or it is named stale.

Months in any order and in ranges, parts of the flow, runs executed again as of an earlier moment, edited grids and
settings, candles that the exchange revises, and runs that die between two files. A fresh home has the same candles,
settings and grids. The month that goes on is named in any case. ``MM_TEST_EFFORT`` asks for a longer search.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from mm_pipeline.adapters.frames.files import FrameFiles
from mm_pipeline.adapters.frames.store import FrameMissing
from mm_pipeline.application.frames_status import CURRENT, DATASETS, frames_status
from mm_pipeline.application.months_due import months_due
from mm_pipeline.domain.candles import RAW_SCHEMA
from mm_pipeline.domain.months import next_month, parse_month
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles
from mm_pipeline_tests.effort import tries

pytestmark = [*DAGSTER_WARNINGS, pytest.mark.slow]
OVER = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC))
MONTHS = (*OVER, datetime(2025, 3, 1, tzinfo=UTC))
AT = datetime(2025, 3, 1, 6, tzinfo=UTC)
BEFORE = datetime(2025, 2, 27, 12, tzinfo=UTC)
"""The moment of a run that is executed again."""
KEY = ETH.path_key
SETTINGS: dict[str, Any] = {"risk": {"history_days": 14, "min_history_days": 7}}
PARTS: tuple[tuple[str, ...] | None, ...] = (
    *(None, None),
    ("candles",),
    ("regime_metrics", "regime"),
    ("grid_analysis",),
    ("positions", "risk"),
    ("exit_states", "entry_states"),
    ("regime", "grid_analysis", "exit_states", "entry_states"),
    ("replayed_notifications",),
)
"""What is asked for; None is the whole flow."""
DECLARED: Mapping[str, Mapping[str, Any]] = {
    "eth": {"started_at": "2025-01-30T00:00:00Z"},
    "idle": {"started_at": "2025-02-26T00:00:00Z", "enabled": False},
}
EDITS: tuple[Mapping[str, Any] | None, ...] = (
    {},
    {"capital": 2000},
    {"stop_loss": 2850},
    {"enabled": False},
    {"enabled": True},
    {"started_at": "2025-02-25T00:00:00Z"},
    None,
)
"""Of a grid's file; None takes it away."""
EXAMPLES, STEPS = 3, 6


class Died(BaseException):
    """A run ends as by a kill: nothing after it is done."""


@contextmanager
def dies_after(files: int) -> Iterator[None]:
    """End what runs here once so many files were replaced."""
    replaced = 0
    put = FrameFiles._put_in_place

    def put_or_die(of: FrameFiles, temporary: str, path: str) -> None:
        nonlocal replaced
        if replaced == files:
            raise Died
        replaced += 1
        put(of, temporary, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrameFiles, "_put_in_place", put_or_die)
        yield


@cache
def candles() -> pl.DataFrame:
    return ranging_candles(datetime(2024, 10, 1, tzinfo=UTC), 152)


class HistoryMachine(RuleBasedStateMachine):
    """One home, its files, and the exchange's candles."""

    counts: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.counts["examples"] += 1
        shared_memory = Path("/dev/shm")  # noqa: S108 - faster than a disk where it is there
        self.folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
        self.home = Installation(self.folder / "home", FixedSources({ETH: candles()}), settings=dict(SETTINGS))
        self.declared: dict[str, Mapping[str, Any] | None] = {}
        for grid, declared in DECLARED.items():
            self._declare(grid, declared)
        self.policy = "calibrated"

    # What runs

    @initialize(first=st.integers(0, 1), last=st.integers(1, 2))
    def first_backfill(self, first: int, last: int) -> None:
        self._run(first, last, None)

    @rule(first=st.integers(0, 2), months=st.integers(1, 2), assets=st.sampled_from(PARTS), is_refetch=st.booleans())
    def run(self, first: int, months: int, assets: tuple[str, ...] | None, is_refetch: bool) -> None:
        self._run(first, first + months - 1, assets, **{"mm/refetch": str(is_refetch).lower()})

    @rule(first=st.integers(0, 1), assets=st.sampled_from(PARTS))
    def run_again_as_of_then(self, first: int, assets: tuple[str, ...] | None) -> None:
        self._run(first, first, assets, **{"mm/evaluated_at": BEFORE.isoformat()})

    @rule(first=st.integers(0, 1), months=st.integers(1, 2), assets=st.sampled_from(PARTS), files=st.integers(0, 40))
    def run_that_dies(self, first: int, months: int, assets: tuple[str, ...] | None, files: int) -> None:
        self.counts["deaths"] += 1
        with dies_after(files):
            self._run(first, first + months - 1, assets)

    def _run(self, first: int, last: int, assets: tuple[str, ...] | None, **tags: str) -> None:
        self.counts["runs"] += 1
        asked = (f"{MONTHS[first]:%Y-%m}", f"{MONTHS[min(last, 2)]:%Y-%m}")
        with dg.DagsterInstance.ephemeral() as instance:
            try:
                self.home.run(AT, instance, months=asked, assets=assets, tags=tags, raises=False)
            except Died:
                return

    # What changes beside it

    @rule(grid=st.sampled_from(sorted(DECLARED)), edit=st.sampled_from(EDITS))
    def edit_a_grid(self, grid: str, edit: Mapping[str, Any] | None) -> None:
        self.counts["edits"] += 1
        self._declare(grid, None if edit is None else {**DECLARED[grid], **edit})

    @rule()
    def change_the_policy(self) -> None:
        self.counts["edits"] += 1
        self.policy = {"calibrated": "seed", "seed": "calibrated"}[self.policy]
        text = yaml.safe_dump({"grids": "grids", "policy": self.policy} | SETTINGS)
        self.home.settings_file.write_text(text)

    @rule(day=st.integers(31, 150), share=st.sampled_from([0.99, 0.9]))
    def revise_a_candle(self, day: int, share: float) -> None:
        self.counts["revisions"] += 1
        at = candles()["open_time"][0] + timedelta(days=day, hours=5)
        low = pl.when(pl.col("open_time") == at).then(pl.col("low") * share).otherwise("low")
        self.home.sources.candles[ETH] = self.home.sources.candles[ETH].with_columns(low=low)

    def _declare(self, grid: str, declared: Mapping[str, Any] | None) -> None:
        self.declared[grid] = declared
        if declared is None:
            (self.home.folder / "grids" / f"{grid}.yaml").unlink(missing_ok=True)
        else:
            self.home.grid(grid, **declared)

    # What must hold

    def teardown(self) -> None:
        """What is claimed to be current is so; and once the months that are due are made, all of both is."""
        try:
            fresh = self._fresh()
            self._check_claims(fresh)
            for month in self._due():
                self._run(OVER.index(month), OVER.index(month), None)
            assert not self._due()
            self._check_claims(fresh if self._has_fetched_nothing(fresh) else self._fresh())
        finally:
            shutil.rmtree(self.folder)

    def _due(self) -> list[datetime]:
        with self.home.watch(AT) as watch:
            return [month for month, reasons in months_due(watch, OVER).items() if reasons]

    def _check_claims(self, fresh: Installation) -> None:
        with self.home.watch(AT) as watch:
            found = frames_status(watch, OVER)
        for one in found:
            if one.state == CURRENT:
                self.counts["compared"] += 1
                self._compare(fresh, one.dataset, parse_month(one.month))
        for month in set(OVER) - set(self._due()):
            self.counts["whole"] += 1
            assert self._keys(self.home, month) == self._keys(fresh, month), month

    def _has_fetched_nothing(self, fresh: Installation) -> bool:
        return self._stored_candles(self.home).equals(self._stored_candles(fresh))

    @staticmethod
    def _stored_candles(home: Installation) -> pl.DataFrame:
        stored = home.store.read("candles", KEY, start=candles()["open_time"][0], end=AT)
        return stored.select(list(RAW_SCHEMA))

    def _fresh(self) -> Installation:
        """A home that has made every month once, of the candles that are stored here."""
        shutil.rmtree(self.folder / "fresh", ignore_errors=True)
        stored = self._stored_candles(self.home)
        made = Installation(self.folder / "fresh", FixedSources({ETH: stored}), settings=dict(SETTINGS))
        for file in [self.home.settings_file, *(self.home.folder / "grids").iterdir()]:
            shutil.copy(file, made.folder / file.relative_to(self.home.folder))
        with dg.DagsterInstance.ephemeral() as instance:
            for month in OVER:
                made.run(AT, instance, months=(f"{month:%Y-%m}", f"{month:%Y-%m}"), raises=False)
        return made

    def _compare(self, fresh: Installation, dataset: str, month: datetime) -> None:
        for key in self.home.store.keys(dataset):
            if month in self.home.store.months(dataset, key):
                stored, expected = (_rows(home, dataset, key, month) for home in (self.home, fresh))
                is_empty = not stored.height and not expected.height  # a run over a range makes a file of no row
                assert is_empty or stored.equals(expected), (dataset, key, f"{month:%Y-%m}")

    @staticmethod
    def _keys(home: Installation, month: datetime) -> set[tuple[str, str]]:
        return {
            (name, key) for name in DATASETS for key in home.store.keys(name) if _rows(home, name, key, month).height
        }


def _rows(home: Installation, dataset: str, key: str, month: datetime) -> pl.DataFrame:
    try:
        return home.store.read(dataset, key, start=month, end=next_month(month))
    except FrameMissing:
        return pl.DataFrame()


def test_every_stored_month_equals_a_fresh_homes_or_is_named_stale() -> None:
    counts = dict.fromkeys(("examples", "runs", "deaths", "edits", "revisions", "compared", "whole"), 0)
    HistoryMachine.counts = counts
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        HistoryMachine,
        settings=settings(
            max_examples=tries(EXAMPLES),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"\nhistory machine: {', '.join(f'{count} {name}' for name, count in counts.items())}")
    assert counts["compared"]
