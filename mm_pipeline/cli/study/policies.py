"""``mm study policies``: what leaving grids when a policy says so is worth, beside opponents that know less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.study.study_files import candle_files, read_candles, save_study, study_options

if TYPE_CHECKING:
    from rich.table import Table

    from mm_pipeline.application.studies.policies.scores import PolicyScore
    from mm_pipeline.application.studies.policies.series import Series, StudySettings
    from mm_pipeline.application.studies.policies.study import ConfigurationScores, DesignScores
    from mm_pipeline.application.studies.resampling import Estimate
    from mm_pipeline.rendering.policy_tables import TextTable


@click.command()
@study_options
@click.option("--random-draws", type=click.IntRange(20, 100_000), default=1000, show_default=True)
@click.option("--out-of-sample", is_flag=True, help="Leave out bars before the first shipped table of probabilities.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the tables as Markdown.")
def policies(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    out: Path | None,
    settings_file: Path | None,
    as_json: bool,
    random_draws: int,
    out_of_sample: bool,
    as_markdown: bool,
) -> None:
    """Run programmes along 15m candle FILEs, one market each, under every policy, and compare them.

    A grid is placed where the entry state is ENTER, held until the policy leaves it or its stop is touched, and the
    next one is placed at the next ENTER. Each policy is run with entries of its own, and on the grids of stop_flat. On
    the latter it is compared with random exits, with its own signals shifted in time, and with a tighter stop that is
    in the market as long. Intervals are 95 % by a bootstrap of calendar weeks, all markets together.
    """
    from mm_pipeline.application.studies.policies.catalogue import DROPPED
    from mm_pipeline.application.studies.policies.study import spa_of
    from mm_pipeline.cli.output import print_json

    settings = _settings(settings_file)
    settings = replace(settings, random_draws=random_draws, has_in_sample=not out_of_sample)
    found = studied(candle_files(first_candles, more_candles), settings)
    summary = summary_of(found, variants=len(settings.policies) + DROPPED, spa_p=spa_of(found))
    if out is not None:
        from mm_pipeline.rendering.charts.policies import policies_chart_png

        save_study(
            out, summary, {"policies.md": _markdown(found, summary) + "\n", "policies.png": policies_chart_png(found)}
        )
    if as_json:
        print_json(summary)
    elif as_markdown:
        click.echo(_markdown(found, summary))
    else:
        _print(found, summary)


def _settings(settings_file: Path | None) -> StudySettings:
    from mm_pipeline.application.studies.policies.series import StudySettings
    from mm_pipeline.settings import load_settings

    seed, calibrated = (load_settings(settings_file, policy=name) for name in ("seed", "calibrated"))
    return StudySettings(shipped=seed, calibrated=calibrated.exit_state)


def studied(candles: Sequence[Path], settings: StudySettings) -> list[ConfigurationScores]:
    """Run and judge every configuration."""
    from mm_pipeline.application.studies.policies.catalogue import CONFIGURATIONS
    from mm_pipeline.application.studies.policies.study import run_series, score_configuration
    from mm_pipeline.cli.output import steps

    found = []
    with steps(len(candles) + len(CONFIGURATIONS) * (len(candles) + 1)) as advance:
        series = []
        for path in candles:
            advance(f"{path.name}: signals")
            series.append(_series(path, settings))
        for configuration in CONFIGURATIONS:
            runs = []
            for one in series:
                advance(f"{configuration.name}, {one.name}")
                runs.append(run_series(one, configuration))
            advance(f"{configuration.name}, scores")
            found.append(score_configuration(configuration, runs))
    return found


def _series(path: Path, settings: StudySettings) -> Series:
    from mm_pipeline.application.studies.policies.series import Series
    from mm_pipeline.domain.errors import CandleFileError

    series = Series.of(read_candles(path), settings)
    if not series.market.is_studied.any():
        raise CandleFileError(
            f"{path} is too short to study.", "Give a file with more than 60 days of candles, or no --out-of-sample."
        )
    return series


def summary_of(found: Sequence[ConfigurationScores], *, variants: int, spa_p: float) -> dict[str, Any]:
    """``{"configurations": [{"name", "grid", "series", "pooled"}], "variants_tried", "spa_p"}``."""
    from mm_pipeline.cli.study.probability_tables import number_data

    configurations = [
        {
            "name": scores.configuration.name,
            "grid": scores.configuration.grid,
            "series": {name: _designs(design) for name, design in scores.series.items()},
            "pooled": _designs(scores.pooled),
        }
        for scores in found
    ]
    return {"configurations": configurations, "variants_tried": variants, "spa_p": number_data(spa_p)}


def _designs(scores: DesignScores) -> dict[str, Any]:
    return {
        design: {name: policy_data(score) for name, score in by_policy.items()}
        for design, by_policy in (("free", scores.free), ("paired", scores.paired))
    }


def policy_data(score: PolicyScore) -> dict[str, Any]:
    """The figures of one policy; null where there is none."""
    from mm_pipeline.cli.study.probability_tables import number_data

    by_chance, shifted, pages = score.random, score.shifted, score.pages
    return {
        "total_pnl_pct": score.total_pnl_pct,
        "pnl_per_episode_pct": number_data(score.pnl_per_episode_pct),
        "episodes": score.episodes,
        "exits": score.exits,
        "stops": score.stops,
        "never_entered": score.never_entered,
        "time_in_market_ratio": number_data(score.time_in_market_ratio),
        "drawdown_ratio_stop_flat": number_data(score.drawdown_ratio_stop_flat),
        "drawdown_ratio_random": None if by_chance is None else number_data(by_chance.drawdown_ratio),
        "drawdown_p_random": None if by_chance is None else by_chance.drawdown_p,
        "time_ratio_shifted": None if shifted is None else number_data(shifted.time_ratio),
        "drawdown_ratio_shifted": None if shifted is None else number_data(shifted.drawdown_ratio),
        "drawdown_p_shifted": None if shifted is None else shifted.drawdown_p,
        "es10_p_shifted": None if shifted is None else shifted.es10_p,
        "pnl_p_shifted": None if shifted is None else shifted.pnl_p,
        "es10_pct": number_data(score.es10_pct),
        "es10_minus_tight_stop_pct": _interval(score.es10_minus_tight_stop_pct),
        "pnl_minus_random_pct": None if by_chance is None else _interval(by_chance.pnl_minus_pct),
        "pnl_minus_stop_flat_pct": _interval(score.pnl_minus_stop_flat_pct),
        "smallest_effect_pct": number_data(score.smallest_effect_pct),
        "z_random": None if by_chance is None else number_data(by_chance.z),
        "recall": None if pages is None else number_data(pages.recall),
        "recall_chance": None if pages is None else number_data(pages.recall_chance),
        "pages_per_stop": None
        if pages is None
        else {"latest": number_data(pages.latest_per_stop), "warning": number_data(pages.warning_per_stop)},
        "lead_h": None
        if pages is None
        else {"median": number_data(pages.lead_median_h), "p10": number_data(pages.lead_p10_h)},
        "firm_skill": None if pages is None else number_data(pages.firm_skill),
        "lift": None if pages is None else _interval(pages.lift),
    }


def _interval(estimate: Estimate) -> Mapping[str, float | None]:
    from mm_pipeline.cli.study.probability_tables import number_data

    ends = {"mean": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: number_data(value) for name, value in ends.items()}


def _verdict(summary: Mapping[str, Any]) -> str:
    p = "not known" if summary["spa_p"] is None else f"{summary['spa_p']:.3f}"
    return f"{summary['variants_tried']} variants tried; that none makes more than random exits has p {p} (SPA)"


def _markdown(found: Sequence[ConfigurationScores], summary: Mapping[str, Any]) -> str:
    from mm_pipeline.rendering.policy_tables import markdown, policy_tables

    tables = [markdown(table) for scores in found for table in policy_tables(scores)]
    return "\n\n".join([*tables, _verdict(summary)])


def _print(found: Sequence[ConfigurationScores], summary: Mapping[str, Any]) -> None:
    from mm_pipeline.cli.output import stdout
    from mm_pipeline.rendering.policy_tables import policy_tables

    console = stdout()
    for table in (table for scores in found for table in policy_tables(scores)):
        console.print(_table(table))
    console.print(_verdict(summary), highlight=False)


def _table(table: TextTable) -> Table:
    from rich import box
    from rich.table import Table

    printed = Table(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for place, heading in enumerate(table.headings):
        printed.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in table.rows:
        printed.add_row(*row)
    return printed
