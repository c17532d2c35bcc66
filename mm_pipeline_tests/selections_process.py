"""``python -m mm_pipeline_tests.selections_process SEED``: launches selections of assets as the UI's dialog does.

Prints a line for each that is refused, and the statuses of all runs at the end. The order in which Python walks a set
differs from process to process, so one of them proves nothing about another. Code location, UI and daemon are one
process here, so that its hash seed holds for all. Nothing takes the runs out of the queue.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance import InstanceRef, InstanceType
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster_graphql.schema import create_schema

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.domain.months import month_start, previous_month
from mm_pipeline_tests.effort import IS_SEARCH
from mm_pipeline_tests.quick_dagster import compile_once

JOB = {"repositoryLocationName": "mm_pipeline", "repositoryName": "__repository__", "pipelineName": "__ASSET_JOB"}
ERRORS = "__typename ... on PythonError { message }"
NODES = """query LaunchAssetLoaderQuery { assetNodes {
  groupName opNames assetKey { path } dependencyKeys { path }
  assetChecksOrError { ... on AssetChecks { checks { name jobNames } } } } }"""
REQUIRED = """query LaunchAssetLoaderQuery($assetKeys: [AssetKeyInput!]!) {
  assetNodeAdditionalRequiredKeys(assetKeys: $assetKeys) { path } }"""
PARTITION = f"""query ConfigPartitionForAssetJobQuery(
    $job: PipelineSelector!, $month: String!, $keys: [AssetKeyInput!]!) {{
  pipelineOrError(params: $job) {{ {ERRORS} ... on Pipeline {{
    partition(partitionName: $month, selectedAssetKeys: $keys) {{
      tagsOrError {{ ... on PartitionTags {{ results {{ key value }} }} }} }} }} }} }}"""
RUN = f"""mutation LaunchPipelineExecution($params: ExecutionParams!) {{
  launchPipelineExecution(executionParams: $params) {{ {ERRORS} ... on InvalidSubsetError {{ message }} }} }}"""
BACKFILL = f"""mutation LaunchPartitionBackfill($params: LaunchBackfillParams!) {{
  launchPartitionBackfill(backfillParams: $params) {{ {ERRORS} }} }}"""
"""The dialog's own questions, without fields that only its page shows."""
SUCCESS = {"LaunchRunSuccess", "LaunchBackfillSuccess", "Pipeline"}

Node = dict[str, Any]


class Refused(Exception):
    """What the UI would show instead of a run."""


class Dialog:
    """The dialog "Materialize" over a webserver's context."""

    def __init__(self, context: WorkspaceProcessContext) -> None:
        self._schema, self._context = create_schema(), context
        newest = month_start(SystemClock().now() - timedelta(days=1))
        self._months = [f"{month:%Y-%m}" for month in (previous_month(newest), newest)]

    def assets(self) -> list[Node]:
        """All assets, as the graph shows them."""
        return list(self._ask(NODES)["assetNodes"])

    def one_run(self, nodes: list[Node]) -> None:
        """Launch one run of two months."""
        keys = _keys(nodes)
        partition = self._ask(PARTITION, job=JOB, month=self._months[0], keys=keys)["pipelineOrError"]["partition"]
        tags = [tag for tag in partition["tagsOrError"]["results"] if not tag["key"].startswith("dagster/partition")]
        for end, month in zip(("start", "end"), self._months, strict=True):
            tags.append({"key": f"dagster/asset_partition_range_{end}", "value": month})
        params = {
            "mode": "default",
            "executionMetadata": {"tags": tags},
            "runConfigData": "{}",
            "selector": {**JOB, "assetSelection": keys, "assetCheckSelection": _checks(nodes)},
        }
        self._ask(RUN, params=params)

    def backfill(self, nodes: list[Node]) -> None:
        """Launch a backfill of two months."""
        self._ask(REQUIRED, assetKeys=_keys(nodes))
        params = {"tags": [], "assetSelection": _keys(nodes), "partitionNames": self._months, "fromFailure": False}
        self._ask(BACKFILL, params=params)

    def _ask(self, query: str, **variables: Any) -> Any:
        context = self._context.create_request_context()
        answer = asyncio.run(self._schema.execute_async(query, context_value=context, variable_values=variables))
        if answer.errors:
            raise Refused("; ".join(error.message for error in answer.errors))
        for part in answer.data.values():
            if isinstance(part, dict) and part["__typename"] not in SUCCESS:
                raise Refused(f"{part['__typename']} {part.get('message', '')}")
        return answer.data


