"""Settings, code and candles of each month are named, and months that are made by others than today's are found."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.application.frames_status import MonthStatus, frames_status
from mm_pipeline.cli import main
from mm_pipeline.orchestration.jobs import HOURLY_JOB
from mm_pipeline_tests.dagster_samples import (
    DAGSTER_WARNINGS,
    ETH,
    FixedSources,
    Installation,
    check_of,
    ranging_candles,
)

pytestmark = DAGSTER_WARNINGS
AT = datetime(2025, 3, 2, 12, tzinfo=UTC)
BAR = timedelta(minutes=15)
MARKET = "kucoin_ETH-USDT"
SETTINGS = {"grids": "grids", "exchange": "kucoin"}
OTHER_SETTINGS = SETTINGS | {"policy": "seed"}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    sources = FixedSources({ETH: ranging_candles(datetime(2024, 12, 20, tzinfo=UTC), 75)})
    made = Installation(tmp_path, sources, settings=SETTINGS)
    made.grid("eth", started_at="2025-02-25T00:00:00Z")
    return made


def change_settings(installation: Installation) -> None:
    installation.settings_file.write_text(yaml.safe_dump(OTHER_SETTINGS))


def revise(installation: Installation, at: datetime) -> None:
    """Let one stored candle be another."""
    stored = installation.store.read("candles", MARKET, start=at, end=at + BAR)
    installation.store.upsert("candles", MARKET, stored.with_columns(volume=pl.col("volume") + 1.0))


def status(installation: Installation, at: datetime = AT) -> dict[tuple[str, str], MonthStatus]:
    with installation.watch(at) as watch:
        return {(one.month, one.dataset): one for one in frames_status(watch)}


def versions(result: dg.ExecuteInProcessResult, asset: str) -> tuple[dict[str, object], str]:
    (made,) = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset) and event.partition == "2025-02"
    ]
    told = {name: made.metadata[name].value for name in ("settings_hash", "code_version", "candles_hash")}
    return told, (made.tags or {})["dagster/data_version"]


def test_partition_names_settings_code_and_candles(installation: Installation, instance: dg.DagsterInstance) -> None:
    months = ("2025-02", "2025-02")
    first = installation.run(AT, instance, months=months)
    again = installation.run(AT, instance, months=months)
    assert versions(first, "regime") == versions(again, "regime")
    with installation.watch(AT) as watch:
        assert versions(first, "exit_states")[0].items() >= watch.written_by.items()

    revise(installation, datetime(2025, 2, 10, tzinfo=UTC))
    revised = installation.run(AT, instance, months=months, assets=["regime"])
    told, version = versions(revised, "regime")
    assert told["candles_hash"] != versions(first, "regime")[0]["candles_hash"]
    assert version != versions(first, "regime")[1]
    change_settings(installation)
    changed = installation.run(AT, instance, months=months, assets=["regime"])
    assert versions(changed, "regime")[0]["settings_hash"] != told["settings_hash"]


def test_months_are_current_until_settings_or_candles_change(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    for month in ("2025-02", "2025-03"):
        installation.run(AT, instance, months=(month, month))
    assert {one.state for one in status(installation).values()} == {"current"}

    revise(installation, datetime(2025, 2, 10, tzinfo=UTC))
    found = status(installation)
    assert {one.changed for (month, _), one in found.items() if month == "2025-02"} == {("candles",)}
    assert {one.state for (month, _), one in found.items() if month == "2025-03"} == {"current"}, "it goes on"
    installation.run(AT, instance, months=("2025-02", "2025-02"))
    assert {one.state for one in status(installation).values()} == {"current"}

    change_settings(installation)
    assert {(one.state, one.changed) for one in status(installation).values()} == {("stale", ("settings",))}


@pytest.mark.parametrize(("dataset", "key"), [("deliveries", "watch"), ("notifications", "eth"), ("risk", "eth")])
def test_month_of_which_a_file_is_lost_is_named_until_it_is_made_again(
    installation: Installation, instance: dg.DagsterInstance, dataset: str, key: str
) -> None:
    months = ("2025-02", "2025-02")
    installation.run(AT, instance, months=months)
    assert {one.state for one in status(installation).values()} == {"current"}
    (frames_dir(installation.home) / dataset / key / "2025-02.parquet").unlink()
    other = [one for one in status(installation).values() if one.state != "current"]
    assert other == [MonthStatus(dataset, "2025-02", 1, "stale", ("files",))]
    installation.run(AT, instance, months=months)
    assert {one.state for one in status(installation).values()} == {"current"}


def test_rows_that_a_tick_keeps_of_other_settings_make_the_month_mixed(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    installation.tick(AT, instance)
    change_settings(installation)
    for number in (1, 2):
        installation.tick(AT + number * BAR, instance)
        found = status(installation, AT + 3 * BAR)
        assert {dataset for (_, dataset), one in found.items() if one.state == "mixed"} == {"positions", "risk"}
    installation.run(AT + 3 * BAR, instance, months=("2025-03", "2025-03"))
    assert {one.state for one in status(installation, AT + 3 * BAR).values()} == {"current"}


def test_files_of_two_settings_make_the_month_mixed(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.grid("other", started_at="2025-02-25T00:00:00Z")
    installation.run(AT, instance, months=("2025-02", "2025-02"))
    start, end = datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
    rows = installation.store.read("exit_states", "other", start=start, end=end)
    installation.store.write("exit_states", "other", rows, start=start, end=end, metadata={"settings_hash": "older"})
    found = status(installation)["2025-02", "exit_states"]
    assert (found.frames, found.state, found.changed) == (2, "mixed", ("code", "settings"))


@pytest.mark.parametrize("month", ["2025-02", "2025-03"])
def test_parity_says_where_it_compared_nothing(
    installation: Installation, instance: dg.DagsterInstance, month: str
) -> None:
    installation.tick(AT, instance)
    if month == "2025-03":
        change_settings(installation)
    result = installation.run(AT + BAR, instance, job=HOURLY_JOB, month=month)
    check = check_of(result, "exit_states", "replay_parity")
    assert check.metadata["result"].value == "not evaluated"
    assert check.description.startswith("not evaluated")


def test_parity_looks_at_the_months_of_its_run(installation: Installation, instance: dg.DagsterInstance) -> None:
    installation.tick(datetime(2025, 2, 27, 12, tzinfo=UTC), instance)
    later = datetime(2025, 4, 2, tzinfo=UTC)
    results = [installation.run(later, instance, job=HOURLY_JOB, month=month) for month in ("2025-02", "2025-04")]
    told = [check_of(result, "exit_states", "replay_parity").metadata["result"].value for result in results]
    assert told == ["same", "not evaluated"]


def test_command_lists_what_is_not_current(
    installation: Installation, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.run(AT, instance, months=("2025-02", "2025-02"))
    monkeypatch.setenv("MM_HOME", str(installation.home))
    call = ["frames", "status", "--settings", str(installation.settings_file)]
    done = CliRunner().invoke(main, call)
    assert (done.exit_code, done.output) == (0, "9 months of datasets: 9 current, 0 stale or mixed\n")

    change_settings(installation)
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 1
    assert "2025-02  exit_states               1 frames  stale  other settings" in done.output
    assert max(len(line) for line in done.output.splitlines()) <= 80
    told = yaml.safe_load(CliRunner().invoke(main, [*call, "--json"]).output)
    assert (told["months"], told["current"], len(told["other"])) == (9, 0, 9)
    expected = {"dataset": "risk", "month": "2025-02", "frames": 1, "state": "stale", "changed": ["settings"]}
    assert expected in told["other"]
