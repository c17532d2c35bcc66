"""Entry states and proposed ranges of disabled grids equal a plain loop written from SPEC 6 alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.reference.exit_sides import loop_entries, package_entries
from mm_pipeline_tests.reference.grid import Grid, GridVersion
from mm_pipeline_tests.reference.samples import EVERY_SAMPLE, SIMULATED, Sample, sample_named
from mm_pipeline_tests.reference.sides import differences

EVERY = 5 if IS_SEARCH else 29
"""Evaluations from one that is compared to the next: each quarter of an hour and each hour of a day has its turn."""


def idle_grid(sample: Sample) -> Grid:
    """A disabled grid from the sample's first bar on."""
    price = sample.quarters.close[0]
    return Grid("idle", price, price * 1.1, price * 0.9, sample.quarters.open_time[0], is_enabled=False)


@pytest.mark.parametrize(("spacing", "policy"), [("arithmetic", "seed"), ("geometric", "confirmed")])
@pytest.mark.parametrize("name", EVERY_SAMPLE)
def test_every_entry_state_and_proposal_equals_the_plain_loop(
    request: pytest.FixtureRequest, name: str, spacing: str, policy: str
) -> None:
    sample = sample_named(name, None if name == SIMULATED else request.getfixturevalue("recorded_data"))
    grid = replace(idle_grid(sample), spacing=spacing)
    versions = (GridVersion(grid.started_at, grid),)
    package, quality = package_entries(sample, versions, policy)
    rows = range(0, len(quality), EVERY)
    loop = loop_entries(sample, versions, policy, quality, rows=rows)
    assert loop
    found = {name: differences([package[i][name] for i in rows], [row[name] for row in loop]) for name in loop[0]}
    assert {name: places for name, places in found.items() if places} == {}


def test_compared_evaluations_reach_every_entry_state(recorded_data: Path) -> None:
    states = set()
    for name in EVERY_SAMPLE:
        sample = sample_named(name, recorded_data)
        grid = idle_grid(sample)
        states |= {row["state"] for row in package_entries(sample, (GridVersion(grid.started_at, grid),), "seed")[0]}
    assert states == {"ENTER", "WAIT", "AVOID", "UNKNOWN"}
