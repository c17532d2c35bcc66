"""One run over months and a run a month, in any order, store the same frames to the last bit."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from mm_pipeline.contracts.stored import STORED
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles
from mm_pipeline_tests.effort import SEARCHED

pytestmark = DAGSTER_WARNINGS
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
AT = datetime(2025, 3, 3, 12, tzinfo=UTC)


def frames(installation: Installation) -> dict[tuple[str, str], pl.DataFrame]:
    store = installation.store
    return {(name, key): store.read(name, key, start=START, end=END) for name in STORED for key in store.keys(name)}


def test_one_run_and_monthly_runs_store_the_same_bits(tmp_path: Path) -> None:
    candles = ranging_candles(datetime(2024, 11, 1, tzinfo=UTC), 125, quiet_share=0.02)
    found = []
    for name, asked in {
        "one": [("2025-01", "2025-03")],
        "monthly": [("2025-02", "2025-02"), ("2025-03", "2025-03"), ("2025-01", "2025-01")],
    }.items():
        made = Installation(tmp_path / name, FixedSources({ETH: candles}))
        made.grid("eth", started_at="2025-01-20T00:00:00Z")
        made.grid("idle", started_at="2025-02-10T00:00:00Z", enabled=False)
        with dg.DagsterInstance.ephemeral() as instance:
            for months in asked:
                made.run(AT, instance, months=months)
        found.append(frames(made))
    one, monthly = found
    assert set(one) == set(monthly)
    month = pl.lit(START)  # candles before the first month are look-back, and differ by how far a run looks
    for key, frame in one.items():
        column = "evaluated_at" if "evaluated_at" in frame.columns else "open_time"
        inside = pl.col(column) >= month
        assert monthly[key].filter(inside).equals(frame.filter(inside)), key


OTHER_PYTHON = "MM_OTHER_PYTHON"
"""Names an interpreter of another version, with the same packages, for the comparison."""


@SEARCHED
def test_two_processes_and_two_pythons_store_the_same_bits(tmp_path: Path) -> None:
    found = set()
    for seed, python in enumerate([sys.executable, os.environ.get(OTHER_PYTHON, sys.executable)]):
        done = subprocess.run(
            [python, "-m", "mm_pipeline_tests.frames_process", str(tmp_path / str(seed))],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            cwd=Path(__file__).parents[2],
        )
        found.add(done.stdout)
    (lines,) = found
    assert len(lines.splitlines()) > len(STORED) / 2
