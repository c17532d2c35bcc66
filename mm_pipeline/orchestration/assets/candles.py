"""Asset ``candles``: 15m candles of every watched market, as far back as its grids' evaluations look."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import dagster as dg
import polars as pl

from mm_pipeline.adapters.candles.stored import CandleUpdate
from mm_pipeline.adapters.frames.rows import by_bar
from mm_pipeline.adapters.journal import ResponseRecord
from mm_pipeline.application.blind_spots import unconfirmed
from mm_pipeline.application.incidents import end_incidents, record_incidents
from mm_pipeline.application.isolation import by_name, isolated
from mm_pipeline.application.plan import Plan
from mm_pipeline.application.storage_alarms import warn_of_losses, warn_of_low_disk, with_losses
from mm_pipeline.application.watch import Watch
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.candles import empty_candles
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.months import next_month
from mm_pipeline.domain.notifications import SEEN_OPEN, TEXT_LIMIT
from mm_pipeline.orchestration import metadata
from mm_pipeline.orchestration.assets.declaration import (
    LIVE_FRESHNESS,
    contract_result,
    monthly_asset,
    newest_ms,
    plan_of,
)
from mm_pipeline.orchestration.partition_metadata import months_of, show_rows
from mm_pipeline.orchestration.resources import WatchResource
from mm_pipeline.orchestration.run_moment import move_run
from mm_pipeline.orchestration.turns import REFETCH_TAG, turn

FRESH = "candles_fresh"
REVISED = "revised_bars"
"""Metadata: stored bars of the partition's month that the exchange now tells otherwise."""
EVALUATED_AT = "evaluated_at"
"""Metadata: the evaluation that the run was made for; another than the tag's where this machine's clock is wrong."""


@monthly_asset(
    group="market",
    contract=contracts.CANDLES,
    kinds=("parquet", "ccxt"),
    description="Clean 15m candles of every watched market; only what is missing is fetched, bad rows are quarantined.",
    checks=[
        dg.AssetCheckSpec(
            FRESH, asset="candles", description="The newest bar of every market is younger than data.max_age."
        )
    ],
    freshness=LIVE_FRESHNESS,
    writes=False,
)
def candles(context: dg.AssetExecutionContext, watch: WatchResource) -> Iterator[dg.MaterializeResult[None]]:
    """Fetch what is missing, refuse what cannot be believed, keep the rest."""
    plan = plan_of(context, watch)
    if plan.is_live:
        warn_of_low_disk(watch)
        plan = _at_true_time(context, watch, plan)
    if plan.is_live:
        watch.observe_grids(plan.evaluated_ms)
        plan = plan_of(context, watch)
    updates = watch.fetch(plan, is_refetch=context.run.tags.get(REFETCH_TAG) == "true")
    kept = isolated(updates, lambda market: _checked(updates[market]), context.log)
    with turn(context, watch):  # not while the exchange is asked, which may take minutes
        stored = isolated(kept.made, lambda market: watch.keep(plan, kept.made[market]), context.log)
        has_new_ticks = watch.keep_ticks()
    unfetched = {
        market: with_losses(update.problem, watch.losses.get(market, []))
        for market, update in updates.items()
        if update.problem is not None
    }
    problems: dict[Market, PipelineError] = {**unfetched, **kept.problems, **stored.problems}
    if plan.is_live:
        warn_of_losses(watch)
        if has_new_ticks:  # some grid may be too fine for its exchange
            watch.observe_grids(plan.evaluated_ms)
    end_incidents(watch, plan, [str(market) for market in updates if market not in problems])
    record_incidents(watch, plan, by_name(problems))
    record_incidents(watch, plan, by_name(unconfirmed(plan, [kept.made[market].after for market in kept.made])))
    revised = pl.concat([empty_candles(), *(one.revisions for one in updates.values())], how="diagonal_relaxed")
    _report_look_back(context, plan, stored.made, revised, first_month=watch.settings.first_month)
    show_rows(context, [update.after.candles for update in updates.values()])
    for month in months_of(context):
        shown = {REVISED: _revised_in(revised, month)}
        context.add_asset_metadata(shown, partition_key=f"{month:%Y-%m}")
    fresh = metadata.freshness(watch.bars(plan), newest_ms(plan), watch.settings.data)
    yield dg.MaterializeResult(
        metadata=metadata.of_candles(updates, problems, fresh) | {EVALUATED_AT: plan.evaluated_at.isoformat()},
        check_results=[
            contract_result("candles", kept.problems),
            metadata.freshness_check(FRESH, fresh, problems, watch.settings.data),
        ],
    )


