"""``mm study pages``: how often an operator would have been paged, by policy and by notice, over recorded candles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mm_pipeline.cli.options import EXISTING_FILE, UTC_TIME, json_option, settings_option

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from mm_pipeline.cli.replay_inputs import RecordedMarket
    from mm_pipeline.domain.grid import Grid
    from mm_pipeline.domain.notifications import Decision, NotifyPolicy, Response
    from mm_pipeline.settings import Settings

ANSWERS: Final = ("never", "acknowledged", "flat")
"""What the operator does ten minutes after each page that asks for an exit: nothing, acknowledge, or close."""
_ANSWERS_AFTER: Final = timedelta(minutes=10)
_FEE: Final = 0.001
_DAYS: Final = 30.0


@click.command()
@click.option("--candles", "files", type=EXISTING_FILE, required=True, multiple=True, metavar="FILE...")
@click.argument("more_files", type=EXISTING_FILE, nargs=-1, metavar="")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Default: every packaged policy.")
@click.option("--from", "start", type=UTC_TIME, help="First month; default: the first after the warm-up.")
@click.option("--to", "end", type=UTC_TIME, help="Month before which to end; default: the last whole one.")
@click.option("--width-pct", type=click.FloatRange(0.1, 50), default=10.0, show_default=True, help="Grid width, %.")
@click.option("--stop-pct", type=click.FloatRange(0.1, 50), default=3.0, show_default=True, help="Stop below it, %.")
@settings_option
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of the README.")
def pages(
    *,
    files: tuple[Path, ...],
    more_files: tuple[Path, ...],
    policies: tuple[str, ...],
    start: datetime | None,
    end: datetime | None,
    width_pct: float,
    stop_pct: float,
    settings_file: Path | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Count the pages of grids that are set anew around the price on the first of each month.

    Each FILE holds 15m candles of one market. Pages are counted per 30 days that a grid is watched, for an operator
    who never answers, one who acknowledges ten minutes after each page, and one who closes the position then; the last
    is not paged again before something graver comes.
    """
    from mm_pipeline.cli.output import print_json, stdout, steps
    from mm_pipeline.cli.replay_inputs import read_market
    from mm_pipeline.settings import load_settings, policy_names

    names = policies or tuple(policy_names())
    paths = (*files, *more_files)
    rows: list[dict[str, Any]] = []
    with steps(len(names) * len(paths)) as advance:
        for path in paths:
            recorded = read_market([path], None)
            for name in names:
                advance(f"{recorded.market}, policy {name}")
                settings = load_settings(settings_file, policy=name)
                counts = _months(recorded, settings, start, end, width_pct=width_pct, stop_pct=stop_pct)
                rows += [{"market": str(recorded.market), "policy": name} | row for row in counts]
    if as_json:
        print_json({"width_pct": width_pct, "stop_pct": stop_pct, "rows": rows})
    elif as_markdown:
        click.echo(_markdown(rows))
    else:
        stdout().print(_table(rows))


def _months(
    recorded: RecordedMarket,
    settings: Settings,
    start: datetime | None,
    end: datetime | None,
    *,
    width_pct: float,
    stop_pct: float,
) -> list[dict[str, Any]]:
    """Pages per 30 days by answer; each month has a grid of its own."""
    from mm_pipeline.domain.grid import GridVersion
    from mm_pipeline.domain.pipeline import evaluate, market_view

    view = market_view(recorded.bars, recorded.quarantined_ms, settings.market)
    told: dict[str, dict[str, int]] = {answer: {} for answer in ANSWERS}
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
        for answer in ANSWERS:
            for notice, count in _told(rows, grid, settings.notify, answer).items():
                told[answer][notice] = told[answer].get(notice, 0) + count
    days = evaluations / 96
    return [
        {"answers": answer, "days": round(days, 1), "pages": sum(told[answer].values())}
        | {"per_30_days": {notice: count * _DAYS / days for notice, count in sorted(told[answer].items())}}
        for answer in ANSWERS
        if days
    ]


def _spans(
    recorded: RecordedMarket, settings: Settings, start: datetime | None, end: datetime | None
) -> list[tuple[datetime, datetime]]:
    """Months that lie whole between the ends of the candles, after the warm-up."""
    from mm_pipeline.adapters.clock import from_ms
    from mm_pipeline.adapters.months import month_start, next_month

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


def _told(rows: pl.DataFrame, grid: Grid, policy: NotifyPolicy, answer: str) -> dict[str, int]:
    """Pages by notice.

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
    counts: dict[str, int] = {}
    for decision in decisions:
        if decision.is_told:
            counts[decision.notice.value] = counts.get(decision.notice.value, 0) + 1
    return counts


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
    from mm_pipeline.adapters.clock import to_ms

    return to_ms(at)


_NOTICES: Final = ("MANDATORY_EXIT", "LATEST_ACCEPTABLE_EXIT", "WARNING", "NORMAL", "UNKNOWN", "SOLD_OUT")


def _cells(row: Mapping[str, Any]) -> list[str]:
    by_notice = row["per_30_days"]
    told = [f"{by_notice.get(notice, 0.0):.1f}" for notice in _NOTICES]
    return [row["market"], row["policy"], row["answers"], *told, f"{sum(by_notice.values()):.1f}"]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title="pages per 30 days watched", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("market", "policy", "operator answers"):
        table.add_column(heading)
    for heading in (*_NOTICES, "all"):
        table.add_column(heading.lower().replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ["market", "policy", "operator answers", *(notice.lower().replace("_", " ") for notice in _NOTICES), "all"]
    lines = [" | ".join(head), " | ".join(["---"] * 3 + ["---:"] * (len(_NOTICES) + 1))]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(_cells(row)) for row in rows)])
