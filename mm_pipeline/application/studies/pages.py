"""Pages of grids that are set anew each month, counted over recorded candles: what ``mm study pages`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    import polars as pl

    from mm_pipeline.application.replay.inputs import RecordedMarket
    from mm_pipeline.domain.grid import Grid
    from mm_pipeline.domain.notifications import Decision, NotifyPolicy, Response
    from mm_pipeline.settings import Settings

ANSWERS: Final = ("never", "acknowledged", "flat")
"""What the operator does ten minutes after each page that asks for an exit: nothing, acknowledge, or close."""
_ANSWERS_AFTER: Final = timedelta(minutes=10)
_FEE: Final = 0.001
_DAYS: Final = 30.0


@dataclass
class _Count:
    """Pages by notice, emergencies by day, and when each trigger was paged first, by month."""

    pages: Counter[str] = field(default_factory=Counter)
    emergencies: Counter[str] = field(default_factory=Counter)
    first: dict[str, dict[str, str]] = field(default_factory=dict)


def counted_months(
    recorded: RecordedMarket,
    settings: Settings,
    start: datetime | None,
    end: datetime | None,
    *,
    width_pct: float,
    stop_pct: float,
) -> list[dict[str, Any]]:
    """Pages per 30 days by answer; each month has a grid of its own.

    Raises
    ------
    click.BadParameter
        Where no whole month lies between the warm-up and the last candle.
    """
    from mm_pipeline.domain.grid import GridVersion
    from mm_pipeline.domain.pipeline import evaluate, market_view

    view = market_view(recorded.bars, recorded.quarantined_ms, settings.market)
    counts = {answer: _Count() for answer in ANSWERS}
    evaluations = 0
    spans = _spans(recorded, settings, start, end)
    if not spans:
        warm_up = f"{settings.data.warm_up_days + 1} days"
        problem = f"no whole month of {recorded.market} lies {warm_up} or more after its first candle."
        raise click.BadParameter(problem, param_hint="--candles, --from, --to")
    for begins, ends in spans:
        grid = _grid(recorded, begins, width_pct=width_pct, stop_pct=stop_pct)
        versions = [GridVersion(grid, begins)]
        rows = evaluate(versions, view, settings.advice, first_ms=_ms(begins) + 1, last_ms=_ms(ends)).exit_states
        evaluations += rows.height
        for answer, count in counts.items():
            _add(count, _decided(rows, grid, settings.notify, answer), rows, f"{begins:%Y-%m}")
    days = evaluations / 96
    return [_row(answer, count, days) for answer, count in counts.items() if days]


def _row(answer: str, count: _Count, days: float) -> dict[str, Any]:
    return {
        "answers": answer,
        "days": round(days, 1),
        "pages": count.pages.total(),
        "per_30_days": {notice: number * _DAYS / days for notice, number in sorted(count.pages.items())},
        "worst_day": max(count.emergencies.values(), default=0),
        "first_pages": count.first,
    }


def _add(count: _Count, decisions: Sequence[Decision], rows: pl.DataFrame, month: str) -> None:
    from mm_pipeline.domain.exit_state import LATEST, WARNING
    from mm_pipeline.domain.notifications import Notice

    milder = {Notice.LATEST_ACCEPTABLE_EXIT: LATEST, Notice.WARNING: WARNING}
    first = count.first.setdefault(month, {})
    for one in decisions:
        if not one.is_told:
            continue
        at = one.evaluated_at
        count.pages[one.notice.value] += 1
        count.emergencies[f"{at:%Y-%m-%d}"] += one.notice is Notice.MANDATORY_EXIT
        named = one.triggers if one.notice is Notice.MANDATORY_EXIT else _fired(rows, at, milder.get(one.notice, ()))
        for trigger in named:
            first.setdefault(f"{one.notice.value} {trigger.partition('@')[0]}", at.isoformat())


def _fired(rows: pl.DataFrame, at: datetime, names: Sequence[str]) -> list[str]:
    row = rows.row(int(rows["evaluated_at"].search_sorted(at)), named=True)
    return [name for name in names if row[name]["fired"]]


def _spans(
    recorded: RecordedMarket, settings: Settings, start: datetime | None, end: datetime | None
) -> list[tuple[datetime, datetime]]:
    """Months that lie whole between the ends of the candles, after the warm-up."""
    from mm_pipeline.domain.instants import from_ms
    from mm_pipeline.domain.months import month_start, next_month

    first_ms, last_ms = recorded.span_ms
    warm = from_ms(first_ms) + timedelta(days=settings.data.warm_up_days + 1)
    begins = month_start(max(warm, start or warm))
    begins = begins if begins >= max(warm, start or warm) else next_month(begins)
    spans = []
    while next_month(begins) <= min(from_ms(last_ms), end or from_ms(last_ms)):
        spans.append((begins, next_month(begins)))
        begins = next_month(begins)
    return spans


def _grid(recorded: RecordedMarket, begins: datetime, *, width_pct: float, stop_pct: float) -> Grid:
    """A grid centred at the price with which the month begins."""
    import polars as pl

    from mm_pipeline.domain.grid import Grid, Spacing

    price = float(recorded.bars.filter(pl.col("open_time") >= begins)["open"][0])
    lower = price * (1 - width_pct / 200)
    return Grid(
        id="study",
        exchange=recorded.market.exchange,
        symbol=recorded.market.symbol,
        enabled=True,
        lower=lower,
        upper=price * (1 + width_pct / 200),
        levels=11,
        spacing=Spacing.ARITHMETIC,
        stop_loss=lower * (1 - stop_pct / 100),
        capital=1000.0,
        fee=_FEE,
        started_at=begins,
    )


def _decided(rows: pl.DataFrame, grid: Grid, policy: NotifyPolicy, answer: str) -> list[Decision]:
    """What is decided about a grid.

    What is answered depends on what is paged, and the other way round: replayed until both agree, which each replay
    does for at least one page more than the one before it.
    """
    from mm_pipeline.domain.notifications import judged_in, replay

    judged = judged_in(rows, {grid.version_hash: grid}, policy, kind="exit")
    responses: list[Response] = []
    decisions = replay(judged, responses, policy)
    while (answers := _answers(decisions, answer)) != responses:
        responses = answers
        decisions = replay(judged, responses, policy)
    return decisions


def _answers(decisions: Sequence[Decision], answer: str) -> list[Response]:
    """What the operator does about each page that asks for an exit."""
    from mm_pipeline.domain.notifications import Notice, Response, ResponseKind

    if answer == "never":
        return []
    kind = ResponseKind.ACKNOWLEDGED if answer == "acknowledged" else ResponseKind.FLAT
    asked = (Notice.MANDATORY_EXIT, Notice.LATEST_ACCEPTABLE_EXIT)
    return [
        Response(
            grid=one.grid,
            at=one.evaluated_at + _ANSWERS_AFTER,
            kind=kind,
            page=one.page if kind is ResponseKind.ACKNOWLEDGED else "",
        )
        for one in decisions
        if one.is_told and one.notice in asked
    ]


def _ms(at: datetime) -> int:
    from mm_pipeline.domain.instants import to_ms

    return to_ms(at)
