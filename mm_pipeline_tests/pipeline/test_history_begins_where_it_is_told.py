"""``first_month``: months before it are no partitions, months from it on are."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.orchestration.runs import plan_backfill
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, ranging_candles

pytestmark = DAGSTER_WARNINGS
NOVEMBER, DECEMBER = datetime(2021, 11, 1, tzinfo=UTC), datetime(2021, 12, 1, tzinfo=UTC)


def installation(folder: Path, first_month: str) -> Installation:
    candles = ranging_candles(datetime(2021, 9, 1, tzinfo=UTC), 100)
    made = Installation(folder, FixedSources({ETH: candles}), settings={"first_month": first_month})
    made.grid("eth", started_at="2021-11-20T00:00:00Z")
    return made


def test_month_from_the_first_on_is_made(tmp_path: Path) -> None:
    made = installation(tmp_path, "2021-11")
    with dg.DagsterInstance.ephemeral() as instance:
        result = made.run(DECEMBER, instance, months=("2021-11", "2021-11"))
    assert made.store.read("exit_states", "eth", start=NOVEMBER, end=DECEMBER).height == 11 * 96 + 1
    candles = {event.partition for event in result.get_asset_materialization_events()}
    assert candles == {"2021-11"}, "look-back months before it are no partitions"


def test_range_before_it_is_refused_by_name(tmp_path: Path) -> None:
    made = installation(tmp_path, "2021-12")
    with pytest.raises(ConfigError, match="no month from 2021-12 to now lies in 2021-11-01 to 2021-11-30"):
        plan_backfill(made.deployment, NOVEMBER, datetime(2021, 11, 30, tzinfo=UTC), overrides=made.overrides(DECEMBER))
