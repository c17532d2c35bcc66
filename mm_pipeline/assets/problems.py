"""Evaluations at which a market or a grid could not be judged, for reasons that its bars do not show.

Two sources: what was journalled at the time, and metrics that do not reach as far as the bars do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import polars as pl

from mm_pipeline.adapters.candle_sources import StoredCandles
from mm_pipeline.adapters.clock import from_ms
from mm_pipeline.adapters.journal import Journal, MarketNotice
from mm_pipeline.assets.stage import COMPUTATION, CONTRACT
from mm_pipeline.domain.candles import epoch_ms, resample, times_of
from mm_pipeline.domain.errors import CandlesLost, ClockSkewed, MarketNotFound, PipelineError, UnconfirmedGap
from mm_pipeline.domain.failed_fetches import FAILED_FETCH
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.market_view import MarketView, Timeline, Times
from mm_pipeline.domain.pipeline import COARSE
from mm_pipeline.resources import Plan
from mm_pipeline.resources.grid_notices import GRID_FILE

BLINDING: Final = frozenset(
    {CandlesLost.code, ClockSkewed.code, MarketNotFound.code, UnconfirmedGap.code, CONTRACT, COMPUTATION}
)
"""Codes that make a market UNKNOWN at once; other failed fetches do when its newest bar is too old."""

_METRICS_AT_FAULT: Final = frozenset({CandlesLost.code, UnconfirmedGap.code, CONTRACT, COMPUTATION})
"""Codes of faults that leave bars as they are: a breached stop in those that are there still counts."""

_BARS_SEEN: Final = _METRICS_AT_FAULT | {GRID_FILE}
"""Codes with which bars are believed. Under a file that cannot be read the last readable version goes on."""

_SCHEMA = {
    "evaluated_at": pl.Datetime("ms", "UTC"),
    "problem": pl.String(),
    "hides_bars": pl.Boolean(),
    "hides_metrics": pl.Boolean(),
    FAILED_FETCH: pl.Boolean(),
}


def notices_in(journal: Journal, subject: str, plan: Plan) -> list[MarketNotice]:
    """What was journalled about a market or grid at the plan's evaluations."""
    return journal.notices(subject, since=from_ms(plan.context_ms), until=from_ms(plan.last_ms + 1))


def as_problems(notices: Iterable[MarketNotice]) -> pl.DataFrame:
    """Notices as problems of ``advise``; none of them as a failed fetch."""
    rows = [
        (notice.tick_at, notice.message, notice.code not in _BARS_SEEN, notice.code != GRID_FILE, False)
        for notice in notices
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def market_problems(notices: Iterable[MarketNotice]) -> pl.DataFrame:
    """What was wrong with a market: what blinds it at once, and fetches that failed."""
    found = list(notices)
    blinding = as_problems(notice for notice in found if notice.code in BLINDING)
    failed = as_problems(notice for notice in found if notice.code not in BLINDING)
    return pl.concat([blinding, failed.with_columns(pl.lit(True).alias(FAILED_FETCH))])


def unconfirmed(plan: Plan, stored: Iterable[StoredCandles]) -> dict[Market, PipelineError]:
    """Markets with bars, among those that evaluations look at, that are missing in the only answer so far.

    They are filled flat like quiet ones, which is mostly right; until a second answer lacks them too, or brings them,
    nothing that is made of them is known.
    """
    found: dict[Market, PipelineError] = {}
    for known in stored:
        gaps_ms = known.gaps_ms[known.gaps_ms >= plan.bars_from_ms[known.market]]
        if gaps_ms.size:
            found[known.market] = _unconfirmed_gap(known.market, gaps_ms)
    return found


def unconfirmed_at(market: Market, view: MarketView, evaluated_ms: Times) -> pl.DataFrame:
    """The same for evaluations of the past, whose run journals nothing: those that use a bar which is missing so."""
    filled = view.bars.frame.filter(pl.col("open_time").to_physical().is_in(view.gaps_ms.tolist()))
    count = np.searchsorted(epoch_ms(filled["known_at"]), evaluated_ms, side="right")
    told = {number: str(_unconfirmed_gap(market, view.gaps_ms[:number])) for number in np.unique(count[count > 0])}
    rows = [
        (from_ms(at_ms), told[number], UnconfirmedGap.code not in _BARS_SEEN, True, False)
        for at_ms, number in zip(evaluated_ms.tolist(), count.tolist(), strict=True)
        if number
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _unconfirmed_gap(market: Market, gaps_ms: Times) -> UnconfirmedGap:
    bars = f"{gaps_ms.size} bar{'s' * (gaps_ms.size != 1)}"
    return UnconfirmedGap(
        f"{bars} of {market} from {from_ms(int(gaps_ms[0])):%Y-%m-%d %H:%M} UTC on are missing in the only answer so "
        "far.",
        "They are asked for again; missing again after exchange_access.quiet_after, they had no trades.",
    )


def lagging(market: Market, view: MarketView, evaluated_ms: Times) -> pl.DataFrame:
    """Problems where a closed 1h or 4h bar is known that metrics and verdicts do not have.

    Metrics that broke their contract, or were never made, must not look like a quiet market.
    """
    parts = [pl.DataFrame(schema=_SCHEMA)]
    for timeframe in COARSE:
        expected = Timeline(resample(view.bars.frame, timeframe))
        behind = _newest(expected, evaluated_ms) != _newest(view.timeline(timeframe), evaluated_ms)
        problem = f"metrics and verdict of {market} at {timeframe} do not reach this evaluation; see the run's checks"
        at = times_of(evaluated_ms[behind], "evaluated_at")
        parts.append(
            at.to_frame().with_columns(
                problem=pl.lit(problem), hides_bars=False, hides_metrics=True, **{FAILED_FETCH: False}
            )
        )
    return pl.concat(parts)


def _newest(timeline: Timeline, evaluated_ms: Times) -> Times:
    """Open time (epoch ms) of the newest row known at each evaluation; -1 where there is none."""
    index = timeline.index_at(evaluated_ms)
    opened = np.append(epoch_ms(timeline.frame["open_time"]), -1)
    return opened[index]
