"""Assets of a study file: ``study_grids``, ``study_states`` and ``signal_outcomes`` under the study's name.

A partition is a month and a policy. They have a pool and a lock of their own: no tick waits for them.
"""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Final, cast

import dagster as dg
import polars as pl

from mm_pipeline.adapters.config.study_files import StudyFile
from mm_pipeline.application.isolation import CONTRACT
from mm_pipeline.application.month_stamp import joined_hash
from mm_pipeline.application.provenance import code_version
from mm_pipeline.application.study_grids.opened import OpenStudies
from mm_pipeline.application.study_grids.run import Partition, StageResult
from mm_pipeline.application.study_grids.study import GRID_STATES, GRIDS
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.contracts.study import SIGNAL_OUTCOMES, STUDY_GRIDS, STUDY_STATES
from mm_pipeline.domain.months import parse_month
from mm_pipeline.domain.study.columns import OUTCOME_COLUMNS, STUDY_GRID_COLUMNS, Columns
from mm_pipeline.orchestration import study_metadata
from mm_pipeline.orchestration.assets.declaration import OWNERS, contract_result, months_from
from mm_pipeline.orchestration.partition_metadata import ROW_COUNT
from mm_pipeline.orchestration.run_locks import hold_run

POOL: Final = "studies"
"""Concurrency pool of studies; ``dagster.yaml`` sets its limit to 1 as it does for all."""
GROUP: Final = "study"
NICE: Final = 19
"""Priority of a study's process: a tick beside it computes as if it were alone."""
STUDY_IO: Final = "study_io"

StudiesResource = dg.ResourceParam[OpenStudies]
ByMarket = Mapping[str, pl.DataFrame]
Stage = Callable[..., Iterator[dg.MaterializeResult[Any]]]
Context = dg.AssetExecutionContext


def assets_of(file: StudyFile) -> list[dg.AssetsDefinition]:
    """The three assets of a study, each made of the one before."""
    name, declared = file.name, _declared(file)

    @declared(STUDY_GRIDS, STUDY_GRID_COLUMNS, [], "Grids of the template, placed anew at each date.")
    def study_grids(context: Context, studies: StudiesResource) -> Iterator[dg.MaterializeResult[Any]]:
        partition = partition_of(context.partition_key)
        result = studies.run(name, partition.month).grids(partition.month)
        shown = study_metadata.of_grids(result.frames, result.notes)
        yield _materialized(context, studies, result, shown)

    @declared(STUDY_STATES, {}, [GRIDS], "Exit states of those grids under the policy, as mm replay gives them.")
    def study_states(
        context: Context, studies: StudiesResource, study_grids: ByMarket
    ) -> Iterator[dg.MaterializeResult[Any]]:
        partition = partition_of(context.partition_key)
        run = studies.run(name, partition.month)
        result = run.states(partition, study_grids)
        shown = study_metadata.of_states(result.frames, study_grids, run.markets, partition)
        yield _materialized(context, studies, result, shown)

    @declared(SIGNAL_OUTCOMES, OUTCOME_COLUMNS, [GRIDS, GRID_STATES], "A row an episode: what came after each signal.")
    def signal_outcomes(
        context: Context, studies: StudiesResource, study_grids: ByMarket, study_states: ByMarket
    ) -> Iterator[dg.MaterializeResult[Any]]:
        partition = partition_of(context.partition_key)
        result = studies.run(name, partition.month).outcomes(partition, study_grids, study_states)
        shown = study_metadata.of_outcomes(result.frames, partition)
        yield _materialized(context, studies, result, shown)

    return [study_grids, study_states, signal_outcomes]


def partition_of(key: str) -> Partition:
    """Month and policy of a partition key, ``2024-03|seed``: dimensions stand in the order of their names."""
    month, _, policy = key.partition("|")
    return Partition(parse_month(month), policy)


def _declared(file: StudyFile) -> Callable[..., Callable[[Stage], dg.AssetsDefinition]]:
    partitions = dg.MultiPartitionsDefinition(
        {
            "month": months_from(file.declaration.first_month),
            "policy": dg.StaticPartitionsDefinition(list(file.policies)),
        }
    )

    def declared(
        contract: Contract, columns: Columns, upstream: Sequence[str], description: str
    ) -> Callable[[Stage], dg.AssetsDefinition]:
        def declare(stage: Stage) -> dg.AssetsDefinition:
            key = dg.AssetKey([file.name, contract.name])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.BetaWarning)  # backfill_policy and code references
                made = dg.asset(
                    key=key,
                    ins={name: dg.AssetIn(key=dg.AssetKey([file.name, name])) for name in upstream},
                    partitions_def=partitions,
                    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
                    pool=POOL,
                    group_name=GROUP,
                    description=f"{description} Study {file.name}; nothing of it is watched or paged.",
                    kinds={"polars"},
                    owners=OWNERS,
                    code_version=code_version(),
                    io_manager_key=STUDY_IO,
                    metadata={"dagster/column_schema": _column_schema(contract, columns)},
                    check_specs=[dg.AssetCheckSpec(CONTRACT, asset=key, blocking=True, description=_CONTRACT_SAYS)],
                )(_in_turn(stage, file.name))
                (linked,) = dg.with_source_code_references([made])
            return cast("dg.AssetsDefinition", linked)

        return declare

    return declared


_CONTRACT_SAYS: Final = "Every market has a frame that keeps its contract."


def _column_schema(contract: Contract, columns: Columns) -> dg.TableSchema:
    """Columns with their words and units, where there are some, and the contract's rules."""
    said = {name: column.description for name, column in columns.items()}
    shown = [dg.TableColumn(name, str(kind), said.get(name)) for name, kind in contract.columns.items()]
    return dg.TableSchema(shown, dg.TableConstraints(other=list(contract.rules)))


def _in_turn(stage: Stage, name: str) -> Stage:
    """The stage, whose run shows that it has a process, and which holds the study's lock until its output is stored."""

    @wraps(stage)
    def run(context: Context, studies: OpenStudies, **frames: ByMarket) -> Iterator[dg.MaterializeResult[Any]]:
        _let_ticks_compute_first()
        hold_run(context.instance, context.run.run_id)
        turns = studies.study(name).turns()
        try:
            with turns.ordinary(f"run {context.run.run_id} of {context.asset_key.to_user_string()}"):
                yield from stage(context, studies, **frames)
        finally:
            turns.end()

    return run


def _let_ticks_compute_first() -> None:
    """Take the processor only where nobody else wants it; nothing where this process is more than the run's own."""
    if multiprocessing.parent_process() is not None:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)


def _materialized(
    context: Context, studies: OpenStudies, result: StageResult, shown: Mapping[str, Any]
) -> dg.MaterializeResult[Any]:
    """What a stage made, with what decided it, and what went wrong with a market."""
    key, partition = context.asset_key, partition_of(context.partition_key)
    made_by = studies.made_by(key.path[0], partition)
    return dg.MaterializeResult(
        value=result.frames,
        metadata={ROW_COUNT: sum(frame.height for frame in result.frames.values()), **shown, **made_by},
        check_results=[contract_result(key, result.problems)],
        data_version=dg.DataVersion(joined_hash([*made_by.values(), partition.policy])),
    )
