"""What every asset has in common: how it is declared, what its run has to do, and that one market stops no other."""

import functools
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import dagster as dg

from mm_pipeline.adapters.clock import from_ms, to_ms
from mm_pipeline.adapters.journal import MarketNotice
from mm_pipeline.assets.turns import BACKFILL_TAG, LIVE_TAG, in_turn
from mm_pipeline.domain.errors import ContractError, PipelineError
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.resources import Plan, Watch
from mm_pipeline.resources.run_locks import hold_run
from mm_pipeline.resources.run_moment import evaluated_ms_of

FIRST_MONTH: Final = "2022-01"
"""First month that can be materialized; look-back bars before it are fetched all the same."""

MONTHS: Final = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, fmt="%Y-%m", timezone="UTC", end_offset=1)

POOL: Final = "frames"
"""Concurrency pool of everything that writes frames; ``dagster.yaml`` sets its limit to 1.

It keeps runs from waiting for each other in processes. That they do not disturb each other is the lock's business
(``adapters/writing``), which commands take too.
"""

CONTRACT: Final = "contract"

COMPUTATION = "computation"
"""Code of a problem that is a fault of the program."""

T = TypeVar("T")
K = TypeVar("K")


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


@dataclass
class Outcome(Generic[K, T]):
    """What a stage made of each market or grid, and of which it made nothing, with the reason."""

    made: dict[K, T] = field(default_factory=dict)
    problems: dict[K, PipelineError] = field(default_factory=dict)


def each(keys: Iterable[K], work: Callable[[K], T], context: dg.AssetExecutionContext) -> Outcome[K, T]:
    """Do the work for each key; whatever goes wrong with one is told, and stops no other."""
    outcome: Outcome[K, T] = Outcome()
    for key in keys:
        try:
            outcome.made[key] = work(key)
        except PipelineError as error:
            outcome.problems[key] = error
        except Exception as error:
            context.log.exception(f"{key}: {error}")
            told = f"{type(error).__name__} while computing {key}: {error}"
            outcome.problems[key] = PipelineError(told, "This is a fault of the program; the run's log has its trace.")
    for key, problem in outcome.problems.items():
        context.log.warning(f"{key}: {problem}")
    return outcome


def code_of(problem: PipelineError) -> str:
    """The stable name of a problem's cause."""
    if isinstance(problem, ContractError):
        return CONTRACT
    return str(getattr(problem, "code", COMPUTATION))


def note(watch: Watch, plan: Plan, problems: Mapping[str, PipelineError]) -> None:
    """Journal what was wrong with markets (or grids) at a live evaluation, by subject; other runs leave no trace."""
    if plan.is_live:
        watch.decisions().record_notices(
            MarketNotice(market=subject, tick_at=plan.evaluated_at, code=code_of(problem), message=str(problem))
            for subject, problem in problems.items()
        )


def end_notes(watch: Watch, plan: Plan, subjects: Collection[str]) -> None:
    """Take back what an earlier run of the same live evaluation noted of markets (or grids) that are well now.

    What is wrong with them at a later stage, that stage notes again.
    """
    if plan.is_live and subjects:
        watch.decisions().end_notices(subjects, tick_at=plan.evaluated_at)


def by_name(problems: Mapping[Market, PipelineError]) -> dict[str, PipelineError]:
    """Problems by the market's name as the journal has it."""
    return {str(market): problem for market, problem in problems.items()}


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