def _at_true_time(context: dg.AssetExecutionContext, watch: Watch, plan: Plan) -> Plan:
    """The plan at the exchange's time. Where that lies in no month of the run nothing is evaluated, and that is told.

    Raises
    ------
    StorageError
        When the journal fails.
    """
    time = watch.ask_time(plan)
    if time.confirms_clock:
        _set_aside_future(watch)
    problem = time.problem
    if problem is None:
        return plan
    context.log.error(problem)
    move_run(context.run.run_id, watch.now())
    plan = plan_of(context, watch)
    if not plan.is_live:
        delivery = watch.delivery()
        delivery.alarms.raise_about(
            "clock",
            "BLIND: the clock is wrong, no grid is judged",
            f"Look at your grids yourself: {problem}. Let it follow a time server.",
            every=watch.settings.notify.unknown.second_after,
        )
        delivery.relay.run()
    return plan


def _set_aside_future(watch: Watch) -> None:
    """Take out of the journal what a clock that was ahead has left in it, and say so."""
    problem, words = watch.decisions().future_rows().problem, watch.decisions().future_words()
    if watch.decisions().set_aside_future(watch.now()):
        message = (
            f"{problem or 'Deliveries bear a time later than now'}. An exchange confirms this clock, so the rows count "
            f"as never made, and what is true now is decided anew. Let every clock follow a time server.{_said(words)}"
        )
        named = "".join(
            f" {one.response.at.isoformat()}" for one in words[:1]
        )  # no earlier alarm swallows one about a word
        watch.delivery().alarms.raise_about(f"clock ahead{named}", "CLOCK: it was ahead", message[:TEXT_LIMIT])


def _said(words: Sequence[ResponseRecord]) -> str:
    """What becomes of each word that bore a time later than now; one that opens a grid counts from now."""
    lines = []
    for one in words:
        said = (
            f"{one.response.kind.value} of {one.response.grid or 'the watch'} at {one.response.at:%Y-%m-%d %H:%M} UTC"
        )
        what = "counts from now" if one.response.kind in SEEN_OPEN else "does not count; say it again if it is true"
        lines.append(f"\n{said} ({one.source}) {what}.")
    return "".join(lines)


def _checked(update: CandleUpdate) -> CandleUpdate:
    contracts.CANDLES.check(update.after.believed)
    return update


def _revised_in(revised: pl.DataFrame, month: datetime) -> int:
    return by_bar(revised, "candles").between(month, next_month(month)).height


def _report_look_back(
    context: dg.AssetExecutionContext,
    plan: Plan,
    touched: Mapping[Market, list[datetime]],
    revised: pl.DataFrame,
    *,
    first_month: str,
) -> None:
    """Tell of the months before the run's own whose candles came in as look-back: they are materialized too."""
    months = {month for changed in touched.values() for month in changed if month < plan.start}
    for month in sorted(months):
        key = f"{month:%Y-%m}"
        markets = sorted(str(market) for market, changed in touched.items() if month in changed)
        if key >= first_month:
            shown: dict[str, int | str] = {"why": "look-back of a later month", "markets": ", ".join(markets)}
            shown[REVISED] = _revised_in(revised, month)
            context.log_event(dg.AssetMaterialization("candles", partition=key, metadata=shown))
