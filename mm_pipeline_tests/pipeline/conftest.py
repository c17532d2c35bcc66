"""Fixtures of tests that need a Dagster instance, a real database, or a paper exchange whose account trades."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline_tests.postgres_server import session_server
from mm_pipeline_tests.traded_samples import KEYS, PUSHOVER, Traded, sol_grid, traded_grids


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps nothing."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def postgres_url() -> str:
    """A new, empty Postgres database."""
    return session_server().new_database()


@pytest.fixture
def traded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traded]:
    """One grid that falls, its account and its watch."""
    for name, value in {**KEYS, **PUSHOVER}.items():
        monkeypatch.setenv(name, value)
    with traded_grids(tmp_path, sol_grid()) as made:
        yield made
