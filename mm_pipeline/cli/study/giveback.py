"""``mm study giveback``: whether what is said a delayed exit may cost came true, on real candles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.study.study_files import EVERY, candle_files, read_candles, save_study, study_options

if TYPE_CHECKING:
    from rich.table import Table

    from mm_pipeline.application.studies.giveback import Forecasts
    from mm_pipeline.application.studies.giveback_coverage import Score
    from mm_pipeline.cli.output import Advance
    from mm_pipeline.domain.risk import RiskPolicy

THREADS = 2
"""Compiled loops run side by side; more threads than cores gain nothing."""


@click.command()
@study_options
@EVERY
@click.option("--threads", type=click.IntRange(1, 64), default=THREADS, show_default=True)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table as Markdown.")
def giveback(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    out: Path | None,
    settings_file: Path | None,
    as_json: bool,
    every: int,
    threads: int,
    as_markdown: bool,
) -> None:
    """Hold grids along 15m candle FILEs, one market each, and compare expected giveback with what came true.

    Grids of three widths are placed one after the other, each when the one before it is stopped, sold out or 30 days
    old, and evaluated at closes at which inventory is worth 10 % of the capital or more. What is said rests on bars
    known by then. Beside the model stands a normal with sigma sqrt(d), capped at the worst case. Intervals are 95 % by
    a bootstrap of calendar weeks, all markets together.
    """
    from mm_pipeline.application.studies.giveback import STUDIED_SHAPES
    from mm_pipeline.application.studies.giveback_coverage import scores
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.rendering.markdown.giveback import giveback_markdown
    from mm_pipeline.settings import load_deployment

    policy = load_deployment(settings_file).settings.risk
    candles = candle_files(first_candles, more_candles)
    forecasts: dict[str, list[Forecasts]] = {}
    with steps(len(candles) * len(STUDIED_SHAPES)) as advance:
        for path in candles:
            name, parts = studied_market(path, policy, every=every, threads=threads, advance=advance)
            forecasts.setdefault(name, []).extend(parts)
    found = scores(forecasts, every=every)
    if out is not None:
        from mm_pipeline.rendering.charts.giveback import giveback_chart_png

        files: dict[str, bytes | str] = {
            "giveback.md": giveback_markdown(found) + "\n",
            "giveback.png": giveback_chart_png(found),
        }
        save_study(out, summary_of(found), files)
    if as_json:
        print_json(summary_of(found))
    elif as_markdown:
        click.echo(giveback_markdown(found))
    else:
        _print(found)


def studied_market(
    path: Path, policy: RiskPolicy, *, every: int, threads: int, advance: Advance
) -> tuple[str, list[Forecasts]]:
    """Name of the market of a candle file, and its forecasts, one of each shape of grid."""
    from concurrent.futures import ThreadPoolExecutor

    from mm_pipeline.application.studies.giveback import STUDIED_SHAPES, Forecasts, forecast, studied_grids
    from mm_pipeline.domain.errors import CandleFileError
    from mm_pipeline.domain.risk import RiskHistory

    recorded = read_candles(path)
    history = RiskHistory.of(recorded.bars, policy)
    found = []
    with ThreadPoolExecutor(threads) as pool:
        for shape in STUDIED_SHAPES:
            advance(f"{recorded.market}, grids {shape.width:.0%} wide")
            held = studied_grids(history, recorded.market, shape, policy)
            made = list(pool.map(lambda grid: forecast(grid, history, policy, every=every), held))
            if not any(len(part.close_ms) for part in made):
                needed = f"more than {policy.min_history_days + 3} days of candles"
                raise CandleFileError(f"{path} is too short to study.", f"Give a file with {needed}.")
            found.append(Forecasts.joined(made))
    return str(recorded.market), found


def summary_of(scores: Sequence[Score]) -> dict[str, Any]:
    """``{"markets": {M: {"horizons": {H: ...}}}, "pooled": {"horizons": {H: ...}}}``."""
    from mm_pipeline.application.studies.giveback_coverage import POOLED
    from mm_pipeline.cli.study.probability_tables import estimate_data

    found: dict[str, Any] = {}
    for score in scores:
        found.setdefault(score.name, {"horizons": {}})["horizons"][score.horizon] = {
            "coverage": {name: share.value for name, share in score.coverage.items()},
            "windows_in_band": score.windows_in_band if score.windows else None,
            "pinball_ratio_normal": estimate_data(score.pinball_to_normal),
            "evaluations": score.evaluations,
        }
    pooled = found.pop(POOLED)
    return {"markets": found, "pooled": pooled}


def _print(scores: Sequence[Score]) -> None:
    from mm_pipeline.application.studies.giveback_coverage import POOLED
    from mm_pipeline.cli.output import stdout

    console = stdout()
    evaluations = next(score.evaluations for score in scores if score.name == POOLED)
    console.print(f"{evaluations:,} evaluations; share of outcomes that each quantile covered, in %")
    console.print(_table(scores))


def _table(scores: Sequence[Score]) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.domain.risk import GIVEBACK_PROBABILITIES
    from mm_pipeline.rendering.markdown.giveback import share_text, windows_text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("market", no_wrap=True)
    for heading in ("delay", *GIVEBACK_PROBABILITIES, "windows", "pinball / normal"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in scores:
        ratio = score.pinball_to_normal
        covered = [share_text(share.value) for share in score.coverage.values()]
        below = f"{ratio.value:.3f} (<{ratio.high:.3f})"
        table.add_row(score.name, score.horizon, *covered, windows_text(score), below)
    return table
