"""Rolling AR(1) half-life over 240 closes, against a loop of numpy.polyfit."""

from __future__ import annotations

import numpy as np

from mm_pipeline.domain.indicators.mean_reversion import ornstein_uhlenbeck
from mm_pipeline_tests.benchmarks.side_by_side import compare, report, symbol_year

CLOSES = 240


def main() -> None:
    """Print the ratio per window."""
    close = symbol_year()["close"].to_numpy()[::4]
    log_close = np.log(close)
    sample = range(CLOSES, len(close), len(close) // 200)

    def loop() -> None:
        for end in sample:
            window = log_close[end - CLOSES : end]
            np.polyfit(window[:-1], np.diff(window), 1)

    ours_s, peer_s = compare(lambda: ornstein_uhlenbeck(close, CLOSES, 1.645), loop, rounds=5)
    windows = len(close) - CLOSES + 1
    per_peer = peer_s / len(sample) * windows
    report(f"{windows} windows", ours_s, per_peer, "numpy.polyfit loop (200 windows, scaled)", wanted=">= 1,000 times")
