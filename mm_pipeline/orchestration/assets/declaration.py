"""What every asset has in common: how it is declared, what its run has to do, and that one market stops no other."""

import functools
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import dagster as dg

from mm_pipeline.application.isolation import CONTRACT
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.provenance import code_version
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.orchestration.partition_metadata import by_partition
from mm_pipeline.orchestration.run_locks import hold_run
from mm_pipeline.orchestration.run_plan import check_has_begun, nothing_to_do, run_plan
from mm_pipeline.orchestration.turns import LIVE_TAG, in_turn


def months_from(first_month: str) -> dg.MonthlyPartitionsDefinition:
    """UTC months from the first that can be materialized; look-back bars before it are fetched all the same."""
    return dg.MonthlyPartitionsDefinition(start_date=first_month, fmt="%Y-%m", timezone="UTC", end_offset=1)


MONTHS: Final = months_from("2022-01")
"""Partitions as assets declare them; the code location puts those from the setting ``first_month`` in their place."""

POOL: Final = "frames"
"""Concurrency pool of everything that writes frames; ``dagster.yaml`` sets its limit to 1.

It keeps runs from waiting for each other in processes. That they do not disturb each other is the lock's business
(``adapters/writing``), which commands take too.
"""


Stage = Callable[..., Iterator[Any]]

NOTHING_TO_DO: Final = "nothing_to_do"
"""Metadata: why a month of the run is empty."""

OWNERS: Final = ["team:watch"]

LIVE_FRESHNESS: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=45))
"""Two ticks may be missed before an asset that a tick writes counts as stale in the UI."""


def monthly_asset(
    *,
    group: str,
    description: str,
    contract: Contract | None = None,
    kinds: Collection[str] = ("polars",),
    deps: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    checks: Sequence[dg.AssetCheckSpec] = (),
    freshness: dg.FreshnessPolicy | None = None,
    writes: bool = True,
) -> Callable[[Stage], dg.AssetsDefinition]:
    """Declare a function as the asset of its name: by month, one writer at a time, with its contract as column schema.

    Parameters
    ----------
    contract
        What each frame promises; None for an asset that keeps no frame.
    checks
        Besides the contract's own.
    writes
        False leaves the writers' lock to the stage itself.
    """

    def declare(stage: Stage) -> dg.AssetsDefinition:
        name = stage.__name__
        return _made(
            dg.asset,
            _guarded(_explained(by_partition(in_turn(stage) if writes else stage))),
            name=name,
            group_name=group,
            description=description,
            kinds=set(kinds),
            deps=list(deps),
            metadata={**(metadata or {}), **_columns(contract)},
            check_specs=[*([contract_spec(name)] if contract else []), *checks],
            freshness_policy=freshness,
            owners=OWNERS,
            code_version=code_version(),
        )

    return declare


def monthly_assets(
    *,
    group: str,
    outs: Mapping[str, tuple[Contract, str]],
    deps: Sequence[str] = (),
    checks: Sequence[dg.AssetCheckSpec] = (),
    freshness: Mapping[str, dg.FreshnessPolicy] | None = None,
) -> Callable[[Stage], dg.AssetsDefinition]:
    """Declare a function as several assets that are made together: contract and description of each by its name.

    Any of them can be asked for alone: the results of the others are left out. Without that Dagster refuses some
    selections of the UI, depending on the hash seed of its process.
    """

    def declare(stage: Stage) -> dg.AssetsDefinition:
        return _made(
            dg.multi_asset,
            _guarded(_explained(by_partition(in_turn(_selected(stage))))),
            name=stage.__name__,
            can_subset=True,
            group_name=group,
            deps=list(deps),
            outs={
                name: dg.AssetOut(
                    kinds={"polars"},
                    description=description,
                    metadata=_columns(contract),
                    freshness_policy=(freshness or {}).get(name),
                    owners=OWNERS,
                    code_version=code_version(),
                    is_required=False,
                )
                for name, (contract, description) in outs.items()
            },
            check_specs=[*(contract_spec(name) for name in outs), *checks],
        )

    return declare


