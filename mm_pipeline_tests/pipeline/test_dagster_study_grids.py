"""Studies in Dagster: declared by file, a partition a month and policy, beside the watch and never in its way."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from mm_pipeline.application.study_grids.opened import OpenStudies
from mm_pipeline.application.study_grids.run import run_study
from mm_pipeline.application.study_grids.study import DATASETS, OUTCOMES
from mm_pipeline.application.subjects import PIPELINE
from mm_pipeline.bootstrap import installation as opened
from mm_pipeline.cli.up.command import write_example_study
from mm_pipeline.contracts.study import SIGNAL_OUTCOMES
from mm_pipeline.orchestration.assets import declaration
from mm_pipeline.orchestration.assets.study_grids import GROUP, POOL
from mm_pipeline.orchestration.code_location import ASSETS, build_definitions
from mm_pipeline.orchestration.jobs import RANGE_END_TAG, RANGE_START_TAG
from mm_pipeline.orchestration.partition_metadata import ROW_COUNT
from mm_pipeline.orchestration.resources import watch_resource
from mm_pipeline.orchestration.runs import dagster_instance
from mm_pipeline.orchestration.sensors import watch_is_blind
from mm_pipeline.orchestration.studies import is_study
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, QUIET, FixedSources, Installation
from mm_pipeline_tests.markets import simulated_candles
from mm_pipeline_tests.study_samples import write_study

pytestmark = DAGSTER_WARNINGS
ETH = "binance_ETH-USDT_15m.parquet"
NOW = datetime(2024, 4, 28, 12, tzinfo=UTC)
MARCH = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def made(tmp_path: Path) -> Installation:
    """An installation with the study ``wide`` of a simulated market under both policies."""
    simulated_candles(seed=7, days=121).write_parquet(tmp_path / ETH)
    made = Installation(tmp_path, FixedSources({}))
    narrow = {"half_width": {"pct": 3.0}, "stop_distance": {"pct": 2.0}}
    write_study(made.home / "studies", candles=[str(tmp_path / ETH)], template=narrow)
    return made


def definitions(made: Installation) -> dg.Definitions:
    return build_definitions(made.overrides(NOW))


def materialized(
    made: Installation, instance: dg.DagsterInstance, *assets: str, month: str = "2024-03", policy: str = "seed"
) -> dg.ExecuteInProcessResult:
    job = definitions(made).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        partition_key=dg.MultiPartitionKey({"month": month, "policy": policy}),
        asset_selection=[dg.AssetKey(["wide", asset]) for asset in assets],
        run_config=QUIET,
        raise_on_error=False,
    )


def backfilled(made: Installation, instance: dg.DagsterInstance, partition: str) -> dg.ExecuteInProcessResult:
    """The run that a backfill of the UI asks for: one partition, named as a range."""
    return (
        definitions(made)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(["wide", dataset]) for dataset in DATASETS],
            tags={RANGE_START_TAG: partition, RANGE_END_TAG: partition},
            run_config=QUIET,
            raise_on_error=False,
        )
    )


def shown(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = [
        event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(["wide", asset])
    ]
    metadata = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in metadata.items()}


def test_study_file_is_three_assets_by_month_and_policy(made: Installation) -> None:
    graph = definitions(made).resolve_asset_graph()
    studied = [graph.get(dg.AssetKey(["wide", dataset])) for dataset in DATASETS]
    grids, states, outcomes = studied
    assert grids.parent_keys == set()
    assert states.parent_keys == {grids.key}
    assert outcomes.parent_keys == {grids.key, states.key}
    for node in studied:
        assert node.description
        assert node.group_name == GROUP
        assert node.pools == {POOL} != {declaration.POOL}
        assert node.owners == declaration.OWNERS
        assert node.backfill_policy == dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
        assert isinstance(node.partitions_def, dg.MultiPartitionsDefinition)
        assert node.partitions_def.get_partitions_def_for_dimension("policy").get_partition_keys() == [
            "seed",
            "calibrated",
        ]
        assert graph.get_check_spec(dg.AssetCheckKey(node.key, "contract")).blocking
    schema = outcomes.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == list(SIGNAL_OUTCOMES.columns)
    assert all(column.description for column in schema.columns)


def test_no_job_of_the_watch_has_an_asset_of_a_study(made: Installation) -> None:
    given = definitions(made)
    for name in ("exit_evaluation", "hourly_metrics", "history"):
        job = given.resolve_job_def(name)
        assert not [key for key in job.asset_layer.executable_asset_keys if is_study(key)]


@pytest.mark.parametrize("policy", ["seed", "calibrated"])
def test_partition_holds_what_the_command_makes(made: Installation, policy: str, tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(made, instance, *DATASETS, policy=policy)
    assert result.success
    assert {path.name for path in made.home.iterdir()} == {"studies"}  # no journal, no frames of the watch
    assert all(check.passed for check in result.get_asset_check_evaluations())
    assert len(result.get_asset_check_evaluations()) == 3

    study = OpenStudies(opened(made.overrides(NOW))).study("wide")
    stored = {dataset: study.frames.read(dataset, policy, MARCH) for dataset in DATASETS}
    by_command = Installation(tmp_path / "again", FixedSources({}))
    write_study(by_command.home / "studies", **_same(study.declaration))
    other = OpenStudies(opened(by_command.overrides(NOW))).study("wide")
    assert run_study(other, [MARCH], lambda _: None).problems == {}
    for dataset in DATASETS:
        for market, frame in other.frames.read(dataset, policy, MARCH).items():
            assert frame.equals(stored[dataset][market])

    told = shown(result, OUTCOMES)
    assert told[ROW_COUNT] == told["episodes"] == sum(frame.height for frame in stored[OUTCOMES].values())
    assert told["pages"] == sum(frame["pages"].sum() for frame in stored[OUTCOMES].values())
    assert "| MANDATORY_EXIT |" in told["scorecard"]
    assert told["outcomes binance_ETH-USDT"].startswith("![binance_ETH-USDT](data:image/png;base64,")
    assert {"study_hash", "settings_hash", "code_version", "candles_hash"} <= set(told)
    assert shown(result, "study_states")["states binance_ETH-USDT"].startswith("![")
    assert shown(result, "study_grids")["grids"] == 1


def _same(declaration: Any) -> dict[str, Any]:
    values = declaration.model_dump(mode="json")
    template = values.pop("template")
    for distance in ("half_width", "stop_distance"):
        template[distance] = {name: value for name, value in template[distance].items() if value is not None}
    return values | {"template": template}


def test_backfill_names_its_partition_as_a_range(made: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert backfilled(made, instance, "2024-03|calibrated").success
        materialized_keys = instance.get_materialized_partitions(dg.AssetKey(["wide", OUTCOMES]))
    assert materialized_keys == {"2024-03|calibrated"}
    study = OpenStudies(opened(made.overrides(NOW))).study("wide")
    for dataset in DATASETS:
        assert study.frames.partitions(dataset) == [("calibrated", MARCH)]


def test_month_without_a_grid_says_why(made: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(made, instance, *DATASETS, month="2024-01")
    assert result.success
    told = shown(result, "study_grids")
    assert (told["grids"], told[ROW_COUNT]) == (0, 0)
    assert "eth-2024-01: fewer candles than the warm-up" in told["not placed"]
    assert shown(result, OUTCOMES)["episodes"] == 0


def test_stage_whose_input_was_never_made_says_so(made: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(made, instance, "study_states")
    assert not result.success
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "there is no study_grids of 2024-03 under the policy seed" in str(failed.step_failure_data.error)


def test_market_that_fails_is_told_by_the_contract_check(made: Installation) -> None:
    (made.folder / ETH).write_bytes(b"no parquet")
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialized(made, instance, "study_grids")
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert "binance_ETH-USDT" in check.metadata


def test_broken_study_file_keeps_nothing_from_loading(made: Installation, caplog: pytest.LogCaptureFixture) -> None:
    (made.home / "studies" / "broken.yaml").write_text("markets: [\n")
    (made.home / "studies" / "odd.yaml").write_bytes(b"\xff\xfe\x00")
    with caplog.at_level(logging.WARNING):
        keys = definitions(made).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys if is_study(key)} == {"wide"}
    assert len([key for key in keys if not is_study(key)]) == sum(len(asset.keys) for asset in ASSETS)
    assert "broken.yaml: is not YAML at line" in caplog.text
    assert "odd.yaml" in caplog.text


def test_study_whose_first_month_has_not_begun_keeps_nothing_from_loading(made: Installation) -> None:
    write_study(made.home / "studies", "ahead", first_month="2099-12")
    keys = definitions(made).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys if is_study(key)} == {"wide", "ahead"}


def test_study_that_breaks_the_program_keeps_nothing_from_loading(
    made: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_installation: object) -> None:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr("mm_pipeline.application.study_grids.opened.study_folder", breaks)
    keys = definitions(made).resolve_asset_graph().get_all_asset_keys()
    assert len(keys) == sum(len(asset.keys) for asset in ASSETS)


def test_folder_of_studies_that_cannot_be_looked_at_keeps_nothing_from_loading(tmp_path: Path) -> None:
    made = Installation(tmp_path, FixedSources({}))
    made.home.mkdir()
    (made.home / "studies").symlink_to("n" * 300)
    keys = definitions(made).resolve_asset_graph().get_all_asset_keys()
    assert len(keys) == sum(len(asset.keys) for asset in ASSETS)
    write_example_study(made.home)  # a watch on simulated markets starts all the same


def test_outcomes_are_made_of_no_grids_of_another_declaration(made: Installation) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialized(made, instance, *DATASETS).success
        assert materialized(made, instance, OUTCOMES).success
        write_study(made.home / "studies", candles=[str(made.folder / ETH)], template={"half_width": {"pct": 4.0}})
        result = materialized(made, instance, OUTCOMES)
    assert not result.success
    failed = [str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure]
    assert any("has another study_hash than the study has today" in text for text in failed), failed


@pytest.mark.parametrize("stage", ["study_states", OUTCOMES])
def test_stage_is_made_of_no_grids_of_other_candles(made: Installation, stage: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialized(made, instance, *DATASETS).success
        revised = pl.col("volume") + pl.when(pl.col("open_time") == MARCH).then(1.0).otherwise(0.0)
        candles = pl.read_parquet(made.folder / ETH).with_columns(revised)
        candles.write_parquet(made.folder / ETH)
        result = materialized(made, instance, stage)
        again = materialized(made, instance, *DATASETS)
    assert not result.success
    failed = [str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure]
    told = "study_grids of binance_ETH-USDT 2024-03 seed was made of other candles than there are today. "
    told += "Launch study_grids, study_states and signal_outcomes of that month again, together."
    assert any(told in text for text in failed), failed
    assert again.success


def test_failed_run_of_a_study_is_no_incident_of_the_watch(made: Installation) -> None:
    with dagster_instance(made.home) as instance:
        result = materialized(made, instance, "study_states")
        (event,) = [event for event in result.all_events if event.is_run_failure]
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        with dg.build_run_status_sensor_context(
            sensor_name="watch_is_blind",
            dagster_event=event,
            dagster_instance=instance,
            dagster_run=run,
            resources={"watch": watch_resource(lambda: opened(made.overrides(NOW)))},
        ).for_run_failure() as context:
            watch_is_blind(context)
    with made.journal() as journal:
        assert journal.notices(PIPELINE) == []
