"""``mm replay``: the pipeline over candle files, without Dagster and without a clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.options import EXISTING_FILE, FOLDER, UTC_TIME, json_option, policy_option, settings_option

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from mm_pipeline.application.replay.inputs import RecordedMarket
    from mm_pipeline.cli.output import Advance
    from mm_pipeline.domain.grid import Grid
    from mm_pipeline.domain.market_view import MarketView
    from mm_pipeline.domain.notifications import Response
    from mm_pipeline.settings import Deployment, Settings

STAGES = 7
SHOWN_TIMES = 20
"""Refused times named in ``summary.json``; all of them stand in ``quarantine.parquet``."""


@click.command()
@click.option("--candles", "first_candles", type=EXISTING_FILE, required=True, multiple=True, metavar="FILE...")
@click.argument("more_candles", type=EXISTING_FILE, nargs=-1, metavar="")
@click.option("--grid", "grid_file", type=EXISTING_FILE, required=True, metavar="FILE", help="Grid file (YAML).")
@policy_option
@click.option("--from", "start", type=UTC_TIME, help="First bar's open; default: the first candle.")
@click.option("--to", "end", type=UTC_TIME, help="Last bar's close; default: the last candle.")
@click.option("--market", "market_name", metavar="NAME", help="Whose candles, where file names do not tell.")
@click.option("--responses", type=EXISTING_FILE, help="What the operator did, and when (YAML); default: nothing.")
@click.option("--risk", "with_costs", is_flag=True, help="Write risk.parquet too: what waiting would have cost.")
@click.option("--calibration", type=FOLDER, help="Folder that mm calibrate wrote; default: the shipped tables.")
@settings_option
@click.option("--out", type=FOLDER, required=True, help="Folder to write to.")
@json_option
def replay(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    grid_file: Path,
    policy: str | None,
    start: datetime | None,
    end: datetime | None,
    market_name: str | None,
    responses: Path | None,
    with_costs: bool,
    calibration: Path | None,
    settings_file: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Judge every 15m close of candle files.

    FILEs hold 15m candles of one market; each close is judged as the pipeline would have judged it then. Writes
    metrics_1h.parquet, metrics_4h.parquet, exit_states.parquet, notifications.parquet (what would have been paged),
    fills.parquet and equity.parquet of the simulated grid (of a disabled grid entry_states.parquet and
    notifications.parquet alone), and summary.json; with --risk risk.parquet, and quarantine.parquet where rows were
    refused.
    The files' market overrides the grid's. Bars that open at or after --from and close by --to are written; all bars
    before them are looked back to. A grid whose stop has sold everything in the simulation is not judged after that.
    """
    from mm_pipeline.application.replay.inputs import conflict_note, read_grid, read_market
    from mm_pipeline.application.replay.responses_file import read_responses
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.domain.market import Market
    from mm_pipeline.settings import load_deployment

    if start is not None and end is not None and start >= end:
        raise click.BadParameter(f"{start:%Y-%m-%dT%H:%MZ} is not before --to.", param_hint="--from")
    deployment = load_deployment(settings_file, policy=policy)
    with steps(STAGES) as advance:
        watch = _Stopwatch(advance)
        with watch.stage("read"):
            recorded = read_market((*first_candles, *more_candles), Market.parse(market_name) if market_name else None)
            grid = read_grid(grid_file, recorded)
            answered = read_responses(responses, grid.id) if responses else []
            span_ms = _span_ms(recorded, grid, start, end)
        view = _view(recorded, deployment.settings, calibration, watch)
        with watch.stage("evaluate"):
            frames = _frames(view, recorded, grid, deployment.settings, span_ms)
        if with_costs and grid.enabled:
            with watch.stage("risk"):
                frames |= _costs(frames, recorded, grid, deployment.settings)
        with watch.stage("notify"):
            frames |= _notifications(frames, grid, answered, deployment.settings)
        summary = _summary(
            recorded=recorded, grid=grid, deployment=deployment, tables=calibration, frames=frames, span_ms=span_ms
        )
        _write(out, frames, summary, watch)
    if (note := conflict_note(recorded)) is not None:
        click.echo(note, err=True)
    if as_json:
        print_json(summary)
    else:
        _print(summary, grid, out)


