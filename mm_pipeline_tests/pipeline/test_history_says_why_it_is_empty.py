"""A month ahead of the clock is refused, and one without a grid or a market says so."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    metadata_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
FEBRUARY, MARCH = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)}))
    made.grid("eth")
    return made


@pytest.mark.parametrize("months", [("2025-04", "2025-04"), ("2025-03", "2025-04")])
def test_month_that_has_not_begun_is_refused(
    installation: Installation, instance: dg.DagsterInstance, months: tuple[str, str]
) -> None:
    with pytest.raises(ConfigError, match="2025-04 has not begun: it is 2025-03-02 12:00 UTC"):
        installation.run(AT, instance, months=months, assets=["candles"])


def test_month_without_grid_or_market_says_so(installation: Installation, instance: dg.DagsterInstance) -> None:
    early = installation.run(AT, instance, months=("2024-06", "2024-06"))
    said = "No market is watched and no grid is declared from 2024-06 to 2024-06."
    for asset in ("candles", "regime", "exit_states", "notifications", "replayed_notifications", "archive"):
        assert metadata_of(early, asset)["nothing_to_do"] == said


def test_month_with_a_market_alone_says_so(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.settings_file.write_text("grids: grids\nextra_markets: [kucoin:ETH/USDT]\n")
    result = installation.run(AT, instance, months=("2025-01", "2025-01"), assets=["grid_analysis"])
    assert metadata_of(result, "grid_analysis")["nothing_to_do"] == "No grid is declared from 2025-01 to 2025-01."


def test_month_of_a_grid_that_is_older_than_the_candles_says_so_in_every_row(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.grid("eth", started_at="2024-12-01T00:00:00Z")
    installation.run(AT, instance, months=("2025-02", "2025-02"))
    rows = installation.store.read("exit_states", "eth", start=FEBRUARY, end=MARCH)
    assert rows.height == 28 * 96
    said = "candles do not reach back to the grid's started_at"
    assert rows["reasons"].list.contains(said).all()
    assert set(rows["state"]) <= {"UNKNOWN", "MANDATORY_EXIT"}


def test_month_with_a_grid_has_nothing_to_explain(installation: Installation, instance: dg.DagsterInstance) -> None:
    result = installation.run(AT, instance, months=("2025-03", "2025-03"))
    assert "nothing_to_do" not in metadata_of(result, "exit_states")
