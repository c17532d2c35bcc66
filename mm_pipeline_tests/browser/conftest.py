"""A headless Chromium for every test here, skipped where there is none; and an installation by the real clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
from mm_pipeline_tests.chromium import BROWSER, Page, browser, program
from mm_pipeline_tests.operator_samples import OperatedHome, operated_home
from mm_pipeline_tests.page_client import TOKEN


@pytest.fixture
def chromium() -> Iterator[Page]:
    """A page of a browser that tells its requests, errors and console."""
    found = program()
    if found is None:
        pytest.skip(f"there is no chromium on the path; name a Chromium or Chrome in {BROWSER}")
    with browser(found, settled_s=0.3) as page:
        for domain in ("Network", "Log", "Runtime"):
            page.call(f"{domain}.enable")
        yield page


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    """An empty installation whose open page asks for news every two seconds."""
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_PAGE_TOKEN", TOKEN)
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    made = operated_home(tmp_path)
    made.settings_file.write_text(made.settings_file.read_text() + "page: {refresh: 2s}\n")
    return made


@pytest.fixture
def at() -> datetime:
    """A moment five minutes ago: what is journalled a minute later has happened already."""
    now = SystemClock().now()
    return now.replace(microsecond=0) - timedelta(minutes=5)
