"""A home whose page is asked at a moment that stands still."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
from mm_pipeline.domain.instants import to_ms
from mm_pipeline_tests.operator_samples import OperatedHome, operated_home
from mm_pipeline_tests.page_client import TOKEN
from mm_pipeline_tests.page_home import NOW


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long other tests take."""
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: to_ms(NOW))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    """One that the page is served of."""
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_PAGE_TOKEN", TOKEN)
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    return operated_home(tmp_path)
