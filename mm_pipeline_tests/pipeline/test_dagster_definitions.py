"""What Dagster is told: the lineage, a contract on every asset, one writer at a time, and plain settings."""

from datetime import UTC, datetime
from itertools import pairwise, product
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

import mm_pipeline.definitions
from mm_pipeline.adapters.dagster_folder import INSTANCE_SETTINGS
from mm_pipeline.application.provenance import code_version
from mm_pipeline.bootstrap import Overrides
from mm_pipeline.orchestration.assets import declaration as stage
from mm_pipeline.orchestration.code_location import build_definitions
from mm_pipeline.orchestration.jobs import EVALUATION_JOB, HISTORY_JOB, HOURLY_JOB, HOUSEKEEPING_JOB
from mm_pipeline.orchestration.runs import dagster_instance
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, FixedSources, Installation

pytestmark = DAGSTER_WARNINGS
CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = {
    "candles",
    "regime_metrics",
    "regime",
    "grid_analysis",
    "positions",
    "risk",
    "exit_states",
    "entry_states",
    "notifications",
    "replayed_notifications",
    "deliveries",
    "kpis",
}


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    installation = Installation(tmp_path, FixedSources({}))
    return build_definitions(Overrides(deployment=installation.deployment, home=installation.home))


def graph(definitions: dg.Definitions) -> AssetGraph:
    return definitions.resolve_asset_graph()


def test_assets_are_those_of_the_flow_and_depend_as_drawn(definitions: dg.Definitions) -> None:
    assets = graph(definitions)
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in assets.get(key).parent_keys}
        for key in assets.get_all_asset_keys()
    }
    assert parents == {
        "candles": set(),
        "regime_metrics": {"candles"},
        "regime": {"regime_metrics"},
        "grid_analysis": {"candles", "regime_metrics", "regime"},
        "positions": {"candles"},
        "risk": {"candles"},
        "exit_states": {"candles", "regime_metrics", "regime", "grid_analysis", "positions", "risk"},
        "entry_states": {"candles", "regime_metrics", "regime", "grid_analysis", "positions", "risk"},
        "notifications": {"exit_states", "entry_states"},
        "replayed_notifications": {"candles", "positions", "exit_states", "entry_states"},
        "deliveries": {"notifications"},
        "kpis": {"notifications", "deliveries"},
        "archive": {"exit_states", "entry_states", "regime_metrics", "regime", "deliveries"},
    }


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_lineage_is_drawn_as_it_is(definitions: dg.Definitions, page: str) -> None:
    assets = graph(definitions)
    real = {
        (parent.to_user_string(), key.to_user_string())
        for key in assets.get_all_asset_keys()
        for parent in assets.get(key).parent_keys
    }
    drawing = (CHECKOUT / page).read_text(encoding="utf-8").split("```mermaid\n")[1].split("```")[0]
    arrows = [[side.split(" & ") for side in line.strip().split(" --> ")] for line in drawing.splitlines()]
    drawn = {edge for sides in arrows for left, right in pairwise(sides) for edge in product(left, right)}

    assert drawn == real


def test_every_asset_has_a_blocking_contract_check(definitions: dg.Definitions) -> None:
    assets = graph(definitions)
    blocking = {
        key.asset_key.to_user_string()
        for key in assets.asset_check_keys
        if key.name == stage.CONTRACT and assets.get_check_spec(key).blocking
    }
    assert blocking == NAMES


def test_every_asset_is_grouped_described_monthly_pooled_and_backfilled_by_month(
    definitions: dg.Definitions,
) -> None:
    assets = graph(definitions)
    for key in assets.get_all_asset_keys():
        node = assets.get(key)
        assert node.description
        assert node.group_name in {"market", "grids", "advice", "operator"}
        assert node.partitions_def == stage.MONTHS
        assert node.backfill_policy == dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
        assert node.pools == {stage.POOL}
        assert node.code_version == code_version(), "the UI calls what older code made outdated"


def test_every_check_is_described(definitions: dg.Definitions) -> None:
    assets = graph(definitions)
    assert {key.name for key in assets.asset_check_keys} == {
        "contract",
        "candles_fresh",
        "account_agrees",
        "pushed",
        "replay_parity",
        "frames_declared",
        "hourly_reconciliation",
        "hours_agree",
    }
    assert all(assets.get_check_spec(key).description for key in assets.asset_check_keys)


