"""The study of policies over several series: each configuration, both designs, every policy and its opponents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mm_pipeline.application.studies.policies.baseline import STOP_FLAT, Baseline, no_signals
from mm_pipeline.application.studies.policies.catalogue import FEE, Configuration, rules_of
from mm_pipeline.application.studies.policies.opponents import Draws, oracle_exits
from mm_pipeline.application.studies.policies.outcomes import (
    Outcome,
    free_outcome,
    outcome_of_exits,
    paired_outcome,
)
from mm_pipeline.application.studies.policies.scores import PolicyScore, score
from mm_pipeline.application.studies.policies.series import Series
from mm_pipeline.application.studies.policies.spa import spa_p_value
from mm_pipeline.application.studies.resampling import WEEK_MS
from mm_pipeline.domain.arrays import Floats
from mm_pipeline.domain.programme import GridOffers, ProgrammeMarket, Rules, run_programme

TIGHTNESSES: Final = tuple(round(0.025 * step, 3) for step in range(40))
"""Places of the tight stop that are tried: from the grid's own stop, 0, towards the price at its start, 1."""
PEERS: Final = ("stop_only", "stop_flat", "tight_stop", "oracle")
_MATCHED: Final = "calibrated"
"""Whose time in the market the row ``tight_stop`` of a table has."""


@dataclass(frozen=True, eq=False)
class SeriesRun:
    """One series in one configuration: outcomes by policy in each design, and tight stops at each place."""

    series: Series
    baseline: Baseline
    free: dict[str, Outcome]
    paired: dict[str, Outcome]
    tight: tuple[Outcome, ...]


def run_series(series: Series, configuration: Configuration) -> SeriesRun:
    """Run every policy and its opponents on one series."""
    settings, market = series.settings, series.market
    offers = configuration.offers(market, series.is_entered, settings.shipped.entry)
    baseline = Baseline.of(market, offers, settings.seed)
    draws = Draws.of(baseline, f"{series.name} {configuration.name}", settings.random_draws)
    flat = rules_of(STOP_FLAT, settings.seed)
    free = {
        "stop_only": _free(market, offers, replace(flat, is_reranged=False)),
        "stop_flat": free_outcome(market, baseline.programme),
    }
    whole = outcome_of_exits(baseline, baseline.programme.last[None, :])
    paired = {"stop_only": whole, "stop_flat": whole, "oracle": outcome_of_exits(baseline, oracle_exits(baseline))}
    for policy in settings.policies:
        signals = series.signals[policy.name]
        programme = run_programme(market, offers, signals, rules_of(policy, settings.seed))
        free[policy.name] = free_outcome(market, programme)
        paired[policy.name] = paired_outcome(baseline, policy, signals, draws)
    entries = offers.only_at(baseline.programme.entry)
    tight = tuple(_free(market, entries, replace(flat, tightness=tightness)) for tightness in TIGHTNESSES)
    return SeriesRun(series, baseline, free, paired, tight)


def _free(market: ProgrammeMarket, offers: GridOffers, rules: Rules) -> Outcome:
    return free_outcome(market, run_programme(market, offers, no_signals(market), rules))


@dataclass(frozen=True)
class DesignScores:
    """Scores by policy, in the design with entries of their own and in the one with those of ``stop_flat``."""

    free: dict[str, PolicyScore]
    paired: dict[str, PolicyScore]


@dataclass(frozen=True, eq=False)
class ConfigurationScores:
    """One configuration: each series, all of them, and the runs behind.

    Attributes
    ----------
    tight
        The tight stop of the pooled tables on each of ``runs``, in the paired design.
    """

    configuration: Configuration
    series: dict[str, DesignScores]
    pooled: DesignScores
    tight: tuple[Outcome, ...]
    runs: tuple[SeriesRun, ...]


def score_configuration(configuration: Configuration, runs: Sequence[SeriesRun]) -> ConfigurationScores:
    """Judge every policy over each series and over all of them."""
    by_name: dict[str, list[SeriesRun]] = {}
    for run in runs:
        by_name.setdefault(run.series.name, []).append(run)
    tight = _TightStops(runs)
    return ConfigurationScores(
        configuration,
        {name: _scores(part, tight) for name, part in by_name.items()},
        _scores(runs, tight),
        tuple(tight.paired(run, _MATCHED) for run in runs),
        tuple(runs),
    )


class _TightStops:
    """Tight stops with the same time in the market as a policy, over all series of a configuration."""

    def __init__(self, runs: Sequence[SeriesRun]) -> None:
        self._bars = np.array([sum(run.tight[k].held_bars for run in runs) for k in range(len(TIGHTNESSES))])
        self._wanted = {name: sum(run.paired[name].held_bars for run in runs) for name in runs[0].paired}
        self._free: dict[tuple[int, int], Outcome] = {}

    def place(self, policy: str) -> int:
        """Which of ``TIGHTNESSES`` is nearest in time in the market; a peer has that of ``calibrated``."""
        wanted = self._wanted[_MATCHED if policy in PEERS else policy]
        return int(np.argmin(np.abs(self._bars - wanted)))

    def paired(self, run: SeriesRun, policy: str) -> Outcome:
        """On the grids of ``stop_flat``."""
        return run.tight[self.place(policy)]

    def free(self, run: SeriesRun, policy: str) -> Outcome:
        """With entries of its own, at the same place."""
        key = (id(run), self.place(policy))
        if key not in self._free:
            rules = Rules(fee=FEE, tightness=TIGHTNESSES[key[1]])
            self._free[key] = _free(run.series.market, run.baseline.offers, rules)
        return self._free[key]


def _scores(runs: Sequence[SeriesRun], tight: _TightStops) -> DesignScores:
    paired = {name: [run.paired[name] for run in runs] for name in runs[0].paired}
    free = {name: [run.free[name] for run in runs] for name in runs[0].free}
    return DesignScores(_design(free, runs, tight.free), _design(paired, runs, tight.paired))


def _design(
    outcomes: Mapping[str, list[Outcome]], runs: Sequence[SeriesRun], tight: Callable[[SeriesRun, str], Outcome]
) -> dict[str, PolicyScore]:
    everybody = {**outcomes, "tight_stop": [tight(run, "tight_stop") for run in runs]}
    return {
        name: score(ours, outcomes["stop_flat"], [tight(run, name) for run in runs]) for name, ours in everybody.items()
    }


def spa_of(scores: Sequence[ConfigurationScores]) -> float:
    """P value of "no policy makes more than its own random exits", over all configurations together, by week.

    Against ``stop_flat`` it would say little: where grids lose, whoever leaves early gains.
    """
    runs = [run for found in scores for run in found.runs]
    at_ms = np.concatenate([run.paired["stop_flat"].episodes.at_ms for run in runs])
    less = np.concatenate([np.column_stack(_over_random(run.paired.values())) for run in runs])
    _, week = np.unique(at_ms // WEEK_MS, return_inverse=True)
    gains = np.zeros((int(week.max()) + 1 if len(week) else 0, less.shape[1]))
    np.add.at(gains, week, less)
    return spa_p_value(gains)


def _over_random(outcomes: Iterable[Outcome]) -> list[Floats]:
    return [one.episodes.pnl_pct - one.random.mean_pct for one in outcomes if one.random is not None]
