"""Fixtures shared by every kind of test: where the recorded candles are, and a clear skip where they are not."""

from pathlib import Path

import pytest

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """Folder of recorded real candles and wire samples (``../shared/data``); skips where it is absent."""
    if not RECORDED.is_dir():
        pytest.skip("recorded candles (../shared/data) are not beside this checkout")
    return RECORDED