def test_months_run_from_the_first_to_the_present_one() -> None:
    keys = stage.MONTHS.get_partition_keys(current_time=datetime(2025, 3, 1, 0, 1, tzinfo=UTC))
    assert (keys[0], keys[-2:]) == ("2022-01", ["2025-02", "2025-03"])


def test_first_month_is_a_setting(tmp_path: Path) -> None:
    installation = Installation(tmp_path, FixedSources({}), settings={"first_month": "2019-05"})
    assets = graph(build_definitions(Overrides(deployment=installation.deployment, home=installation.home)))
    for key in assets.get_all_asset_keys():
        months = assets.get(key).partitions_def
        assert months is not None
        assert months.get_first_partition_key() == "2019-05"


@pytest.mark.parametrize("now", [datetime(2025, 3, 31, 23, 59, tzinfo=UTC), datetime(2025, 4, 1, 0, 1, tzinfo=UTC)])
def test_first_month_that_has_not_begun_stops_no_watch(tmp_path: Path, now: datetime) -> None:
    """Mistyped, or seen by a clock that is years behind: the month of the newest bar can be evaluated."""
    made = Installation(tmp_path, FixedSources({}), settings={"first_month": "2034-12"})
    months = graph(build_definitions(made.overrides(now))).get(dg.AssetKey("candles")).partitions_def
    assert months is not None
    assert months.get_first_partition_key() == "2025-03"


def test_jobs_hold_the_whole_flow_and_the_markets_part(definitions: dg.Definitions) -> None:
    evaluation = definitions.resolve_job_def(EVALUATION_JOB)
    hourly = definitions.resolve_job_def(HOURLY_JOB)
    assert {node.name for node in evaluation.nodes} == {
        "candles",
        "regime_metrics",
        "regime",
        "grid_analysis",
        "positions_and_risk",
        "exit_and_entry_states",
        "notifications",
        "deliveries",
        "archive",
    }
    history = definitions.resolve_job_def(HISTORY_JOB)
    assert {node.name for node in history.nodes} == {
        *(node.name for node in evaluation.nodes),
        "replayed_notifications",
        "candles_hours_agree",
    }
    assert {node.name for node in hourly.nodes} == {
        "candles",
        "regime_metrics",
        "regime",
        "kpis",
        "candles_hourly_reconciliation",
        "exit_states_replay_parity",
        "exit_states_frames_declared",
    }


def test_schedules_and_sensors_run_by_default_in_utc(definitions: dg.Definitions) -> None:
    schedules = {schedule.name: schedule for schedule in definitions.schedules or ()}
    assert schedules[EVALUATION_JOB].cron_schedule == "1,16,31,46 * * * *"
    assert schedules[HOURLY_JOB].cron_schedule == "5 * * * *"
    assert schedules[HOUSEKEEPING_JOB].cron_schedule == "24 3 * * *"
    assert {schedule.execution_timezone for schedule in schedules.values()} == {"UTC"}
    assert {schedule.default_status for schedule in schedules.values()} == {dg.DefaultScheduleStatus.RUNNING}
    sensors = {sensor.name: sensor.default_status for sensor in definitions.sensors or ()}
    assert sensors == dict.fromkeys(
        ("grid_files", "watch_is_blind", "due_deliveries", "receipts", "run_queue", "dead_runs"),
        dg.DefaultSensorStatus.RUNNING,
    )


def test_workspace_loads_the_composition_root_lazily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installation = Installation(tmp_path, FixedSources({}))
    monkeypatch.setenv("MM_HOME", str(installation.home))
    monkeypatch.setenv("MM_SETTINGS", str(installation.settings_file))
    target = yaml.safe_load((CHECKOUT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert target["module_name"] == mm_pipeline.definitions.__name__
    assert {key.to_user_string() for key in graph(mm_pipeline.definitions.defs()).get_all_asset_keys()} >= NAMES


def test_checkout_and_home_have_the_same_dagster_settings_but_for_folders() -> None:
    checkout = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text())
    folders = [checkout.pop(name) for name in ("storage", "local_artifact_storage", "compute_logs")]
    assert checkout == yaml.safe_load(INSTANCE_SETTINGS.read_text())
    assert all(".mm/dagster" in str(folder) for folder in folders)


def test_instance_of_a_home_keeps_everything_in_it_and_calls_nobody(tmp_path: Path) -> None:
    with dagster_instance(tmp_path / "home") as instance:
        assert Path(instance.root_directory) == tmp_path / "home" / "dagster"
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        limits = instance.get_concurrency_config().pool_config
        assert (limits.default_pool_limit, limits.pool_granularity.value) == (1, "run")
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
