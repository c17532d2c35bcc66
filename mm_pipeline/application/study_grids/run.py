"""Runs partitions of a study: one stage for Dagster, or everything for the command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import polars as pl

from mm_pipeline.adapters.frames.study_frames import STUDY_HASH
from mm_pipeline.application.isolation import Outcome, isolated
from mm_pipeline.application.month_stamp import CANDLES_HASH, joined_hash
from mm_pipeline.application.provenance import code_version
from mm_pipeline.application.study_grids.markets import StudyMarkets
from mm_pipeline.application.study_grids.stages import ByMarket, grids_of, outcomes_of, states_of
from mm_pipeline.application.study_grids.study import GRID_STATES, GRIDS, OUTCOMES, Study
from mm_pipeline.domain.errors import PipelineError
from mm_pipeline.domain.market import Market
from mm_pipeline.domain.months import next_month

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")
OnStep = Callable[[str], None]
"""Called with the month that begins."""


@dataclass(frozen=True)
class Partition:
    """A month and a policy of a study."""

    month: datetime
    policy: str

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.policy}"


@dataclass
class StageResult:
    """What a stage made of a partition.

    Attributes
    ----------
    frames
        By market.
    problems
        By market, why it has no frame.
    notes
        Grids that could not be placed, in words.
    """

    frames: dict[str, pl.DataFrame]
    problems: dict[str, PipelineError]
    notes: list[str] = field(default_factory=list)


class StudyRun:
    """Stages of a study over some months; markets are opened once for all of them.

    Parameters
    ----------
    study
        What is run.
    months
        Without a gap, in order.
    """

    def __init__(self, study: Study, months: Sequence[datetime], log: logging.Logger = _log) -> None:
        self._study = study
        self._log = log
        self._months = months
        self._markets: StudyMarkets | None = None

    @property
    def markets(self) -> StudyMarkets:
        """Its markets."""
        if self._markets is None:
            spans = [span for month in self._months for span in self._study.spans(month)]
            last = max((span.end for span in spans), default=next_month(self._months[-1]))
            self._markets = StudyMarkets(self._study, self._months[0], last)
        return self._markets

    def grids(self, month: datetime) -> StageResult:
        """Grids of a month."""
        made = self._each(lambda market: grids_of(self._study, self.markets.get(market), month))
        notes = [f"{one.grid_id}: {one.reason}" for _, missed in made.made.values() for one in missed]
        frames = {key: rows for key, (rows, _) in made.made.items()}
        return StageResult(frames, made.problems, notes)

    def states(self, partition: Partition, grids: ByMarket) -> StageResult:
        """States of a partition's grids."""

        def work(market: Market) -> pl.DataFrame:
            rows = _frame_of(grids, market, GRIDS)
            return states_of(self._study, self.markets.get(market), partition.policy, rows)

        made = self._each(work)
        return StageResult(made.made, made.problems)

    def outcomes(self, partition: Partition, grids: ByMarket, states: ByMarket) -> StageResult:
        """Outcomes of a partition's signals."""

        def work(market: Market) -> pl.DataFrame:
            frames = _frame_of(grids, market, GRIDS), _frame_of(states, market, GRID_STATES)
            opened = self.markets.get(market)
            return outcomes_of(self._study, opened, partition.policy, partition.month, frames)

        made = self._each(work)
        return StageResult(made.made, made.problems)

    def made_by(self, partition: Partition) -> Mapping[str, str]:
        """What decides the rows of a partition: declaration, settings under its policy, code, and candles.

        Candles have a hash together, and one of each market that could be read.
        """
        by_market = self._candles_hashes(partition)
        return {
            STUDY_HASH: self._study.declaration.hash,
            "settings_hash": self._study.settings(partition.policy).hash,
            "code_version": code_version(),
            CANDLES_HASH: joined_hash(by_market.values()),
        } | {candles_hash_of(market): found for market, found in by_market.items()}

    def _candles_hashes(self, partition: Partition) -> Mapping[str, str]:
        settings, month = self._study.settings(partition.policy), partition.month
        end = max((span.end for span in self._study.spans(month)), default=next_month(month))
        start = month - self._study.lookback(settings)
        return self._each(lambda market: self.markets.get(market).hash_between(start, end)).made

    def _each(self, work: Callable[[Market], T]) -> Outcome[str, T]:
        markets = {market.path_key: market for market in self._study.declaration.all_markets}
        return isolated(markets, lambda key: work(markets[key]), self._log)


def candles_hash_of(market: str) -> str:
    """Name, in a stamp, of the hash of one market's candles; ``market`` is its ``path_key``."""
    return f"{CANDLES_HASH} {market}"


def _frame_of(frames: ByMarket, market: Market, dataset: str) -> pl.DataFrame:
    if market.path_key not in frames:
        raise PipelineError(f"there is no {dataset} of {market} in this partition.", "See why in its own run.")
    return frames[market.path_key]


@dataclass(frozen=True)
class StudyResult:
    """What went wrong, by partition and market, and which grids could not be placed, in words."""

    problems: dict[str, PipelineError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run_study(study: Study, months: Sequence[datetime], on_step: OnStep) -> StudyResult:
    """Make and store every partition of some months; a market that fails stops no other."""
    run, result = StudyRun(study, months), StudyResult()
    turns = study.turns()
    try:
        with turns.ordinary(f"mm study grids --as {study.name}"):
            for month in months:
                on_step(f"{month:%Y-%m}")
                grids = run.grids(month)
                result.notes.extend(grids.notes)
                for policy in study.file.policies:
                    result.problems.update(_store_partition(study, run, Partition(month, policy), grids))
    finally:
        turns.end()
    return result


def _store_partition(study: Study, run: StudyRun, partition: Partition, grids: StageResult) -> dict[str, PipelineError]:
    states = run.states(partition, grids.frames)
    outcomes = run.outcomes(partition, grids.frames, states.frames)
    metadata = run.made_by(partition)
    for dataset, result in ((GRIDS, grids), (GRID_STATES, states), (OUTCOMES, outcomes)):
        store(study, dataset, partition, result.frames, metadata)
    failed = outcomes.problems | states.problems | grids.problems
    return {f"{partition} {market}": problem for market, problem in failed.items()}


def store(
    study: Study, dataset: str, partition: Partition, frames: Mapping[str, pl.DataFrame], metadata: Mapping[str, str]
) -> None:
    """Keep a partition's frames; those of markets that the study declares no more go, those that failed stay."""
    declared = {market.path_key for market in study.declaration.all_markets}
    study.frames.write(dataset, partition.policy, partition.month, frames, declared=declared, metadata=metadata)
