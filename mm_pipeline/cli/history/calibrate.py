"""``mm calibrate``: fit the verdict's two models walk-forward on candle files, and say how good they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mm_pipeline.adapters.config.calibration_records import ModelFile, Provenance, QualityRecord
    from mm_pipeline.domain.regime.calibration import FittedModels, Schedule
    from mm_pipeline.domain.regime.samples import MarketHistory
    from mm_pipeline.settings import Settings

DAY_MS = 86_400_000
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--candles", "first_candles", type=_EXISTING, required=True, multiple=True, metavar="FILE...")
@click.argument("more_candles", type=_EXISTING, nargs=-1, metavar="")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the tables; none: only print."
)
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="PNG of the reliability curves.")
@click.option("--first-fit-days", type=click.IntRange(30, 3650), default=180, show_default=True)
@click.option("--step-days", type=click.IntRange(7, 3650), default=91, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the content of the files instead of tables.")
def calibrate(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    out: Path | None,
    chart: Path | None,
    first_fit_days: int,
    step_days: int,
    as_json: bool,
) -> None:
    """Fit p_transition and confidence walk-forward on 15m candle FILEs, one market each, all pooled.

    The first table is fitted on the first --first-fit-days after the warm-up, then a new one every --step-days on all
    bars before it. Each is judged on the bars from its first day to the next table's.
    """
    from mm_pipeline.adapters.config.calibration_files import model_files, save_model_files
    from mm_pipeline.domain.regime.calibration import Schedule
    from mm_pipeline.settings import load_settings

    candles = sorted((*first_candles, *more_candles), key=lambda path: path.name)
    settings = load_settings()
    schedule = Schedule(first_fit_ms=first_fit_days * DAY_MS, step_ms=step_days * DAY_MS)
    models = _fit(candles, settings, schedule)
    made_by = _provenance(candles, settings, first_fit_days, step_days)
    files = model_files(models, made_by)
    if out is not None:
        save_model_files(out, files)
    if chart is not None:
        from mm_pipeline.rendering.charts.reliability import save_reliability_chart

        save_reliability_chart(models, chart)
    if as_json:
        click.echo(json.dumps({content.model: content.model_dump(mode="json") for content in files}, indent=2))
    else:
        _print(files, out)


def _fit(candles: Sequence[Path], settings: Settings, schedule: Schedule) -> FittedModels:
    """Read and fit under a progress bar, which goes to standard error and only to a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from mm_pipeline.domain.regime.calibration import fit_models

    with Progress(
        console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal
    ) as progress:
        reading = progress.add_task("metrics", total=len(candles))
        markets = []
        for path in candles:
            markets.append(read_history(path, settings))
            progress.advance(reading)
        fitting = progress.add_task("tables", total=None)
        return fit_models(
            markets, policy=settings.regime, schedule=schedule, on_table=lambda: progress.advance(fitting)
        )


def read_history(path: Path, settings: Settings) -> MarketHistory:
    """Metrics of a 15m candle file, with its warm-up. Raises :class:`CandleFileError`."""
    from mm_pipeline.adapters.candles.candle_files import CandleFile
    from mm_pipeline.domain.candles import clean_candles, epoch_ms, fill_gaps, resample
    from mm_pipeline.domain.errors import CandleFileError
    from mm_pipeline.domain.market import Timeframe
    from mm_pipeline.domain.metrics import market_metrics
    from mm_pipeline.domain.regime.samples import MarketHistory

    raw = CandleFile.named(path).read()
    if raw.is_empty():
        raise CandleFileError(f"{path} holds no candles.", "Give a file with candles.")
    # A recorded file's bars have all closed by the end of its newest one.
    end_ms = int(epoch_ms(raw["open_time"]).max()) + Timeframe.M15.ms
    clean = clean_candles(raw, timeframe=Timeframe.M15, now_ms=end_ms)
    bars = fill_gaps(clean.candles, quarantined_ms=epoch_ms(clean.quarantine["open_time"]))
    metrics_1h, metrics_4h = (
        market_metrics(resample(bars, timeframe), timeframe, settings.metrics)
        for timeframe in (Timeframe.H1, Timeframe.H4)
    )
    return MarketHistory(
        metrics_1h=metrics_1h,
        metrics_4h=metrics_4h,
        warm_from_ms=int(epoch_ms(raw["open_time"]).min()) + settings.data.warm_up_days * DAY_MS,
    )


def _provenance(candles: Sequence[Path], settings: Settings, first_fit_days: int, step_days: int) -> Provenance:
    import mm_pipeline
    from mm_pipeline.adapters.config.calibration_files import candles_used, policy_sha256
    from mm_pipeline.adapters.config.calibration_records import Provenance

    names = " ".join(path.name for path in candles)
    return Provenance(
        command=f"mm calibrate --candles {names} --first-fit-days {first_fit_days} --step-days {step_days}",
        code_version=mm_pipeline.__version__,
        policy_sha256=policy_sha256(settings.metrics, settings.regime),
        candles=tuple(candles_used(path) for path in candles),
    )


def _print(files: Sequence[ModelFile], out: Path | None) -> None:
    from rich.console import Console

    console = Console()
    for content in files:
        console.print(_tables(content))
        console.print(_reliability(content.model, content.out_of_sample))
    _print_destination(console, out)


def _print_destination(console: Console, out: Path | None) -> None:
    if out is None:
        console.print("Nothing was written; give --out DIR to keep the tables.")
    else:
        console.print(f"Written to {out}.", soft_wrap=True)


def _tables(content: ModelFile) -> Table:
    from rich.table import Table

    since = f"fitted on bars from {content.tables[0].fit_from:%Y-%m-%d}, judged on those after valid from"
    table = Table(title=f"{content.model}: {since}", padding=(0, 0))
    for heading in ("valid from", "fit until", "rows", "base rate", "judged", "Brier", "base's", "skill (95 %)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for record in content.tables:
        dates = (f"{record.valid_from:%Y-%m-%d}", f"{record.fit_until:%Y-%m-%d}")
        fitted = (*dates, f"{record.fit_rows:,}", f"{record.fit_base_rate:.3f}")
        table.add_row(*fitted, *_scores(record.out_of_sample))
    table.add_section()
    table.add_row("all", "", "", "", *_scores(content.out_of_sample))
    return table


def _scores(quality: QualityRecord | None) -> tuple[str, ...]:
    if quality is None:
        return ("0", "", "", "")
    return (
        f"{quality.rows:,}",
        f"{quality.brier:.4f}",
        f"{quality.brier_of_base_rate:.4f}",
        f"{quality.skill:.2f} ({quality.skill_low:.2f}, {quality.skill_high:.2f})",
    )


def _reliability(model: str, quality: QualityRecord) -> Table:
    from rich.table import Table

    table = Table(title=f"{model}: what was said and what happened (log loss {quality.log_loss:.4f})")
    for heading in ("said", "happened", "Wilson 95 %", "bars"):
        table.add_column(heading, justify="right")
    for part in quality.reliability:
        interval = f"{part.share_low:.3f} to {part.share_high:.3f}"
        table.add_row(f"{part.mean_predicted:.3f}", f"{part.observed_share:.3f}", interval, f"{part.count:,}")
    return table
