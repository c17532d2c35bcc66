"""``mm study regimes``: the shipped tables of p_transition and confidence, judged on candle files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_pipeline.cli.study.study_files import candle_files, read_candles, save_study, study_options

if TYPE_CHECKING:
    from mm_pipeline.application.studies.regimes import JudgedModel


@click.command()
@study_options
def regimes(
    *,
    first_candles: tuple[Path, ...],
    more_candles: tuple[Path, ...],
    out: Path | None,
    settings_file: Path | None,
    as_json: bool,
) -> None:
    """Judge the shipped tables of p_transition and confidence on 15m candle FILEs, one market each.

    Only bars after the fit of the table that judges them count. Skill is over the market's own base rate; the yardstick
    is what is obvious: inside or outside the range for p_transition, the shown verdict for confidence.
    """
    from mm_pipeline.application.studies.regimes import MODELS, judge
    from mm_pipeline.cli.history.calibrate import read_history
    from mm_pipeline.cli.output import print_json, stdout, steps
    from mm_pipeline.cli.study.probability_tables import score_table
    from mm_pipeline.domain.errors import CandleFileError
    from mm_pipeline.settings import load_deployment

    settings = load_deployment(settings_file).settings
    candles = candle_files(first_candles, more_candles)
    markets: dict[str, list[Mapping[str, JudgedModel]]] = {}
    with steps(len(candles)) as advance:
        for path in candles:
            advance(path.name)
            found = judge(read_history(path, settings), settings.market.calibration, settings.regime)
            if all(len(model.foretold.said) for model in found.values()):
                markets.setdefault(str(read_candles(path).market), []).append(found)
    if not markets:
        first = settings.market.calibration.confidence.tables[0].valid_from_ms
        raise CandleFileError(
            "No file has bars that the shipped tables may be judged on.",
            f"Give candles of more than two months after {_day(first)}.",
        )
    groups = {**markets, "pooled": [found for parts in markets.values() for found in parts]}
    scores = {
        name: {model: _score([part[model] for part in parts]) for model in MODELS} for name, parts in groups.items()
    }
    pooled = {model: _data(*scores["pooled"][model]) for model in MODELS}
    summary = {
        "markets": {name: {model: _data(*scores[name][model]) for model in MODELS} for name in markets},
        "pooled": pooled,
    }
    if out is not None:
        save_study(out, summary, {})
    if as_json:
        print_json(summary)
        return
    rows = [(name, model, found[model][0]) for name, found in scores.items() for model in MODELS]
    stdout().print(score_table(rows, "model"))


def _score(parts: list[JudgedModel]) -> tuple[Any, float]:
    """The score over the base rate, and the skill over the yardstick."""
    from mm_pipeline.application.studies.probabilities import Foretold, probability_score

    over_base = Foretold.joined([part.foretold for part in parts])
    over_yardstick = Foretold.joined([part.over_yardstick for part in parts])
    return probability_score(over_base), probability_score(over_yardstick).skill.value


def _data(score: Any, over_yardstick: float) -> dict[str, Any]:
    from mm_pipeline.cli.study.probability_tables import number_data, score_data

    found = score_data(score)
    return {
        "skill": found["skill"],
        "slope": found["slope"],
        "mean_gap": found["mean_gap"],
        "skill_over_yardstick": number_data(over_yardstick),
        "base_rate": found["base_rate"],
        "rows": found["rows"],
    }


def _day(at_ms: int) -> str:
    from mm_pipeline.domain.instants import from_ms

    return f"{from_ms(at_ms):%Y-%m-%d}"
