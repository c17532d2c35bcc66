"""What real runs tell of an account, beside what the paper exchange knows of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, check_of
from mm_pipeline_tests.traded_samples import AT, KEYS, PUSHOVER, newest, sol_grid, traded_grids

pytestmark = DAGSTER_WARNINGS


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | PUSHOVER).items():
        monkeypatch.setenv(name, value)


def test_bot_on_another_ladder_than_the_declared_one_is_named_in_row_and_check(tmp_path: Path) -> None:
    grid = sol_grid()
    shift = 0.4 * (grid.upper - grid.lower) / grid.interval_count
    traded_by_bot = grid.model_copy(update={"lower": grid.lower + shift, "upper": grid.upper + shift})
    with traded_grids(tmp_path, traded_by_bot) as traded:
        declared = grid.model_dump(mode="json")
        traded.installation.grid("sol", **{name: value for name, value in declared.items() if name != "id"})
        result = traded.tick(AT)
        row = newest(traded.installation, "positions", "sol", AT)
        agreement = check_of(result, "positions", "account_agrees")
    assert (row["source"], row["inventory_base"]) == ("exchange", None)
    assert "orders lie on the declared ladder" in str(row["position_unknown"])
    assert "orders lie on the declared ladder" in str(agreement.metadata["sol"].value)
