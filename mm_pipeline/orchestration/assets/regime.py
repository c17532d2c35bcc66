"""Assets ``regime_metrics`` and ``regime``: what each closed 1h and 4h bar says of its market."""

from collections.abc import Iterator, Mapping

import dagster as dg

from mm_pipeline.application.completeness import short_markets
from mm_pipeline.application.incidents import record_incidents
from mm_pipeline.application.isolation import Outcome, by_name, isolated
from mm_pipeline.application.market_frames import ByMarket, frames_of
from mm_pipeline.contracts import states as contracts
from mm_pipeline.contracts.contract import Contract
from mm_pipeline.domain.errors import NOT_READ, ContractError, PipelineError
from mm_pipeline.domain.market import Market, Timeframe
from mm_pipeline.domain.pipeline import COARSE, Frames, metrics_of, regime_of
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import contract_result, monthly_asset, plan_of
from mm_pipeline.orchestration.io_managers import TIMEFRAMES
from mm_pipeline.orchestration.resources import WatchResource

_Contracts = Mapping[Timeframe, Contract]
_DECLARED = {TIMEFRAMES: [timeframe.value for timeframe in COARSE]}


@monthly_asset(
    group="market",
    contract=contracts.REGIME_METRICS[Timeframe.H1],
    deps=["candles"],
    metadata=_DECLARED,
    description="Volatility, trend, mean reversion and range behaviour of every closed 1h and 4h bar.",
)
def regime_metrics(context: dg.AssetExecutionContext, watch: WatchResource) -> Iterator[dg.MaterializeResult[ByMarket]]:
    """Metrics of SPEC 3 from filled bars; bars before the first month become its look-back context."""
    plan, policy = plan_of(context, watch), watch.market_policy
    bars = watch.bars(plan)
    outcome = isolated(
        bars, lambda market: _checked(metrics_of(bars[market].bars, policy), contracts.REGIME_METRICS), context.log
    )
    record_incidents(watch, plan, by_name(outcome.problems))
    short = short_markets(plan, outcome.made, bars)
    yield _result("regime_metrics", outcome, contracts.REGIME_METRICS, short)


@monthly_asset(
    group="market",
    contract=contracts.REGIME[Timeframe.H1],
    metadata=_DECLARED,
    description="Verdict (RANGE_OK, RANGE_WEAK, TRANSITION, TREND), probabilities and confidence of every closed bar.",
)
def regime(
    context: dg.AssetExecutionContext, watch: WatchResource, regime_metrics: ByMarket
) -> Iterator[dg.MaterializeResult[ByMarket]]:
    """Verdicts of SPEC 4 from metrics."""
    plan, policy = plan_of(context, watch), watch.market_policy
    outcome = isolated(
        plan.markets,
        lambda market: _checked(regime_of(frames_of(regime_metrics, market), policy), contracts.REGIME),
        context.log,
    )
    record_incidents(watch, plan, by_name(outcome.problems))
    short = short_markets(plan, outcome.made, watch.bars(plan))
    yield _result("regime", outcome, contracts.REGIME, short)


def _checked(frames: Frames, of: _Contracts) -> Frames:
    for timeframe, contract in of.items():
        contract.check(frames[timeframe])
    return frames


def _result(
    asset: str, outcome: Outcome[Market, Frames], of: _Contracts, short: Mapping[Market, ContractError]
) -> dg.MaterializeResult[ByMarket]:
    """Frames to store; of a market that failed, frames without rows: what stood there can no longer be trusted.

    Of a market whose input cannot be had what stood there stays.
    """
    empty = {timeframe: contract.empty() for timeframe, contract in of.items()}
    value = {market.path_key: frames for market, frames in outcome.made.items()}
    failed = {market for market, problem in outcome.problems.items() if not isinstance(problem, NOT_READ)}
    value |= {market.path_key: empty for market in failed}
    problems: dict[Market, PipelineError] = {**outcome.problems, **short}
    return dg.MaterializeResult(
        value=value,
        metadata=metadata.of_markets(outcome.made, problems),
        check_results=[contract_result(asset, problems)],
    )