def _span_ms(recorded: RecordedMarket, grid: Grid, start: datetime | None, end: datetime | None) -> tuple[int, int]:
    """What is written of the candles, epoch ms: open of the first bar, close of the last."""
    from mm_pipeline.domain.instants import to_ms

    first_ms, end_ms = recorded.span_ms
    if start is not None:
        first_ms = max(first_ms, to_ms(start))
    if end is not None:
        end_ms = min(end_ms, to_ms(end))
    if first_ms >= end_ms:
        raise click.BadParameter("no candle lies between them.", param_hint="--from, --to")
    if grid.started_at_ms > end_ms:
        raise click.BadParameter(f"grid {grid.id} starts after it, at {grid.started_at}.", param_hint="--to")
    return first_ms, end_ms


@dataclass
class _Stopwatch:
    """Seconds per stage, shown as progress while they pass."""

    advance: Advance
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.advance(name)
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)


def _view(recorded: RecordedMarket, settings: Settings, calibration: Path | None, watch: _Stopwatch) -> MarketView:
    from mm_pipeline.adapters.config.calibration_files import load_calibration, shipped_calibration
    from mm_pipeline.domain.pipeline import MarketPolicy, metrics_of, regime_of, view_of
    from mm_pipeline.domain.risk import StopOutlook

    tables = load_calibration(calibration or shipped_calibration())
    policy = MarketPolicy(settings.metrics, settings.regime, tables, settings.risk)
    with watch.stage("metrics"):
        metrics = metrics_of(recorded.bars, policy)
    with watch.stage("regime"):
        regime = regime_of(metrics, policy)
        view = view_of(recorded.bars, metrics, regime, recorded.quarantined_ms)
        return replace(view, stops=StopOutlook(recorded.bars, settings.risk))


def _frames(
    view: MarketView, recorded: RecordedMarket, grid: Grid, settings: Settings, span_ms: tuple[int, int]
) -> dict[str, pl.DataFrame]:
    """Everything that is written, by name; an evaluation belongs to the bar that closes at it."""
    from mm_pipeline.application.replay.outputs import advice_rows, metrics_frame, position_frames
    from mm_pipeline.domain.market import Timeframe

    frames = {
        f"metrics_{timeframe}": metrics_frame(view, timeframe, recorded.market, span_ms)
        for timeframe in (Timeframe.H1, Timeframe.H4)
    }
    name, frames[name] = advice_rows(grid, view, settings.advice, span_ms)
    frames |= position_frames(grid, recorded.bars, span_ms)
    if len(recorded.clean.quarantine):
        frames["quarantine"] = recorded.clean.quarantine
    return frames


def _costs(
    frames: dict[str, pl.DataFrame], recorded: RecordedMarket, grid: Grid, settings: Settings
) -> dict[str, pl.DataFrame]:
    """Risk, and the exit states with it."""
    from mm_pipeline.application.replay.outputs import risk_frame
    from mm_pipeline.domain.risk.columns import figures_of, positions_of, with_risk

    rows = risk_frame(grid, recorded.bars, frames["exit_states"], settings.risk)
    states = with_risk(frames["exit_states"], positions_of(rows), figures_of(rows))
    return {"risk": rows, "exit_states": states}


def _notifications(
    frames: dict[str, pl.DataFrame], grid: Grid, responses: list[Response], settings: Settings
) -> dict[str, pl.DataFrame]:
    from mm_pipeline.application.replay.outputs import notifications_frame

    rows = frames["exit_states" if grid.enabled else "entry_states"]
    return {"notifications": notifications_frame(rows, grid, responses, settings.notify)}


