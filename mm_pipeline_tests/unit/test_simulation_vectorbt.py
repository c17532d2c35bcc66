"""The simulator against vectorbt, an independent engine: the same fills and PnL. Skips where it is not installed."""

import numpy as np
import pytest

from mm_pipeline.domain.candles import fill_gaps
from mm_pipeline_tests.grid_samples import random_grid
from mm_pipeline_tests.markets import simulated_candles

# A benchmark-only dependency, of which importing warns.
pytest.importorskip("vectorbt", reason="vectorbt is installed by `make bench` only")


@pytest.mark.filterwarnings("ignore")
def test_random_grids_fill_and_earn_as_in_vectorbt() -> None:
    from mm_pipeline_tests.benchmarks.bench_4_grid_simulation import equal_results

    bars = fill_gaps(simulated_candles(), quarantined_ms=None)
    random = np.random.default_rng(11)
    filled = stopped = 0
    for _ in range(12):
        stretch = bars.slice(int(random.integers(0, len(bars) - 600)), 600)
        # Fees that intervals earn: vectorbt refuses to spend cash that is not there.
        grid = random_grid(random, stretch).model_copy(update={"capital": 1000.0, "fee": 0.0002, "levels": 11})
        fills, _ = equal_results(grid, stretch)
        filled += fills > 20
        stopped += bool((stretch["low"] <= grid.stop_loss).any())
    assert filled >= 6
    assert stopped >= 2
