"""What every asset has in common: how it is declared, what its run has to do, and that one market stops no other."""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import dagster as dg

from mm_pipeline.application.isolation import CONTRACT
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.watch import Watch
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.instants import from_ms, to_ms
from mm_pipeline.domain.market import Timeframe
from mm_pipeline.orchestration.run_moment import evaluated_ms_of
from mm_pipeline.orchestration.turns import BACKFILL_TAG, LIVE_TAG, in_turn

FIRST_MONTH: Final = "2022-01"
"""First month that can be materialized; look-back bars before it are fetched all the same."""

MONTHS: Final = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, fmt="%Y-%m", timezone="UTC", end_offset=1)

POOL: Final = "frames"
"""Concurrency pool of everything that writes frames; ``dagster.yaml`` sets its limit to 1.

It keeps runs from waiting for each other in processes. That they do not disturb each other is the lock's business
(``adapters/writing``), which commands take too.
"""


def declared(decorator: Callable[..., Any], *, writes: bool = True, **options: Any) -> Any:
    """Declare an asset as all assets here are: by month, a run for each month of a backfill, one writer at a time.

    ``writes`` False leaves the writers' lock to the stage itself. ``backfill_policy`` is still marked as beta. A run
    of one month ends within a minute or two, and a tick that waits for the pool comes before the next.
    """

    def declare(stage: Callable[..., Any]) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            made = decorator(
                partitions_def=MONTHS,
                backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
                pool=POOL,
                **options,
            )
        return made(_guarded(in_turn(stage) if writes else stage))

    return declare


def _guarded(body: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The body of an asset; a storage that fails it is told without that storage, before Dagster hears of it."""

    @functools.wraps(body)
    def run(context: dg.AssetExecutionContext, watch: Watch, **frames: Any) -> Iterator[Any]:
        try:
            yield from body(context, watch, **frames)
        except Exception as error:
            if context.run.tags.get(LIVE_TAG) != "false":
                watch.storage_guard().failed(error)
            raise

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
    window = context.partition_time_window
    tags = context.run.tags
    evaluated_ms = evaluated_ms_of(context.run.run_id, tags, watch.now)
    newest_bar = from_ms(evaluated_ms - Timeframe.M15.ms)
    is_live = tags.get(LIVE_TAG) == "true" and BACKFILL_TAG not in tags and window.start <= newest_bar < window.end
    return watch.plan(start=window.start, end=window.end, evaluated_ms=evaluated_ms, is_live=is_live)


def contract_result(asset: str, problems: Mapping[Any, PipelineError]) -> dg.AssetCheckResult:
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