def _selected(stage: Stage) -> Stage:
    """The stage without the results, and the checks, that its run was not asked for."""

    @functools.wraps(stage)
    def run(context: dg.AssetExecutionContext, watch: Watch, **frames: Any) -> Iterator[Any]:
        for result in stage(context, watch, **frames):
            if result.asset_key in context.selected_asset_keys:
                wanted = context.selected_asset_check_keys
                checks = [
                    check
                    for check in result.check_results
                    if dg.AssetCheckKey(result.asset_key, check.check_name) in wanted
                ]
                yield result._replace(check_results=checks)

    return run


def _made(decorator: Callable[..., Any], stage: Stage, **options: Any) -> dg.AssetsDefinition:
    """By month, a run for each month of a backfill, one writer at a time, and a link to the code in the UI.

    A run of one month ends within a minute or two, and a tick that waits for the pool comes before the next.
    ``backfill_policy`` and code references are still marked as beta.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        made = decorator(
            partitions_def=MONTHS,
            backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
            pool=POOL,
            **options,
        )(stage)
        (linked,) = dg.with_source_code_references([made])
    return cast("dg.AssetsDefinition", linked)


def _columns(contract: Contract | None) -> dict[str, Any]:
    """The contract's columns, types and rules, as the UI shows them."""
    if contract is None:
        return {}
    columns = [dg.TableColumn(name, str(kind)) for name, kind in contract.columns.items()]
    rules = dg.TableConstraints(other=list(contract.rules))
    return {"dagster/column_schema": dg.TableSchema(columns, rules)}


def _guarded(body: Stage) -> Stage:
    """The body of an asset, whose run shows that it has a process before an exchange can keep it waiting.

    A storage that fails it is told without that storage, before Dagster hears of it.
    """

    @functools.wraps(body)
    def run(context: dg.AssetExecutionContext, watch: Watch, **frames: Any) -> Iterator[Any]:
        hold_run(context.instance, context.run.run_id)
        try:
            yield from body(context, watch, **frames)
        except Exception as error:
            if context.run.tags.get(LIVE_TAG) != "false":
                watch.storage_guard().failed(error)
            raise

    return run


def _explained(stage: Stage) -> Stage:
    """The stage, whose results say where its months have no market or no grid."""

    @functools.wraps(stage)
    def run(context: dg.AssetExecutionContext, watch: Watch, **frames: Any) -> Iterator[Any]:
        for result in stage(context, watch, **frames):
            reason = nothing_to_do(plan_of(context, watch))
            told = {} if reason is None else {NOTHING_TO_DO: reason}
            yield result._replace(metadata={**(result.metadata or {}), **told})

    return run


def contract_spec(asset: str) -> dg.AssetCheckSpec:
    """The check that shows what came of validating the asset's frames before they were written."""
    return dg.AssetCheckSpec(
        CONTRACT,
        asset=asset,
        blocking=True,
        description="Every frame keeps its contract; one that does not is not written.",
    )


def plan_of(context: dg.AssetExecutionContext, watch: Watch) -> Plan:
    """What this run has to do: the months it was asked for, up to the evaluation that its tag names, else to now."""
    check_has_begun(context.run, context.partition_time_window, watch)
    return run_plan(context.run, context.partition_time_window, watch)


def contract_result(asset: str | dg.AssetKey, problems: Mapping[Any, PipelineError]) -> dg.AssetCheckResult:
    """The asset's contract check.

    It warns: what comes next goes on without the market or grid (which is UNKNOWN), and an error would stop the others.
    """
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=CONTRACT,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={str(key): str(problem) for key, problem in problems.items()},
    )


def newest_ms(plan: Plan) -> int:
    """Close (epoch ms) of the newest bar that the plan could have."""
    return min(to_ms(plan.end), plan.evaluated_ms)
