"""``mm study volatility``: fit the volatility forecast walk-forward on candle files, and say how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.study.study_files import candle_files, read_candles, save_study, study_options

if TYPE_CHECKING:
    from mm_pipeline.domain.risk.volatility_fit import FittedVolatility


@click.command()
@study_options
@click.option("--first-fit-days", type=click.IntRange(60, 3650), default=180, show_default=True)
@click.option("--step-days", type=click.IntRange(7, 3650), default=182, show_default=True)
def volatility(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    out: Path | None,
    settings_file: Path | None,
    as_json: bool,
    first_fit_days: int,
    step_days: int,
) -> None:
    """Fit the three shares of the volatility forecast on 15m candle FILEs, one market each, all pooled.

    The first table is fitted on the first --first-fit-days, then a new one every --step-days on all bars before it.
    Each is judged on the bars up to the next one, beside the volatility of the last 24 h carried on. The lines under
    `risk.volatility` in a settings file are printed as they are written there.
    """
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.domain.risk import RiskHistory
    from mm_pipeline.domain.risk.volatility_fit import VolatilitySample, VolatilitySchedule, fit_volatility
    from mm_pipeline.settings import load_deployment

    policy = load_deployment(settings_file).settings.risk
    candles = candle_files(first_candles, more_candles)
    samples = []
    with steps(len(candles)) as advance:
        for path in candles:
            recorded = read_candles(path)
            advance(str(recorded.market))
            samples.append(VolatilitySample.of(RiskHistory.of(recorded.bars, policy)))
    fitted = fit_volatility(samples, VolatilitySchedule(first_fit_days, step_days))
    data = {"candles": [path.name for path in candles], "tables": [_as_data(one) for one in fitted]}
    if out is not None:
        save_study(out, data, {"volatility.yaml": settings_text(fitted)})
    if as_json:
        print_json(data)
    else:
        _print(fitted)


def settings_text(fitted: Sequence[FittedVolatility]) -> str:
    """The tables as they stand under ``risk`` in a settings file."""
    lines = [
        f"    - {{valid_from: {table.valid_from:%Y-%m-%dT%H:%M:%SZ}, "
        f"day: {table.day}, week: {table.week}, month: {table.month}}}"
        for table in (one.table for one in fitted)
    ]
    return "\n".join(["  volatility:", *lines]) + "\n"


def _as_data(fitted: FittedVolatility) -> dict[str, Any]:
    return fitted.table.model_dump(mode="json") | {
        "fit_rows": fitted.fit_rows,
        "judged_rows": fitted.judged_rows,
        "qlike": fitted.loss,
        "qlike_of_last_day": fitted.loss_of_day,
    }


def _print(fitted: Sequence[FittedVolatility]) -> None:
    from rich import box
    from rich.table import Table

    from mm_pipeline.cli.output import stdout

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("valid from", "day", "week", "month", "fitted on", "judged on", "QLIKE", "last day's"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in fitted:
        losses = ("" if loss is None else f"{loss:.3f}" for loss in (one.loss, one.loss_of_day))
        shares = (f"{share:.4f}" for share in one.table.shares)
        rows = (f"{one.fit_rows:,}", f"{one.judged_rows:,}")
        table.add_row(f"{one.table.valid_from:%Y-%m-%d}", *shares, *rows, *losses)
    console = stdout()
    console.print(table)
    console.print(settings_text(fitted), soft_wrap=True, highlight=False)
