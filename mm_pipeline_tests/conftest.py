"""Fixtures shared by every kind of test: where the recorded candles are, and a clear skip where they are not."""

import signal
from pathlib import Path

import pytest

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """Folder of recorded real candles and wire samples (``../shared/data``); skips where it is absent."""
    if not RECORDED.is_dir():
        pytest.skip("recorded candles (../shared/data) are not beside this checkout")
    return RECORDED


def pytest_configure() -> None:
    """Processes of tests end at a hang-up, also where this one was started to outlive its terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
