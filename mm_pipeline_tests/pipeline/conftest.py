"""Fixtures of tests that need a real database."""

import pytest

from mm_pipeline_tests.postgres_server import session_server


@pytest.fixture
def postgres_url() -> str:
    """A new, empty Postgres database."""
    return session_server().new_database()