def _keys(nodes: list[Node]) -> list[dict[str, Any]]:
    return [{"path": node["assetKey"]["path"]} for node in nodes]


def _checks(nodes: list[Node]) -> list[dict[str, Any]]:
    """The checks of the assets, all of which the dialog asks for."""
    return [
        {"assetKey": {"path": node["assetKey"]["path"]}, "name": check["name"]}
        for node in nodes
        for check in node["assetChecksOrError"]["checks"]
        if JOB["pipelineName"] in check["jobNames"]
    ]


def _name(node: Node) -> str:
    return "/".join(node["assetKey"]["path"])


def singles_and_neighbours(nodes: list[Node]) -> Iterator[list[Node]]:
    """Each asset, and each pair of which one is made of the other, or that one step makes."""
    by_name = {_name(node): node for node in nodes}
    yield from ([node] for node in nodes)
    for node in nodes:
        yield from ([by_name["/".join(key["path"])], node] for key in node["dependencyKeys"])
        yield from ([node, other] for other in nodes if _is_before_in_step(node, other))


def _is_before_in_step(node: Node, other: Node) -> bool:
    return bool(node["opNames"] == other["opNames"] and _name(node) < _name(other))


def groups_and_all(nodes: list[Node]) -> Iterator[list[Node]]:
    """The assets of each group, and all."""
    for group in sorted({node["groupName"] for node in nodes}):
        yield [node for node in nodes if node["groupName"] == group]
    yield nodes


def refusals(context: WorkspaceProcessContext, seed: int) -> Iterator[str]:
    """A line for each launch that is refused, by the UI or by the daemon that makes the runs of a backfill.

    Two seeds in a row share the single assets and pairs: what one launches as a run is a backfill of the other. The
    daemon makes runs of the groups alone. A search does all of it under each seed.
    """
    dialog = Dialog(context)
    assets, ways = dialog.assets(), (dialog.one_run, dialog.backfill)
    for nodes in groups_and_all(assets):
        yield from _refused(ways, nodes)
    yield from _daemon_refusals(context)
    for number, nodes in enumerate(singles_and_neighbours(assets)):
        yield from _refused(ways if IS_SEARCH else (ways[(number + seed) % 2],), nodes)
    if IS_SEARCH:
        yield from _daemon_refusals(context)


def _refused(ways: Iterable[Callable[[list[Node]], None]], nodes: list[Node]) -> Iterator[str]:
    for launch in ways:
        try:
            launch(nodes)
        except Refused as error:
            yield f"{launch.__name__} of {', '.join(map(_name, nodes))}: {error}"


def _daemon_refusals(context: WorkspaceProcessContext) -> Iterator[str]:
    list(execute_backfill_iteration(context, logging.getLogger("backfills")))
    for backfill in context.instance.get_backfills():
        if backfill.status != BulkActionStatus.REQUESTED or backfill.error:
            yield f"runs of a backfill of {backfill.asset_selection}: {backfill.status} {backfill.error}"


def _queueing_instance(folder: str) -> dg.DagsterInstance:
    """An instance whose coordinator puts runs in the queue; in memory, since files would cost most of the time."""
    return dg.DagsterInstance(
        InstanceType.PERSISTENT,  # a webserver refuses the ephemeral kind
        ref=InstanceRef.from_dir(folder),
        local_artifact_storage=LocalArtifactStorage(folder),
        run_storage=InMemoryRunStorage(),
        event_storage=InMemoryEventLogStorage(),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=QueuedRunCoordinator(),
        run_launcher=DefaultRunLauncher(),
    )


def main(seed: int) -> None:
    """Print what is refused in a fresh home, and in what statuses the runs are."""
    compile_once()
    gc.disable()
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name="mm_pipeline.definitions")
    origin = InProcessCodeLocationOrigin(target, location_name=JOB["repositoryLocationName"])
    workspace = InProcessWorkspaceLoadTarget([origin])
    with (
        tempfile.TemporaryDirectory() as folder,
        _queueing_instance(folder) as instance,
        WorkspaceProcessContext(instance, workspace, dg.__version__) as context,
    ):
        for refusal in refusals(context, seed):
            print(refusal)
        print(*sorted({run.status.value for run in instance.get_runs()}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
