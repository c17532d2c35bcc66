"""What the partitions of a run show: each its own month, without look-back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = DAGSTER_WARNINGS
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
FEBRUARY_DAYS, MARCH_HOURS = 28, 36


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path, FixedSources({ETH: ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)}))
    made.grid("eth", started_at="2025-02-25T00:00:00Z")
    return made


def by_month(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dict[str, Any]]:
    """Metadata of an asset's materializations by partition."""
    found = {}
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        if made.asset_key == dg.AssetKey(asset):
            found[made.partition] = {name: value.value for name, value in made.metadata.items()}
    return found


@pytest.mark.parametrize("months", [[("2025-02", "2025-03")], [("2025-02", "2025-02"), ("2025-03", "2025-03")]])
def test_partition_counts_the_rows_of_its_month_alone(
    installation: Installation, instance: dg.DagsterInstance, months: list[tuple[str, str]]
) -> None:
    counts: dict[str, dict[str, int]] = {}
    states: dict[str, dict[str, int]] = {}
    for asked in months:
        result = installation.run(AT, instance, months=asked)
        for asset in ("candles", "regime_metrics", "regime", "grid_analysis", "risk", "exit_states"):
            told = {month: shown for month, shown in by_month(result, asset).items() if month >= "2025-02"}
            counts.setdefault(asset, {}).update({month: shown["dagster/row_count"] for month, shown in told.items()})
        states |= {month: shown["rows_per_state"] for month, shown in by_month(result, "exit_states").items()}

    coarse = {"2025-02": FEBRUARY_DAYS * (24 + 6), "2025-03": MARCH_HOURS + MARCH_HOURS // 4}
    by_grid = {"2025-02": 4 * 96 + 1, "2025-03": MARCH_HOURS * 4}
    assert counts == {
        "candles": {"2025-02": FEBRUARY_DAYS * 96, "2025-03": MARCH_HOURS * 4},
        "regime_metrics": coarse,
        "regime": coarse,
        "grid_analysis": by_grid,
        "risk": by_grid,
        "exit_states": by_grid,
    }
    assert {month: sum(held.values()) for month, held in states.items()} == by_grid
