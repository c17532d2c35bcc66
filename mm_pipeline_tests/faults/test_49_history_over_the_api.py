"""Row 49 on a real ``mm up``: runs over the past, launched as the UI launches them, lose nothing and say what is less.

A home that has history of another policy, of grids that are declared otherwise by now, and of an earlier version. One
start serves every test here: each goes on where the one before has left the home.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mm_pipeline.adapters.config.home import frames_dir
from mm_pipeline.adapters.frames.store import FrameStore
from mm_pipeline.application.frames_status import MonthStatus, frames_status
from mm_pipeline.application.months_due import months_due
from mm_pipeline.application.stored_states import as_made
from mm_pipeline.application.undeclared import undeclared_frames
from mm_pipeline.application.watch import Watch
from mm_pipeline.bootstrap import installation
from mm_pipeline.cli.paper_exchange import simulated_markets
from mm_pipeline.domain.months import month_start, next_month, previous_month
from mm_pipeline.orchestration.jobs import EVALUATION_JOB
from mm_pipeline.orchestration.run_moment import EVALUATED_AT_TAG
from mm_pipeline.orchestration.runs import backfill
from mm_pipeline.orchestration.turns import LIVE_TAG
from mm_pipeline.paper.exchange import PaperExchange
from mm_pipeline.settings import load_deployment
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, quick_run
from mm_pipeline_tests.ui_client import UiClient
from mm_pipeline_tests.up_process import running, wait_for

pytestmark = [*DAGSTER_WARNINGS, pytest.mark.fault, pytest.mark.slow]

GRID = """id: {grid}
exchange: kucoin
symbol: ETH/USDT
enabled: {enabled}
lower: 3000
upper: 3260
levels: 11
spacing: arithmetic
stop_loss: 2900
capital: 1000
fee: 0.001
started_at: {started_at:%Y-%m-%dT%H:%M:%SZ}
"""
SETTINGS = """exchange: paper
paper_url: {url}
grids: grids
policy: {policy}
risk: {{history_days: 14, min_history_days: 7}}
"""
ASSETS = (
    *("candles", "regime_metrics", "regime", "grid_analysis", "positions", "risk", "exit_states", "entry_states"),
    *("notifications", "replayed_notifications", "deliveries"),
)
BAR = timedelta(minutes=15)
EARLY, LATE = 4, 2
"""Days before the end of the month at which grids start."""
LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
RUNS_OF = """query($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 20) {
  ... on Runs { results { runId status tags { key value } } } } }"""
AGAIN = """mutation($params: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
CHECKS = """query($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events {
  ... on AssetCheckEvaluationEvent { evaluation { checkName success assetKey { path }
    metadataEntries { label ... on TextMetadataEntry { text } } } } } } } } }"""
EVERY_S = 1.5
"""Between two looks: a question costs the UI as much as a tenth of a stage."""
DONE = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass
class History:
    """A running ``mm up`` over a home with history."""

    folder: Path
    home: Path
    ui: UiClient
    month: datetime
    old: pl.DataFrame
    status_before: list[MonthStatus]
    undeclared_before: set[str]

    @property
    def store(self) -> FrameStore:
        return FrameStore(str(frames_dir(self.home / "paper")))

    def rows(self, dataset: str, grid: str, month: datetime | None = None) -> pl.DataFrame:
        """Stored rows of a month, as their stage made them; without any where none are stored."""
        start = month or self.month
        if start not in self.store.months(dataset, grid):
            return pl.DataFrame({"evaluated_at": []}, schema={"evaluated_at": pl.Datetime("ms", "UTC")})
        stored = self.store.read(dataset, grid, start=start, end=next_month(start))
        return as_made(self.store, dataset, grid, stored)

    def backfill(self, *assets: str) -> str:
        """What the dialog "Materialize" sends for the month; the id of the one run that came of it."""
        params = {
            "assetSelection": [{"path": [asset]} for asset in assets],
            "partitionNames": [f"{self.month:%Y-%m}"],
            "fromFailure": False,
        }
        made = self.ui.graphql(LAUNCH, params=params)["launchPartitionBackfill"]
        assert made["__typename"] == "LaunchBackfillSuccess", made
        by_id = {"tags": [{"key": "dagster/backfill", "value": made["backfillId"]}]}
        wait_for(lambda: self.statuses(by_id), "the run of the backfill", every_s=EVERY_S)
        (run,) = self.statuses(by_id)
        return self.ended(run)

    def statuses(self, wanted: dict[str, Any]) -> dict[str, str]:
        """Status of each run that is asked for, by its id."""
        found = self.ui.graphql(RUNS_OF, filter=wanted)["runsOrError"]["results"]
        return {run["runId"]: run["status"] for run in found}

    def ended(self, run: str) -> str:
        """The run, once it has ended well."""
        wait_for(lambda: set(self.statuses({"runIds": [run]}).values()) <= DONE, f"an end of {run}", every_s=EVERY_S)
        assert self.statuses({"runIds": [run]}) == {run: "SUCCESS"}
        return run

    def checks(self, run: str) -> dict[tuple[str, str], tuple[bool, dict[str, str]]]:
        """Whether each check of a run passed and what it said, by asset and name."""
        events = self.ui.graphql(CHECKS, id=run)["runOrError"]["eventConnection"]["events"]
        found = [event["evaluation"] for event in events if "evaluation" in event]
        return {
            (one["assetKey"]["path"][0], one["checkName"]): (
                one["success"],
                {entry["label"]: entry.get("text", "") for entry in one["metadataEntries"]},
            )
            for one in found
        }

    def watch(self) -> Watch:
        return Watch(installation())

    def ticks(self) -> dict[str, str]:
        return self.statuses({"pipelineName": EVALUATION_JOB, "tags": [{"key": LIVE_TAG, "value": "true"}]})


def declare(folder: Path, started_at: datetime, *grids: str, enabled: bool = True) -> None:
    for grid in grids:
        text = GRID.format(grid=grid, enabled=str(enabled).lower(), started_at=started_at)
        (folder / "grids" / f"{grid}.yaml").write_text(text)


def older_version(store: FrameStore, month: datetime) -> None:
    """The month's exit states and analysis as a version wrote them that knew fewer columns, and kept ``risk`` there."""
    end = next_month(month)
    for dataset, lacking in (("exit_states", "confidence"), ("grid_analysis", "unearned")):
        stored = store.read(dataset, "stays", start=month, end=end)
        older = as_made(store, dataset, "stays", stored).drop(lacking)
        told = store.metadata(dataset, "stays", month)
        kept = {name: told[name] for name in ("settings_hash", "code_version")}
        store.write(dataset, "stays", older, start=month, end=end, metadata=kept)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Two months under another policy; then grids and policy change, and ``mm up`` starts."""
    folder = tmp_path_factory.mktemp("row49")
    home, now = folder / "home", datetime.now(UTC)
    month = previous_month(now)
    early, late = (next_month(month) - timedelta(days=days) for days in (EARLY, LATE))
    (folder / "grids").mkdir()
    settings = folder / "settings.yaml"
    with (
        pytest.MonkeyPatch.context() as patch,
        PaperExchange(markets=simulated_markets(["kucoin:ETH/USDT"], seed=0, at=now)) as paper,
    ):
        patch.setenv("MM_HOME", str(home))
        patch.setenv("MM_SETTINGS", str(settings))
        settings.write_text(SETTINGS.format(url=paper.url, policy="seed"))
        declare(folder, early, "stays", "removed", "disabled", "restarted")
        with quick_run():
            backfill(load_deployment(settings), [f"{month:%Y-%m}"])
        store = FrameStore(str(frames_dir(home / "paper")))
        older_version(store, month)
        old = store.read("exit_states", "stays", start=month, end=next_month(month))

        settings.write_text(SETTINGS.format(url=paper.url, policy="calibrated"))
        (folder / "grids" / "removed.yaml").unlink()
        declare(folder, early, "disabled", enabled=False)
        declare(folder, late, "restarted")
        watch = Watch(installation())
        status, undeclared = frames_status(watch), {frame.grid for frame in undeclared_frames(watch)}
        watch.close()
        with running(home, "--settings", str(settings)) as (_, output):
            url = output.until("UI ").split()[1]
            made = History(folder, home, UiClient(url), month, old, status, undeclared)
            wait_for(lambda: "SUCCESS" in made.ticks().values(), "the first tick", every_s=EVERY_S)
            yield made


def test_49_months_of_another_policy_and_of_other_grids_are_named(history: History) -> None:
    states = {one.dataset: one for one in history.status_before}
    assert {one.state for one in states.values()} <= {"stale", "mixed"}
    assert all("settings" in one.changed for one in states.values())
    assert {"grids", "settings"} <= set(states["exit_states"].changed)
    assert history.undeclared_before == {"removed", "disabled"}


def test_49_tick_leaves_the_months_before_it_as_they_are(history: History) -> None:
    stored = history.store.read("exit_states", "stays", start=history.month, end=next_month(history.month))
    assert stored.equals(history.old)


def test_49_backfill_from_the_ui_makes_the_month_as_it_is_declared_now(history: History) -> None:
    run = history.backfill(*ASSETS)
    failed = {name: told for name, (passes, told) in history.checks(run).items() if not passes}
    # The check of the last day's hours asks about now: where the clock strikes meanwhile its newest hour is not stored.
    assert set(failed) <= {("exit_states", "replay_parity"), ("candles", "hourly_reconciliation")}, failed

    end = next_month(history.month)
    for grid, days in {"stays": EARLY, "restarted": LATE}.items():
        times = history.rows("exit_states", grid)["evaluated_at"]
        assert times.to_list() == _every_bar(end - timedelta(days=days), end), grid
    assert history.rows("exit_states", "disabled").is_empty()
    assert history.rows("entry_states", "disabled").height == EARLY * 96 + 1
    for dataset in ("exit_states", "positions", "risk", "grid_analysis", "replayed_notifications"):
        assert history.rows(dataset, "removed").is_empty(), dataset
    now = history.rows("exit_states", "stays")
    assert set(now["policy"]) == {"calibrated"}
    assert now["confidence"].null_count() == 0
    assert now["risk"][1:].struct.field("worst_case_quote").null_count() == 0, "at its start a grid holds nothing yet"
    watch = history.watch()
    assert months_due(watch, [history.month]) == {history.month: ()}
    assert undeclared_frames(watch) == []
    watch.close()


def _every_bar(start: datetime, end: datetime) -> Sequence[datetime]:
    return [start + number * BAR for number in range(int((end - start) / BAR) + 1)]


def test_49_month_whose_input_is_missing_keeps_its_rows_and_fails_its_check(history: History) -> None:
    before = history.rows("exit_states", "stays")
    history.store.remove(
        "grid_analysis", "stays", start=history.month, end=next_month(history.month), newest=datetime.now(UTC)
    )
    checks = history.checks(history.backfill("exit_states", "entry_states"))
    passes, told = checks["exit_states", "contract"]
    assert not passes
    assert told["stays"].startswith(f"there is no grid_analysis of stays of {history.month:%Y-%m}.")
    assert history.rows("exit_states", "stays").equals(before)
    watch = history.watch()
    assert "not made" in months_due(watch, [history.month])[history.month]
    watch.close()


def test_49_tick_that_is_executed_again_takes_no_row_from_the_present_month(history: History) -> None:
    """By the button Re-execute, as of two hours before: of what an old tick knew."""
    (first, *_) = [run for run, status in history.ticks().items() if status == "SUCCESS"]
    (found,) = history.ui.graphql(RUNS_OF, filter={"runIds": [first]})["runsOrError"]["results"]
    (newest,) = [datetime.fromisoformat(tag["value"]) for tag in found["tags"] if tag["key"] == EVALUATED_AT_TAG]
    present = month_start(newest - BAR)
    before = {name: history.rows(name, "stays", present) for name in ("exit_states", "positions", "risk")}
    assert before["exit_states"]["evaluated_at"].max() >= newest

    as_of_then = {"key": EVALUATED_AT_TAG, "value": max(newest - timedelta(hours=2), present + BAR).isoformat()}
    params = {"parentRunId": first, "strategy": "ALL_STEPS", "extraTags": [as_of_then]}
    again = history.ui.graphql(AGAIN, params=params)["launchRunReexecution"]
    assert again["__typename"] == "LaunchRunSuccess", again
    history.ended(again["run"]["runId"])
    for name, rows in before.items():
        kept = history.rows(name, "stays", present).join(rows.select("evaluated_at"), on="evaluated_at", how="semi")
        assert kept["evaluated_at"].to_list() == rows["evaluated_at"].to_list(), name
        assert kept.filter(pl.col("evaluated_at") >= newest).equals(rows.filter(pl.col("evaluated_at") >= newest)), name