def _summary(
    *,
    recorded: RecordedMarket,
    grid: Grid,
    deployment: Deployment,
    tables: Path | None,
    frames: dict[str, pl.DataFrame],
    span_ms: tuple[int, int],
) -> dict[str, Any]:
    from mm_pipeline import __version__
    from mm_pipeline.adapters.config.calibration_files import candles_used, shipped_calibration
    from mm_pipeline.application.replay.outputs import bars_per_state, fired_per_trigger, notices_told, stopped_out_at
    from mm_pipeline.cli.output import iso
    from mm_pipeline.domain.instants import from_ms

    rows = frames["exit_states" if grid.enabled else "entry_states"]
    quarantine = recorded.clean.quarantine
    tables = tables or shipped_calibration()
    return {
        "market": str(recorded.market),
        "grid": grid.id,
        "policy": deployment.settings.policy,
        "from": iso(from_ms(span_ms[0])),
        "to": iso(from_ms(span_ms[1])),
        "stopped_out_at": iso(stopped_out_at(grid, recorded.bars, span_ms[1])),
        "rows": {name: len(frame) for name, frame in frames.items()},
        "bars_per_state": bars_per_state(rows["state"], is_enabled=grid.enabled),
        "fired_per_trigger": fired_per_trigger(rows),
        "pages_per_notice": notices_told(frames["notifications"]),
        "quarantined": {
            "rows": len(quarantine),
            "by_reason": dict(quarantine["reason"].value_counts().sort("reason").rows()),
            "open_times": [iso(at) for at in quarantine["open_time"].unique().sort().head(SHOWN_TIMES)],
        },
        "duplicates_dropped": recorded.clean.duplicates_dropped,
        "hashes": {
            "settings": deployment.settings.hash,
            "grid": grid.version_hash,
            "candles": {path.name: candles_used(path).sha256 for path in recorded.files},
            "calibration": {path.stem: candles_used(path).sha256 for path in sorted(tables.glob("*.yaml"))},
        },
        "code_version": __version__,
    }


def _write(out: Path, frames: dict[str, pl.DataFrame], summary: dict[str, Any], watch: _Stopwatch) -> None:
    from mm_pipeline.application.replay.outputs import write_frames, write_summary

    with watch.stage("write"):
        write_frames(out, frames)
    summary["seconds"] = watch.seconds | {"total": round(sum(watch.seconds.values()), 3)}
    write_summary(out, summary)


def _print(summary: dict[str, Any], grid: Grid, out: Path) -> None:
    from mm_pipeline.cli.output import stdout

    console = stdout()
    total = sum(summary["bars_per_state"].values())
    kind = "exit" if grid.enabled else "entry"
    title = f"{grid.id} on {summary['market']}, policy {summary['policy']}: {kind} states of {total:,} evaluations"
    console.print(title, soft_wrap=True)
    console.print(_shares("state", summary["bars_per_state"], total))
    if summary["fired_per_trigger"]:
        console.print(_shares("trigger", summary["fired_per_trigger"], total))
    console.print(_pages(summary, total), soft_wrap=True)
    if summary["stopped_out_at"] is not None:
        console.print(
            f"Its stop sold everything by {summary['stopped_out_at']}: not judged after that.", soft_wrap=True
        )
    if refused := summary["quarantined"]["rows"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary["quarantined"]["by_reason"].items())
        console.print(f"{refused} rows were refused ({reasons}): quarantine.parquet.", soft_wrap=True)
    console.print(
        f"{summary['from']} to {summary['to']} in {summary['seconds']['total']:.1f} s -> {out}", soft_wrap=True
    )


def _pages(summary: dict[str, Any], evaluations: int) -> str:
    """What would have been paged, and how often; a day has 96 evaluations."""
    told = {notice: count for notice, count in summary["pages_per_notice"].items() if count}
    listed = ", ".join(f"{count:,} {notice}" for notice, count in told.items()) or "none"
    per_30_days = sum(told.values()) * 30 * 96 / evaluations if evaluations else 0.0
    return f"pages: {listed} ({per_30_days:.1f} pages per 30 days)"


def _shares(heading: str, counts: dict[str, int], total: int) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.rendering.terminal.evaluation_tables import state_text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(heading, min_width=24)
    for column in ("evaluations", "share"):
        table.add_column(column, justify="right")
    for name, count in counts.items():
        table.add_row(state_text(name), f"{count:,}", f"{count / total:.1%}" if total else "")
    return table
