"""``mm study verdicts``: shown verdicts against the truth of simulated markets, which no real market tells."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.options import json_option, settings_option

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from mm_pipeline.application.studies.verdicts import ConfusionTable
    from mm_pipeline.domain.pipeline import MarketPolicy

START = datetime(2026, 1, 1, tzinfo=UTC)
"""First bar of every market: after the newest of the shipped tables, which saw no simulated bar anyway."""


@click.command()
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first market.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=8, show_default=True, help="Markets, one seed each.")
@click.option("--days", type=click.IntRange(60, 3650), default=365, show_default=True, help="Length of each market.")
@settings_option
@json_option
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table and its reading as Markdown.")
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="PNG of the confusion matrix.")
def verdicts(
    *,
    seed: int,
    seeds: int,
    days: int,
    settings_file: Path | None,
    as_json: bool,
    as_markdown: bool,
    chart: Path | None,
) -> None:
    """Compare shown verdicts with the true regimes of simulated markets.

    Each hour counts once: the true regime in which it ended against the verdict shown at its close. Intervals are 95 %
    by a bootstrap of whole weeks. A share is worth what it is above the base rate beside it. The simulation is ours:
    it tells whether the verdict sees what it is meant to see, not how often markets behave so.
    """
    from mm_pipeline.adapters.config.calibration_files import load_calibration, shipped_calibration
    from mm_pipeline.application.studies.verdicts import confusion_of
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.domain.pipeline import MarketPolicy
    from mm_pipeline.settings import load_deployment

    settings = load_deployment(settings_file).settings
    policy = MarketPolicy(settings.metrics, settings.regime, load_calibration(shipped_calibration()), settings.risk)
    markets = []
    with steps(seeds) as advance:
        for number in range(seed, seed + seeds):
            advance(f"market of seed {number}")
            markets.append(judged_market(number, days=days, policy=policy))
    table = confusion_of(markets)
    result = {"seeds": [seed, seed + seeds - 1], "days": days} | _as_data(table, markets)
    if chart is not None:
        _save_chart(table, chart, f"{table.hours:,} hours of {seeds} simulated markets")
    if as_json:
        print_json(result)
    elif as_markdown:
        _print_markdown(table, markets)
    else:
        _print(table, result)


def judged_market(seed: int, *, days: int, policy: MarketPolicy) -> pl.DataFrame:
    """``close_time, truth, verdict`` of the 1h bars of one simulated market."""
    import polars as pl

    from mm_pipeline.domain.candles import RAW_SCHEMA, fill_gaps
    from mm_pipeline.domain.market import Timeframe
    from mm_pipeline.domain.pipeline import metrics_of, regime_of
    from mm_pipeline.paper.markets.simulation import simulate_market

    simulated = simulate_market(seed=seed, start=START, bars=days * Timeframe.M15.bars_per_day)
    bars = fill_gaps(simulated.select(list(RAW_SCHEMA)), quarantined_ms=None)
    shown = regime_of(metrics_of(bars, policy), policy)[Timeframe.H1].select("close_time", "verdict")
    truth = simulated.select(
        close_time=(pl.col("open_time") + pl.duration(milliseconds=Timeframe.M15.ms)).cast(pl.Datetime("ms", "UTC")),
        truth="true_regime",
    )
    return shown.join(truth, on="close_time", maintain_order="left").select("close_time", "truth", "verdict")


def _as_data(table: ConfusionTable, markets: list[pl.DataFrame]) -> dict[str, Any]:
    from mm_pipeline.application.studies.verdicts import detection_delay

    return {
        "hours": table.hours,
        "accuracy": table.accuracy().as_json(),
        "classes": {
            truth: {
                "base_rate": round(table.base_rate(truth), 4),
                "hours_shown_as": {shown: table.count(truth, shown) for shown in table.shown_names},
                "recall": table.recall(truth).as_json(),
                "precision": table.precision(truth).as_json(),
                "delay": vars(detection_delay(markets, truth)),
            }
            for truth in table.truth_names
        },
    }


def _save_chart(table: ConfusionTable, path: Path, title: str) -> None:
    from mm_pipeline.domain.errors import StorageError
    from mm_pipeline.rendering.charts.verdicts import confusion_chart_png

    try:
        path.write_bytes(confusion_chart_png(table, title=title))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.", "Choose another path for the chart.") from error


def _print(table: ConfusionTable, result: dict[str, Any]) -> None:
    from mm_pipeline.cli.output import stdout
    from mm_pipeline.rendering.markdown.verdicts import verdict_on

    console = stdout()
    first, last = result["seeds"]
    console.print(f"{table.hours:,} hours, seeds {first} to {last}, {result['days']} days each")
    console.print(_matrix(table))
    console.print(_scores(table, result))
    console.print(verdict_on(table), soft_wrap=True)


def _print_markdown(table: ConfusionTable, markets: list[pl.DataFrame]) -> None:
    from mm_pipeline.application.studies.verdicts import detection_delay
    from mm_pipeline.rendering.markdown.verdicts import confusion_markdown

    click.echo(confusion_markdown(table, {truth: detection_delay(markets, truth) for truth in table.truth_names}))


def _matrix(table: ConfusionTable) -> Table:
    from rich import box
    from rich.table import Table

    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    printed.add_column("true regime \\ shown verdict", no_wrap=True)
    for shown in (*table.shown_names, "all"):
        printed.add_column(shown, justify="right", no_wrap=True)
    for truth in table.truth_names:
        cells = [f"{table.count(truth, shown):,} ({table.share(truth, shown):.0%})" for shown in table.shown_names]
        total = sum(table.count(truth, shown) for shown in table.shown_names)
        printed.add_row(truth, *cells, f"{total:,}")
    return printed


def _scores(table: ConfusionTable, result: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    from mm_pipeline.rendering.markdown.verdicts import hours_text, share_text

    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = ("true regime", "base rate", "recall (95 %)", "precision (95 %)", "segments", "missed", "delay, median")
    for heading in (*headings, "p90"):
        printed.add_column(heading, justify="left" if heading == "true regime" else "right", no_wrap=True)
    for truth in table.truth_names:
        delay = result["classes"][truth]["delay"]
        printed.add_row(
            truth,
            f"{table.base_rate(truth):.1%}",
            share_text(table.recall(truth)),
            share_text(table.precision(truth)),
            f"{delay['segments']:,}",
            f"{delay['missed']:,}",
            hours_text(delay["median_h"]),
            hours_text(delay["p90_h"]),
        )
    return printed
