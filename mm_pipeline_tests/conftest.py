"""Fixtures shared by every kind of test: where the recorded candles are, and a clear skip where they are not."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.quick_dagster import compile_once, quicken

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """Folder of recorded real candles and wire samples (``../shared/data``); skips where it is absent."""
    if not RECORDED.is_dir():
        pytest.skip("recorded candles (../shared/data) are not beside this checkout")
    return RECORDED


def pytest_configure() -> None:
    """Properties repeat their examples every day; processes of tests end at a hang-up and at Ctrl-C.

    The workers fill the machine: threads of polars that wait for each other would cost a fifth of a tick.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    settings.register_profile("every day", derandomize=True, database=None)
    settings.register_profile("search", print_blob=True)
    settings.load_profile("search" if IS_SEARCH else "every day")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the suite runs in the background
    quicken()
    compile_once()


def pytest_collection_finish() -> None:
    """What is loaded stays: to look for garbage in it costs a tenth of a run of Dagster."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests begin first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
