"""``mm study stops``: whether the stop was touched as often as P(stop) said, on real candles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.study.study_files import candle_files, read_candles, save_study, study_options

if TYPE_CHECKING:
    from mm_pipeline.application.studies.probabilities import Foretold, ProbabilityScore


@click.command()
@study_options
def stops(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    out: Path | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Hold grids along 15m candle FILEs, one market each, and compare P(stop) with the stops that came.

    Grids 10 % wide, with 6 levels and a stop 3 % below and with 20 levels and a stop 5 % below, are placed one after
    the other, each when the one before it is stopped or sold out. Every hour in position counts. Skill is over the
    market's own base rate, with a 95 % interval by a bootstrap of calendar weeks.
    """
    from mm_pipeline.application.studies.probabilities import Foretold, probability_score
    from mm_pipeline.application.studies.stops import stops_of
    from mm_pipeline.cli.output import print_json, steps
    from mm_pipeline.cli.study.probability_tables import score_table
    from mm_pipeline.domain.errors import CandleFileError
    from mm_pipeline.domain.risk import STOP_HORIZONS, RiskHistory
    from mm_pipeline.settings import load_deployment

    policy = load_deployment(settings_file).settings.risk
    candles = candle_files(first_candles, more_candles)
    markets: dict[str, list[Mapping[str, Foretold]]] = {}
    with steps(len(candles)) as advance:
        for path in candles:
            recorded = read_candles(path)
            advance(str(recorded.market))
            made = stops_of(RiskHistory.of(recorded.bars, policy), recorded.market, policy)
            if not all(len(foretold.said) for foretold in made.values()):
                needed = f"more than {policy.min_history_days + 3} days of candles"
                raise CandleFileError(f"{path} is too short to study.", f"Give a file with {needed}.")
            markets.setdefault(str(recorded.market), []).append(made)

    def scored(parts: Sequence[Mapping[str, Foretold]]) -> dict[str, ProbabilityScore]:
        return {
            horizon: probability_score(Foretold.joined([part[horizon] for part in parts])) for horizon in STOP_HORIZONS
        }

    scores = {name: scored(parts) for name, parts in markets.items()}
    pooled = scored([part for parts in markets.values() for part in parts])
    summary = summary_of(scores, pooled)
    if out is not None:
        save_study(out, summary, {})
    if as_json:
        print_json(summary)
        return
    from mm_pipeline.cli.output import stdout

    rows = [
        (name, horizon, score)
        for name, found in {**scores, "pooled": pooled}.items()
        for horizon, score in found.items()
    ]
    stdout().print(score_table(rows, "within"))


def summary_of(
    markets: Mapping[str, Mapping[str, ProbabilityScore]], pooled: Mapping[str, ProbabilityScore]
) -> dict[str, Any]:
    """``{"markets": {M: {"4h": X, "24h": X}}, "pooled": {"4h": X, "24h": X}}``."""
    from mm_pipeline.cli.study.probability_tables import score_data

    return {
        "markets": {name: {key: score_data(score) for key, score in found.items()} for name, found in markets.items()},
        "pooled": {key: score_data(score) for key, score in pooled.items()},
    }
