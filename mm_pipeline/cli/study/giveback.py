"""``mm study giveback``: whether what is said a delayed exit may cost came true, on real candles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.options import EXISTING_FILE, json_option, settings_option

if TYPE_CHECKING:
    from rich.table import Table

    from mm_pipeline.application.studies.giveback import Forecasts
    from mm_pipeline.application.studies.giveback_coverage import Score
    from mm_pipeline.cli.output import Advance
    from mm_pipeline.domain.risk import RiskPolicy

THREADS = 2
"""Compiled loops run side by side; more threads than cores gain nothing."""


@click.command()
@click.option("--candles", "first_candles", type=EXISTING_FILE, required=True, multiple=True, metavar="FILE...")
@click.argument("more_candles", type=EXISTING_FILE, nargs=-1, metavar="")
@click.option("--threads", type=click.IntRange(1, 64), default=THREADS, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="PNG of coverage by window.")
@settings_option
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the tables as Markdown.")
def giveback(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    threads: int,
    out: Path | None,
    settings_file: Path | None,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Hold grids along 15m candle FILEs, one market each, and compare expected giveback with what came true.

    Grids of three widths are placed one after the other, each when the one before it is stopped, sold out or 30 days
    old, and evaluated at every 15m close at which inventory is worth 10 % of the capital or more. What is said rests on
    bars known by then. Beside the model stand a normal with sigma sqrt(d) and the model without rescaling to the
    present volatility. Intervals are 95 % by a bootstrap of whole weeks, all markets together, and Wilson's for the
    share of windows, those of one time counted once.
    """
    from mm_pipeline.application.studies.giveback import STUDIED_SHAPES
    from mm_pipeline.application.studies.giveback_coverage import scores
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.rendering.markdown.giveback import giveback_markdown
    from mm_pipeline.settings import load_deployment

    policy = load_deployment(settings_file).settings.risk
    candles = sorted(dict.fromkeys((*first_candles, *more_candles)), key=lambda path: path.name)
    forecasts: dict[str, list[Forecasts]] = {}
    with steps(len(candles) * len(STUDIED_SHAPES)) as advance:
        for path in candles:
            name, parts = studied_market(path, policy, threads=threads, advance=advance)
            forecasts.setdefault(name, []).extend(parts)
    found = scores(forecasts)
    if out is not None:
        _save_chart(found, out)
    if as_json:
        print_json(_as_data(found, policy))
    elif as_markdown:
        click.echo(giveback_markdown(found))
    else:
        _print(found)


def studied_market(path: Path, policy: RiskPolicy, *, threads: int, advance: Advance) -> tuple[str, list[Forecasts]]:
    """Name of the market of a candle file, and its forecasts, one of each shape of grid."""
    from concurrent.futures import ThreadPoolExecutor

    from mm_pipeline.application.replay.inputs import read_market
    from mm_pipeline.application.studies.giveback import STUDIED_SHAPES, forecast, joined, studied_grids, unscaled
    from mm_pipeline.domain.errors import CandleFileError
    from mm_pipeline.domain.risk import StandardisedBars

    recorded = read_market([path], None)
    history = StandardisedBars.of(recorded.bars, policy)
    raw = unscaled(history)
    found = []
    with ThreadPoolExecutor(threads) as pool:
        for shape in STUDIED_SHAPES:
            advance(f"{recorded.market}, grids {shape.width:.0%} wide")
            held = studied_grids(history, recorded.market, shape, policy)
            made = list(pool.map(lambda grid: forecast(grid, history, raw, policy), held))
            if not any(len(part.close_ms) for part in made):
                needed = f"more than {policy.min_history_days} days of candles"
                raise CandleFileError(f"{path} is too short to study.", f"Give a file with {needed}.")
            found.append(joined(made))
    return str(recorded.market), found


def _as_data(scores: Sequence[Score], policy: RiskPolicy) -> dict[str, Any]:
    from dataclasses import asdict

    from mm_pipeline.domain.instants import from_ms

    rows = []
    for score in scores:
        row = asdict(score)
        for window in row["windows"]:
            window["start"] = from_ms(window.pop("start_ms"))
        rows.append(
            row
            | {
                "meets_pooled": score.meets_pooled,
                "meets_windows": score.meets_windows,
                "beats_normal": score.beats_normal,
            }
        )
    return {"policy": policy.model_dump(mode="json"), "scores": rows}


def _save_chart(scores: Sequence[Score], path: Path) -> None:
    from mm_pipeline.domain.errors import StorageError
    from mm_pipeline.rendering.charts.giveback import giveback_chart_png

    try:
        path.write_bytes(giveback_chart_png(scores))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.", "Choose another path for the chart.") from error


def _print(scores: Sequence[Score]) -> None:
    from mm_pipeline.cli.output import stdout

    console = stdout()
    evaluations = scores[0].evaluations
    console.print(f"{evaluations:,} evaluations; coverage is wanted at 87-93 %, of a window at 85-95 %")
    console.print(_table(scores))
    console.print(_by_series(scores))
    for score in scores:
        if score.method == "model":
            console.print(_verdict(score), soft_wrap=True)


def _table(scores: Sequence[Score]) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.rendering.markdown.giveback import extremes_text, ratio_text, share_text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = ("delay", "forecast", "p90 covered (95 %)", "windows inside (95 %)", "lowest, highest", "pinball, %")
    for heading in (*headings, "over the normal's (95 %)"):
        table.add_column(heading, justify="left" if heading in headings[:2] else "right", no_wrap=True)
    for score in scores:
        windows = f"{share_text(score.windows_inside)} of {len(score.windows)}"
        loss, ratio = f"{score.pinball_pct.value:.4f}", ratio_text(score.pinball_to_normal)
        covered = share_text(score.coverage)
        table.add_row(score.horizon, score.method, covered, windows, extremes_text(score), loss, ratio)
    return table


def _by_series(scores: Sequence[Score]) -> Table:
    """The model's coverage per series, by evaluations."""
    from rich import box
    from rich.table import Table

    model = [score for score in scores if score.method == "model"]
    table = Table(title="model, p90 covered", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("series", no_wrap=True)
    for score in model:
        table.add_column(score.horizon, justify="right", no_wrap=True)
    for series in dict.fromkeys(window.series for window in model[0].windows):
        cells = []
        for score in model:
            windows = [window for window in score.windows if window.series == series]
            covered = sum(window.coverage * window.evaluations for window in windows)
            share = covered / sum(window.evaluations for window in windows)
            inside = sum(window.is_inside for window in windows)
            cells.append(f"{share:.1%}, {inside} of {len(windows)} windows")
        table.add_row(series, *cells)
    return table


def _verdict(score: Score) -> str:
    said = {
        "pooled coverage": score.meets_pooled,
        "windows": score.meets_windows,
        "pinball below the normal's": score.beats_normal,
    }
    return f"{score.horizon}: " + ", ".join(f"{name} {'met' if is_met else 'MISSED'}" for name, is_met in said.items())
