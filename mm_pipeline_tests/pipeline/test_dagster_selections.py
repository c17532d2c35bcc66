"""Every selection of assets can be launched through the UI's API, in whatever order its process walks a set."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mm_pipeline_tests.effort import IS_SEARCH

SEEDS = range(16 if IS_SEARCH else 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_selection_is_launched_whatever_the_hash_seed(seed: int, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "MM_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "mm_pipeline_tests.selections_process", str(seed)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (0, "QUEUED\n"), done.stderr
