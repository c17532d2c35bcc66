"""What is known of a position before a frame begins: looked for back to the last reading, in the grid's range alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.earlier_positions import earlier_positions
from mm_pipeline.domain.notifications import judged_in
from mm_pipeline.reporting.notification_frame import GridStates
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.effort import tries
from mm_pipeline_tests.grid_samples import hundreds_grid
from mm_pipeline_tests.journal_samples import evaluation

BAR = timedelta(minutes=15)
DAY = 96
GRID = hundreds_grid()
START = GRID.started_at
READ = {"level": "HIGH", "source": "exchange", "inventory_base": 5.0}
MODELLED = {"level": "HIGH", "source": "modelled", "inventory_base": 0.0}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path / "journal.db")) as opened:
        yield opened


def recorded(journal: Journal, bars: Mapping[int, Mapping[str, Any]]) -> None:
    made = [
        replace(
            evaluation(),
            grid=GRID.id,
            evaluated_at=at(bar),
            recorded_at=at(bar),
            grid_version=GRID.version_hash,
            state="MANDATORY_EXIT",
            risk=risk,
            input_hash=f"{bar}",
        )
        for bar, risk in sorted(bars.items())
    ]
    journal.record_evaluations(made, again_at=made[-1].evaluated_at)


def at(bar: int) -> datetime:
    return START + bar * BAR


def found(journal: Journal, bar: int, *states: str) -> list[str | None]:
    rows = pl.DataFrame(
        {
            "evaluated_at": [at(bar + n) for n in range(len(states))],
            "state": list(states),
            "grid_version": [GRID.version_hash] * len(states),
        }
    )
    given = GridStates(rows=rows, grids={GRID.version_hash: GRID}, kind="exit")
    return [one.source for one in earlier_positions(journal, GRID.id, given)]


def test_reading_of_weeks_ago_is_found_behind_what_the_model_said(journal: Journal) -> None:
    recorded(journal, {DAY: READ} | dict.fromkeys(range(5 * DAY, 40 * DAY, DAY), MODELLED))
    assert found(journal, 40 * DAY, "MANDATORY_EXIT")[0] == "exchange"


def test_no_more_is_read_than_one_stretch_behind_the_last_reading(journal: Journal) -> None:
    recorded(journal, dict.fromkeys(range(DAY, 40 * DAY, DAY), READ))
    assert len(found(journal, 40 * DAY, "MANDATORY_EXIT")) == 14


def test_reading_of_a_range_that_was_left_is_not_looked_for(journal: Journal) -> None:
    recorded(journal, {-DAY: READ, DAY: MODELLED})
    assert found(journal, 2 * DAY, "MANDATORY_EXIT") == ["modelled"]


@pytest.mark.parametrize(
    ("states", "is_asked"), [(("NORMAL", "NORMAL"), False), (("UNKNOWN",), True), (("MANDATORY_EXIT", "NORMAL"), True)]
)
def test_nothing_is_read_while_the_grid_is_normal(journal: Journal, states: tuple[str, ...], *, is_asked: bool) -> None:
    recorded(journal, {DAY: READ})
    assert bool(found(journal, 2 * DAY, *states)) is is_asked


moments = st.tuples(
    st.sampled_from(["MANDATORY_EXIT", "MANDATORY_EXIT", "WARNING", "NORMAL", "UNKNOWN"]),
    st.booleans(),
    st.sampled_from([("exchange", 5.0), ("exchange", 0.0), ("exchange", None), ("modelled", 0.0), ("modelled", 5.0)]),
)


@pytest.fixture(scope="module")
def one_journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    with Journal(sqlite_url(tmp_path_factory.mktemp("journal") / "journal.db")) as opened:
        yield opened


@given(story=st.lists(moments, min_size=2, max_size=10), data=st.data())
@example(story=[("WARNING", True, ("exchange", 5.0)), ("MANDATORY_EXIT", True, ("modelled", 0.0))], data=None)
@settings(max_examples=tries(25), deadline=None)
def test_frame_that_begins_anywhere_is_judged_as_the_whole(
    one_journal: Journal, story: list[tuple[str, bool, tuple[str, float | None]]], data: st.DataObject | None
) -> None:
    cut = 1 if data is None else data.draw(st.integers(1, len(story) - 1))
    story[-1] = ("MANDATORY_EXIT", *story[-1][1:])  # of a grid that is NORMAL nothing is looked for
    grid = GRID.model_copy(update={"id": f"grid-{next(_NUMBERS)}"})
    rows = [
        {
            "grid": grid.id,
            "evaluated_at": at(bar + 1),
            "state": state,
            "grid_version": grid.version_hash,
            "reasons": [],
            "price": grid.upper + (1.0 if is_above else -1.0),
            "position_health": "ABOVE_GRID" if is_above else "IN_GRID",
            "risk": {"source": source, "inventory_base": inventory},
        }
        for bar, (state, is_above, (source, inventory)) in enumerate(story)
    ]
    of_row = ("grid", "evaluated_at", "state", "grid_version", "price", "risk")
    one_journal.observe_grids([grid], START, unreadable=one_journal.known_grids())
    one_journal.record_evaluations(
        replace(evaluation(), recorded_at=row["evaluated_at"], **{name: row[name] for name in of_row})  # type: ignore[arg-type]
        for row in rows
    )
    kinds = {"risk": pl.Struct({"source": pl.String, "inventory_base": pl.Float64}), "reasons": pl.List(pl.String)}
    frame = pl.DataFrame(rows, schema_overrides=kinds)
    rest = GridStates(rows=frame[cut:], grids={grid.version_hash: grid}, kind="exit")
    policy = load_settings().notify
    judged = judged_in(
        rest.rows, rest.grids, policy, kind="exit", earlier=earlier_positions(one_journal, grid.id, rest)
    )
    assert judged == judged_in(frame, rest.grids, policy, kind="exit")[cut:]


_NUMBERS = itertools.count()
