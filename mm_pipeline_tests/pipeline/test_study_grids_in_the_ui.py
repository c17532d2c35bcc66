"""A study launched from the UI of a real ``mm up``: months and policies, beside the watch and unseen by it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mm_pipeline.adapters.config.home import journal_file
from mm_pipeline.adapters.frames.study_frames import StudyFrames
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.application.study_grids.study import DATASETS, OUTCOMES
from mm_pipeline.application.subjects import PIPELINE
from mm_pipeline_tests.effort import SEARCHED
from mm_pipeline_tests.markets import simulated_candles
from mm_pipeline_tests.study_samples import write_study
from mm_pipeline_tests.ui_client import UiClient
from mm_pipeline_tests.up_process import installation, running, wait_for

LAUNCH = """mutation($asked: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $asked) { __typename ... on LaunchBackfillSuccess { backfillId } }
}"""
STATUS = """query($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}"""
ASSETS = "{ assetNodes { assetKey { path } groupName } }"
PARTITIONS = [f"2024-04|{policy}" for policy in ("calibrated", "seed")]


@SEARCHED
@pytest.mark.slow
def test_month_under_two_policies_is_made_beside_the_watch(tmp_path: Path) -> None:
    home, candles = tmp_path / "home", tmp_path / "binance_ETH-USDT_15m.parquet"
    simulated_candles(seed=7, days=121).write_parquet(candles)
    write_study(home / "studies", candles=[str(candles)])
    (home / "studies" / "broken.yaml").write_text("markets: [\n")
    with running(home, "--settings", str(installation(tmp_path))) as (_, output):
        ui = UiClient(output.until("UI ").split()[1])
        nodes = ui.graphql(ASSETS)["assetNodes"]
        studied = {tuple(node["assetKey"]["path"]) for node in nodes if node["groupName"] == "study"}
        assert studied == {("wide", dataset) for dataset in DATASETS}
        selection = [{"path": list(path)} for path in sorted(studied)]
        launched = ui.graphql(LAUNCH, asked={"assetSelection": selection, "partitionNames": PARTITIONS})
        backfill = launched["launchPartitionBackfill"]["backfillId"]
        output.until("eth-paper")  # a tick came meanwhile
        ended = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
        status = lambda: ui.graphql(STATUS, id=backfill)["partitionBackfillOrError"]["status"]  # noqa: E731
        wait_for(lambda: status() in ended, "the end of the backfill")
        assert status() == "COMPLETED_SUCCESS"

    frames = StudyFrames(str(home / "paper" / "studies" / "wide" / "frames"))
    month = datetime(2024, 4, 1, tzinfo=UTC)
    assert frames.partitions(OUTCOMES) == [(policy, month) for policy in ("calibrated", "seed")]
    assert all(
        frame.height
        for policy, month in frames.partitions(OUTCOMES)
        for frame in frames.read(OUTCOMES, policy, month).values()
    )
    with Journal(sqlite_url(journal_file(home / "paper"))) as journal:
        assert {one.grid for one in journal.evaluations()} == {"eth-paper", "eth-v3"}
        assert journal.notices(PIPELINE) == []
